#include "deepseek/optim.h"

#include "guard.h"

#include <cmath>

using deepseek::borrow;
using deepseek::guard;
using deepseek::require;

// One build of each loop for each vector width; contraction is off, so all give the same bits.
#if defined(__x86_64__) && !defined(__clang__)
#define DS_VECTORISED __attribute__((target_clones("arch=x86-64-v4", "avx2", "default"), optimize("tree-vectorize")))
#else
#define DS_VECTORISED
#endif

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

// Sixteen running sums fix the order of additions, whatever the vector width.
DS_VECTORISED double squares(const float* __restrict g, int64_t n) {
  double lanes[16] = {};
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    for (int lane = 0; lane < 16; lane++) {
      const double x = g[i + lane];
      lanes[lane] += x * x;
    }
  }
  for (; i < n; i++) lanes[0] += static_cast<double>(g[i]) * g[i];
  double sum = 0;
  for (double lane : lanes) sum += lane;
  return sum;
}

bool plain(const at::Tensor& tensor) {
  return tensor.device().is_cpu() && tensor.scalar_type() == at::kFloat && tensor.is_contiguous();
}

void same_shape(const at::Tensor& state, const at::Tensor& parameter) {
  require(state.sizes() == parameter.sizes() && state.scalar_type() == parameter.scalar_type(), "a state tensor has not its parameter's shape and type");
}

template <class Body>
void each_gradient(const ds_tensor* parameters, int32_t count, Body&& body) {
  require(count >= 0 && (parameters != nullptr || count == 0), "the parameters are null or their count negative");
  for (int32_t i = 0; i < count; i++) {
    // detach: updating a leaf in place must not be recorded.
    const auto parameter = borrow(parameters[i]);
    auto gradient = parameter.grad();
    if (gradient.defined()) body(i, parameter, gradient);
  }
}

void adamw_by_operators(const at::Tensor& p, const at::Tensor& g, const at::Tensor& m, const at::Tensor& v, const ds_adamw& k, double correction1, double root) {
  p.mul_(1 - k.learning_rate * k.weight_decay);
  m.mul_(k.beta1).add_(g, 1 - k.beta1);
  v.mul_(k.beta2).addcmul_(g, g, 1 - k.beta2);
  p.addcdiv_(m, (v.sqrt() / root).add_(k.epsilon), -k.learning_rate / correction1);
}

void sgd_by_operators(const at::Tensor& p, at::Tensor g, const at::Tensor& b, const ds_sgd& k) {
  if (k.weight_decay != 0) g = g.add(p, k.weight_decay);
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
    require(step->step >= 1, "the step number is below 1");
    require((step->first != nullptr && step->second != nullptr) || step->count == 0, "the state tensors are null");
    const at::NoGradGuard no_grad;
    const auto& k = *step;
    const double correction1 = 1 - std::pow(k.beta1, static_cast<double>(k.step));
    const double root = std::sqrt(1 - std::pow(k.beta2, static_cast<double>(k.step)));
    const AdamW constants{static_cast<float>(1 - k.learning_rate * k.weight_decay), static_cast<float>(k.beta1), static_cast<float>(k.beta2),
                          static_cast<float>(1 - k.beta1), static_cast<float>(1 - k.beta2), static_cast<float>(k.learning_rate / correction1),
                          static_cast<float>(root), static_cast<float>(k.epsilon)};
    each_gradient(k.parameters, k.count, [&](int32_t i, const at::Tensor& p, const at::Tensor& given) {
      const auto m = borrow(k.first[i]), v = borrow(k.second[i]);
      same_shape(m, p);
      same_shape(v, p);
      if (!plain(p) || !plain(m) || !plain(v) || !given.device().is_cpu() || given.scalar_type() != at::kFloat) {
        adamw_by_operators(p, given, m, v, k, correction1, root);
        return;
      }
      const auto g = given.contiguous();
      auto *pp = p.data_ptr<float>(), *mp = m.data_ptr<float>(), *vp = v.data_ptr<float>();
      const auto* gp = g.data_ptr<float>();
      at::parallel_for(0, p.numel(), kGrain, [&](int64_t from, int64_t to) { adamw_loop(pp + from, gp + from, mp + from, vp + from, to - from, constants); });
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
    const Sgd constants{static_cast<float>(k.learning_rate), static_cast<float>(k.weight_decay), static_cast<float>(k.momentum), k.nesterov != 0, k.first_step != 0};
    each_gradient(k.parameters, k.count, [&](int32_t i, const at::Tensor& p, const at::Tensor& given) {
      const auto b = k.momentum == 0 ? at::Tensor() : borrow(k.buffers[i]);
      if (b.defined()) same_shape(b, p);
      if (!plain(p) || (b.defined() && !plain(b)) || !given.device().is_cpu() || given.scalar_type() != at::kFloat) {
        sgd_by_operators(p, given, b, k);
        return;
      }
      const auto g = given.contiguous();
      auto* pp = p.data_ptr<float>();
      auto* bp = b.defined() ? b.data_ptr<float>() : nullptr;
      const auto* gp = g.data_ptr<float>();
      at::parallel_for(0, p.numel(), kGrain, [&](int64_t from, int64_t to) {
        sgd_loop(pp + from, gp + from, bp == nullptr ? nullptr : bp + from, to - from, constants);
      });
    });
  });
}

ds_status ds_optim_clip(const ds_tensor* parameters, int32_t count, double limit, double* norm) noexcept {
  return guard("ds_optim_clip", [&] {
    require(norm != nullptr, "the output pointer is null");
    require(limit >= 0, "the limit is negative");
    const at::NoGradGuard no_grad;
    double sum = 0;
    each_gradient(parameters, count, [&](int32_t, const at::Tensor&, const at::Tensor& g) {
      sum += plain(g) ? squares(g.data_ptr<float>(), g.numel()) : std::pow(g.norm().item().toDouble(), 2);
    });
    const double total = std::sqrt(sum);
    if (limit > 0 && total > limit) {
      each_gradient(parameters, count, [&](int32_t, const at::Tensor&, const at::Tensor& g) { g.mul_(limit / (total + 1e-6)); });
    }
    *norm = total;
  });
}

ds_status ds_optim_scale(const ds_tensor* parameters, int32_t count, double factor) noexcept {
  return guard("ds_optim_scale", [&] {
    const at::NoGradGuard no_grad;
    each_gradient(parameters, count, [&](int32_t, const at::Tensor&, const at::Tensor& g) { g.mul_(factor); });
  });
}
