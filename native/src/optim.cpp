#include "deepseek/optim.h"

#include "gradients.h"

#include <cmath>

#ifdef DEEPSEEK_CUDA
#include "../kernels/optimizer/step.h"

#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#endif

using deepseek::borrow;
using deepseek::each_gradient;
using deepseek::guard;
using deepseek::plain;
using deepseek::require;

namespace {

constexpr int64_t kGrain = 32768;

struct AdamW {
  float decay, beta1, beta2, rate1, rate2, step_size, root, epsilon;
};

DS_VECTORISED void adamw_loop(float* __restrict p, const float* __restrict g, float* __restrict m, float* __restrict v, int64_t n, AdamW k) {
  for (int64_t i = 0; i < n; i++) {
    const float first = k.beta1 * m[i] + k.rate1 * g[i];
    const float second = k.beta2 * v[i] + k.rate2 * g[i] * g[i];
    m[i] = first;
    v[i] = second;
    p[i] = p[i] * k.decay - k.step_size * first / (std::sqrt(second) / k.root + k.epsilon);
  }
}

struct Sgd {
  float rate, decay, momentum;
  bool nesterov, first_step;
};

DS_VECTORISED void sgd_loop(float* __restrict p, const float* __restrict g, float* __restrict b, int64_t n, Sgd k) {
  if (b == nullptr) {
    for (int64_t i = 0; i < n; i++) p[i] -= k.rate * (g[i] + k.decay * p[i]);
  } else if (k.first_step) {
    const float scale = k.nesterov ? 1.0f + k.momentum : 1.0f;
    for (int64_t i = 0; i < n; i++) {
      b[i] = g[i] + k.decay * p[i];
      p[i] -= k.rate * (scale * b[i]);
    }
  } else if (k.nesterov) {
    for (int64_t i = 0; i < n; i++) {
      const float d = g[i] + k.decay * p[i];
      b[i] = k.momentum * b[i] + d;
      p[i] -= k.rate * (d + k.momentum * b[i]);
    }
  } else {
    for (int64_t i = 0; i < n; i++) {
      b[i] = k.momentum * b[i] + (g[i] + k.decay * p[i]);
      p[i] -= k.rate * b[i];
    }
  }
}

struct Adaptive {
  float decay, beta2, rate2, step_size, root, epsilon, interpolation, share;
};

DS_VECTORISED void adaptive_loop(float* __restrict p, const float* __restrict g, float* __restrict z, float* __restrict x, float* __restrict v, int64_t n, Adaptive k) {
  for (int64_t i = 0; i < n; i++) {
    const float y = z[i] + k.interpolation * (x[i] - z[i]);
    const float second = k.beta2 * v[i] + k.rate2 * g[i] * g[i];
    const float fast = z[i] - (k.decay * y + k.step_size * g[i] / (std::sqrt(second) / k.root + k.epsilon));
    const float average = x[i] + k.share * (fast - x[i]);
    v[i] = second;
    z[i] = fast;
    x[i] = average;
    p[i] = fast + k.interpolation * (average - fast);
  }
}

void same_shape(const at::Tensor& state, const at::Tensor& parameter) {
  require(state.sizes() == parameter.sizes() && state.scalar_type() == at::promote_types(parameter.scalar_type(), at::kFloat), "a state tensor has not its parameter's shape, or is not float32");
}

at::Tensor entry(const ds_tensor* list, int32_t i) { return list == nullptr || list[i] == nullptr ? at::Tensor() : borrow(list[i]); }

// The tensor the update works on: the float32 master where there is one.
at::Tensor updated(const ds_tensor* masters, int32_t i, const at::Tensor& parameter) {
  const auto master = entry(masters, i);
  if (!master.defined()) return parameter;
  same_shape(master, parameter);
  return master;
}

bool skipped(ds_tensor skip) { return skip != nullptr && borrow(skip).item().toDouble() != 0; }

#ifdef DEEPSEEK_CUDA
namespace kernels = deepseek::optimizer;

// Collects the entries of one launch for each element type; keeps what they point to alive.
class Launch {
 public:
  void add(const at::Tensor& p, const at::Tensor& given, const at::Tensor& master, const at::Tensor& first, const at::Tensor& second, bool decays, const at::Tensor& third = {}) {
    require(p.is_cuda() && given.is_cuda() && p.is_non_overlapping_and_dense(), "a parameter or gradient is not a dense CUDA tensor");
    kernels::Entry e{p.data_ptr(), nullptr, state(master, p), state(first, p), state(second, p), state(third, p), p.numel(), decays};
    require(p.scalar_type() == at::kFloat || master.defined(), "a parameter of half precision has no float32 master");
    auto gradient = given;
    if (gradient.scalar_type() != p.scalar_type() || gradient.strides() != p.strides()) {
      gradient = at::empty_like(p).copy_(given);
      kept_.push_back(gradient);
    }
    e.gradient = gradient.data_ptr();
    lists_[p.scalar_type() == at::kFloat ? 0 : p.scalar_type() == at::kHalf ? 1 : 2].push_back(e);
  }

  template <class Update>
  void run(Update&& update) const {
    for (int i = 0; i < 3; i++) {
      if (lists_[i].empty()) continue;
      C10_CUDA_CHECK(static_cast<cudaError_t>(update(static_cast<kernels::Element>(i), lists_[i].data(), static_cast<int>(lists_[i].size()))));
    }
  }

 private:
  static float* state(const at::Tensor& tensor, const at::Tensor& parameter) {
    if (!tensor.defined()) return nullptr;
    same_shape(tensor, parameter);
    require(tensor.is_cuda() && tensor.strides() == parameter.strides(), "a state tensor is not laid out as its parameter; make the optimiser after moving the module");
    return tensor.data_ptr<float>();
  }

  std::vector<kernels::Entry> lists_[3];
  std::vector<at::Tensor> kept_;
};

kernels::Control* control_of(ds_tensor handle) {
  const auto control = borrow(handle);
  require(control.is_cuda() && control.scalar_type() == at::kFloat && control.numel() == 8, "the control tensor is not float32 [8] on a CUDA device");
  return reinterpret_cast<kernels::Control*>(control.data_ptr<float>());
}

const float* flag_of(ds_tensor handle) {
  if (handle == nullptr) return nullptr;
  const auto flag = borrow(handle);
  require(flag.is_cuda() && flag.scalar_type() == at::kFloat && flag.numel() == 1, "the skip flag is not one float32 on the device");
  return flag.data_ptr<float>();
}

// A step whose rate, count and powers of the betas stand on the device, where a captured step reads them: entries(launch, i, parameter,
// gradient) adds what belongs to a parameter, update(...) launches the kernel of one element type.
template <class Step, class Entries, class Update>
void step_on_device(const Step& k, double beta1, double beta2, Entries&& entries, Update&& update) {
  const c10::cuda::CUDAGuard on_device(borrow(k.control).device());
  const auto stream = c10::cuda::getCurrentCUDAStream().stream();
  auto* const control = control_of(k.control);
  const auto* const skip = flag_of(k.skip);
  Launch launch;
  each_gradient(k.parameters, k.count, [&](int32_t i, const at::Tensor& p, const at::Tensor& g) { entries(launch, i, p, g); });
  kernels::count_step(control, skip, beta1, beta2, stream);
  launch.run([&](kernels::Element type, const kernels::Entry* list, int count) { return update(type, list, count, control, skip, stream); });
}
#endif

void adamw_by_operators(const at::Tensor& p, const at::Tensor& g, const at::Tensor& m, const at::Tensor& v, const ds_adamw& k, double decay, double correction1, double root) {
  const auto wide = g.to(p.scalar_type());
  p.mul_(1 - k.learning_rate * decay);
  m.mul_(k.beta1).add_(wide, 1 - k.beta1);
  v.mul_(k.beta2).addcmul_(wide, wide, 1 - k.beta2);
  p.addcdiv_(m, (v.sqrt() / root).add_(k.epsilon), -k.learning_rate / correction1);
}

void adaptive_by_operators(const at::Tensor& p, const at::Tensor& g, const at::Tensor& z, const at::Tensor& x, const at::Tensor& v, const ds_adaptive& k, double decay, double root) {
  const auto wide = g.to(p.scalar_type());
  v.mul_(k.beta2).addcmul_(wide, wide, 1 - k.beta2);
  z.sub_(at::lerp(z, x, k.interpolation), k.learning_rate * decay).addcdiv_(wide, (v.sqrt() / root).add_(k.epsilon), -k.learning_rate);
  x.lerp_(z, k.share);
  p.copy_(at::lerp(z, x, k.interpolation));
}

void sgd_by_operators(const at::Tensor& p, at::Tensor g, const at::Tensor& b, const ds_sgd& k, double decay) {
  g = g.to(p.scalar_type());
  if (decay != 0) g = g.add(p, decay);
  if (b.defined()) {
    if (k.first_step != 0) b.copy_(g); else b.mul_(k.momentum).add_(g);
    g = k.nesterov != 0 ? g.add(b, k.momentum) : b;
  }
  p.add_(g, -k.learning_rate);
}

}  // namespace

ds_status ds_optim_adamw(const ds_adamw* step) noexcept {
  return guard("ds_optim_adamw", [&] {
    require(step != nullptr, "the parameters of the step are null");
    require(step->size == sizeof(ds_adamw), "the struct's size is not this version's");
    require((step->first != nullptr && step->second != nullptr) || step->count == 0, "the state tensors are null");
    const at::NoGradGuard no_grad;
    const auto& k = *step;
#ifdef DEEPSEEK_CUDA
    if (k.control != nullptr) {
      const kernels::AdamW constants{static_cast<float>(k.weight_decay), static_cast<float>(k.beta1), static_cast<float>(k.beta2), static_cast<float>(k.epsilon)};
      step_on_device(
          k, k.beta1, k.beta2, [&](Launch& launch, int32_t i, const at::Tensor& p, const at::Tensor& g) { launch.add(p, g, entry(k.masters, i), borrow(k.first[i]), borrow(k.second[i]), i < k.decayed); },
          [&](kernels::Element type, const kernels::Entry* list, int count, auto&&... rest) { return kernels::adamw(type, list, count, constants, rest...); });
      return;
    }
#endif
    require(k.control == nullptr, "a control tensor needs a build with CUDA");
    require(k.step >= 1, "the step number is below 1");
    if (skipped(k.skip)) return;
    const double correction1 = 1 - std::pow(k.beta1, static_cast<double>(k.step));
    const double root = std::sqrt(1 - std::pow(k.beta2, static_cast<double>(k.step)));
    each_gradient(k.parameters, k.count, [&](int32_t i, const at::Tensor& parameter, const at::Tensor& given) {
      const double decay = i < k.decayed ? k.weight_decay : 0;
      const AdamW constants{static_cast<float>(1 - k.learning_rate * decay), static_cast<float>(k.beta1), static_cast<float>(k.beta2),
                            static_cast<float>(1 - k.beta1), static_cast<float>(1 - k.beta2), static_cast<float>(k.learning_rate / correction1),
                            static_cast<float>(root), static_cast<float>(k.epsilon)};
      const auto p = updated(k.masters, i, parameter);
      const auto m = borrow(k.first[i]), v = borrow(k.second[i]);
      same_shape(m, p);
      same_shape(v, p);
      if (!plain(p) || !plain(m) || !plain(v) || !given.device().is_cpu()) {
        adamw_by_operators(p, given, m, v, k, decay, correction1, root);
      } else {
        const auto g = given.to(at::kFloat).contiguous();
        auto *pp = p.data_ptr<float>(), *mp = m.data_ptr<float>(), *vp = v.data_ptr<float>();
        const auto* gp = g.data_ptr<float>();
        at::parallel_for(0, p.numel(), kGrain, [&](int64_t from, int64_t to) { adamw_loop(pp + from, gp + from, mp + from, vp + from, to - from, constants); });
      }
      if (!p.is_same(parameter)) parameter.copy_(p);
    });
  });
}

ds_status ds_optim_adaptive(const ds_adaptive* step) noexcept {
  return guard("ds_optim_adaptive", [&] {
    require(step != nullptr, "the parameters of the step are null");
    require(step->size == sizeof(ds_adaptive), "the struct's size is not this version's");
    require((step->fast != nullptr && step->average != nullptr && step->second != nullptr) || step->count == 0, "the state tensors are null");
    const at::NoGradGuard no_grad;
    const auto& k = *step;
#ifdef DEEPSEEK_CUDA
    if (k.control != nullptr) {
      const kernels::Adaptive constants{static_cast<float>(k.beta2), static_cast<float>(k.epsilon), static_cast<float>(k.interpolation)};
      step_on_device(
          k, 0, k.beta2, [&](Launch& launch, int32_t i, const at::Tensor& p, const at::Tensor& g) { launch.add(p, g, entry(k.masters, i), borrow(k.fast[i]), borrow(k.second[i]), i < k.decayed, borrow(k.average[i])); },
          [&](kernels::Element type, const kernels::Entry* list, int count, auto&&... rest) { return kernels::adaptive(type, list, count, constants, rest...); });
      return;
    }
#endif
    require(k.control == nullptr, "a control tensor needs a build with CUDA");
    if (skipped(k.skip)) return;
    const double root = std::sqrt(1 - std::pow(k.beta2, static_cast<double>(k.step)));
    each_gradient(k.parameters, k.count, [&](int32_t i, const at::Tensor& parameter, const at::Tensor& given) {
      const double decay = i < k.decayed ? k.weight_decay : 0;
      const auto p = updated(k.masters, i, parameter);
      const auto z = borrow(k.fast[i]), x = borrow(k.average[i]), v = borrow(k.second[i]);
      for (const auto& state : {z, x, v}) same_shape(state, p);
      if (!plain(p) || !plain(z) || !plain(x) || !plain(v) || !given.device().is_cpu()) {
        adaptive_by_operators(p, given, z, x, v, k, decay, root);
      } else {
        const Adaptive constants{static_cast<float>(k.learning_rate * decay), static_cast<float>(k.beta2), static_cast<float>(1 - k.beta2), static_cast<float>(k.learning_rate),
                                 static_cast<float>(root), static_cast<float>(k.epsilon), static_cast<float>(k.interpolation), static_cast<float>(k.share)};
        const auto g = given.to(at::kFloat).contiguous();
        auto *pp = p.data_ptr<float>(), *zp = z.data_ptr<float>(), *xp = x.data_ptr<float>(), *vp = v.data_ptr<float>();
        const auto* gp = g.data_ptr<float>();
        at::parallel_for(0, p.numel(), kGrain, [&](int64_t from, int64_t to) { adaptive_loop(pp + from, gp + from, zp + from, xp + from, vp + from, to - from, constants); });
      }
      if (!p.is_same(parameter)) parameter.copy_(p);
    });
  });
}

ds_status ds_optim_sgd(const ds_sgd* step) noexcept {
  return guard("ds_optim_sgd", [&] {
    require(step != nullptr, "the parameters of the step are null");
    require(step->size == sizeof(ds_sgd), "the struct's size is not this version's");
    require(step->buffers != nullptr || step->momentum == 0, "momentum needs buffers");
    const at::NoGradGuard no_grad;
    const auto& k = *step;
#ifdef DEEPSEEK_CUDA
    if (k.control != nullptr) {
      const kernels::Sgd constants{static_cast<float>(k.weight_decay), static_cast<float>(k.momentum), k.nesterov != 0};
      step_on_device(
          k, 0, 0, [&](Launch& launch, int32_t i, const at::Tensor& p, const at::Tensor& g) { launch.add(p, g, entry(k.masters, i), k.momentum == 0 ? at::Tensor() : borrow(k.buffers[i]), at::Tensor(), i < k.decayed); },
          [&](kernels::Element type, const kernels::Entry* list, int count, auto&&... rest) { return kernels::sgd(type, list, count, constants, rest...); });
      return;
    }
#endif
    require(k.control == nullptr, "a control tensor needs a build with CUDA");
    if (skipped(k.skip)) return;
    each_gradient(k.parameters, k.count, [&](int32_t i, const at::Tensor& parameter, const at::Tensor& given) {
      const double decay = i < k.decayed ? k.weight_decay : 0;
      const Sgd constants{static_cast<float>(k.learning_rate), static_cast<float>(decay), static_cast<float>(k.momentum), k.nesterov != 0, k.first_step != 0};
      const auto p = updated(k.masters, i, parameter);
      const auto b = k.momentum == 0 ? at::Tensor() : borrow(k.buffers[i]);
      if (b.defined()) same_shape(b, p);
      if (!plain(p) || (b.defined() && !plain(b)) || !given.device().is_cpu()) {
        sgd_by_operators(p, given, b, k, decay);
      } else {
        const auto g = given.to(at::kFloat).contiguous();
        auto* pp = p.data_ptr<float>();
        auto* bp = b.defined() ? b.data_ptr<float>() : nullptr;
        const auto* gp = g.data_ptr<float>();
        at::parallel_for(0, p.numel(), kGrain, [&](int64_t from, int64_t to) {
          sgd_loop(pp + from, gp + from, bp == nullptr ? nullptr : bp + from, to - from, constants);
        });
      }
      if (!p.is_same(parameter)) parameter.copy_(p);
    });
  });
}

ds_status ds_optim_set_rate(ds_tensor control, double learning_rate) noexcept {
  return guard("ds_optim_set_rate", [&] {
#ifdef DEEPSEEK_CUDA
    const c10::cuda::CUDAGuard on_device(borrow(control).device());
    kernels::set_learning_rate(control_of(control), static_cast<float>(learning_rate), c10::cuda::getCurrentCUDAStream().stream());
    C10_CUDA_CHECK(cudaGetLastError());
#else
    (void)control;
    (void)learning_rate;
    deepseek::fail(DS_NOT_FOUND, "this build of libtorch has no CUDA");
#endif
  });
}

ds_status ds_optim_set_adaptive(ds_tensor control, double learning_rate, double weight_decay, double share, double limit) noexcept {
  return guard("ds_optim_set_adaptive", [&] {
    require(limit >= 0, "the limit is negative");
#ifdef DEEPSEEK_CUDA
    const c10::cuda::CUDAGuard on_device(borrow(control).device());
    kernels::set_adaptive(control_of(control), static_cast<float>(learning_rate), static_cast<float>(weight_decay), static_cast<float>(share), static_cast<float>(limit), c10::cuda::getCurrentCUDAStream().stream());
    C10_CUDA_CHECK(cudaGetLastError());
#else
    (void)control, (void)learning_rate, (void)weight_decay, (void)share;
    deepseek::fail(DS_NOT_FOUND, "this build of libtorch has no CUDA");
#endif
  });
}
