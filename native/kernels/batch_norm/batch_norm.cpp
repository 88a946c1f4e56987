#include "batch_norm/batch_norm.h"

#include "common/operator.h"

namespace deepseek {
namespace {

using OptionalTensor = c10::optional<at::Tensor>;
constexpr const char* kName = "deepseek::batch_norm";

struct Settings {
  bool training;
  double momentum, epsilon;
  bool relu;
  bool records;  // a backward pass may follow
};

struct Inputs {
  at::Tensor x, residual, weight, bias, running_mean, running_variance;
};

struct Forward {
  at::Tensor y, mean, spread, mask;
};

Inputs inputs_of(const at::Tensor& x, const OptionalTensor& residual, const OptionalTensor& weight, const OptionalTensor& bias, const OptionalTensor& mean, const OptionalTensor& variance) {
  return {x, defined_or_empty(residual), defined_or_empty(weight), defined_or_empty(bias), defined_or_empty(mean), defined_or_empty(variance)};
}

void check_vector(const at::Tensor& vector, const at::Tensor& x, const char* name) {
  if (!vector.defined()) return;
  TORCH_CHECK(vector.dim() == 1 && vector.size(0) == x.size(1), kName, ": ", name, " has shape ", vector.sizes(), "; x has ", x.size(1), " channels");
  TORCH_CHECK(vector.device() == x.device(), kName, ": ", name, " is on ", vector.device(), ", x on ", x.device());
}

void check(const Inputs& in, const Settings& s) {
  TORCH_CHECK(in.x.dim() >= 2 && in.x.size(1) > 0, kName, ": x has shape ", in.x.sizes(), "; [batch, channels, ..] is needed");
  TORCH_CHECK(!s.training || in.x.numel() > in.x.size(1), kName, ": x has shape ", in.x.sizes(), "; training needs more than one value per channel");
  TORCH_CHECK(s.training || (in.running_mean.defined() && in.running_variance.defined()), kName, ": without training the running mean and variance are needed");
  TORCH_CHECK(s.epsilon >= 0, kName, ": epsilon is ", s.epsilon);
  if (in.residual.defined()) {
    TORCH_CHECK(in.residual.sizes() == in.x.sizes(), kName, ": residual has shape ", in.residual.sizes(), ", x ", in.x.sizes());
    TORCH_CHECK(in.residual.device() == in.x.device(), kName, ": residual is on ", in.residual.device(), ", x on ", in.x.device());
  }
  check_vector(in.weight, in.x, "weight");
  check_vector(in.bias, in.x, "bias");
  check_vector(in.running_mean, in.x, "running_mean");
  check_vector(in.running_variance, in.x, "running_var");
}

// The layout in which channels lie beside each other, for tensors that have it.
bool channels_last(const at::Tensor& x) {
  const auto format = x.suggest_memory_format();
  return (format == at::MemoryFormat::ChannelsLast || format == at::MemoryFormat::ChannelsLast3d) && x.is_contiguous(format);
}

bool plain_vector(const at::Tensor& vector) { return vector.scalar_type() == at::kFloat && vector.is_contiguous(); }

bool starts_at_16(const at::Tensor& tensor) { return !tensor.is_cuda() || reinterpret_cast<uintptr_t>(tensor.data_ptr()) % 16 == 0; }

// Where the kernels of this folder apply: everything else is libtorch's batch norm, addition and ReLU.
bool fused(const Inputs& in) {
  const auto& x = in.x;
#ifdef DEEPSEEK_CUDA
  const bool has_kernel = x.is_cpu() || x.is_cuda() || x.is_meta();
#else
  const bool has_kernel = x.is_cpu() || x.is_meta();
#endif
  if (!has_kernel || x.numel() == 0 || !channels_last(x) || (x.is_cuda() && (x.size(1) % 8 != 0 || !starts_at_16(x)))) return false;
  if (x.scalar_type() != at::kFloat && x.scalar_type() != at::kBFloat16 && x.scalar_type() != at::kHalf) return false;
  if (in.residual.defined() && in.residual.scalar_type() != x.scalar_type()) return false;
  for (const auto* vector : {&in.weight, &in.bias}) {
    if (!vector->defined() || !plain_vector(*vector) || !starts_at_16(*vector)) return false;
  }
  for (const auto* vector : {&in.running_mean, &in.running_variance}) {
    if (vector->defined() && (!plain_vector(*vector) || !starts_at_16(*vector))) return false;
  }
  return true;
}

at::Tensor composite(const Inputs& in, const Settings& s) {
  auto y = at::batch_norm(in.x, in.weight, in.bias, in.running_mean, in.running_variance, s.training, s.momentum, s.epsilon, false);
  if (in.residual.defined()) y = y + in.residual;
  return s.relu ? at::relu(y) : y;
}

at::Tensor laid_out_as(const at::Tensor& tensor, const at::Tensor& x) {
  const auto laid_out = tensor.to(x.scalar_type()).contiguous(x.suggest_memory_format());
  return starts_at_16(laid_out) ? laid_out : laid_out.clone();
}

BatchNormParams params_of(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const Settings& s) {
  BatchNormParams p;
  p.columns = x.size(1);
  p.rows = x.numel() / p.columns;
  p.type = element_type(x, kName, "x");
  p.relu = s.relu;
  p.training = s.training;
  p.momentum = s.momentum;
  p.epsilon = s.epsilon;
  if (x.is_meta()) return p;
  p.x = x.data_ptr();
  p.weight = weight.data_ptr<float>();
  p.bias = bias.data_ptr<float>();
  p.stream = current_stream(x);
  return p;
}

float* floats_or_null(const at::Tensor& tensor) { return tensor.defined() && !tensor.is_meta() ? tensor.data_ptr<float>() : nullptr; }

Forward forward(const Inputs& in, const Settings& s) {
  const auto& x = in.x;
  const c10::OptionalDeviceGuard device(x.device());
  auto p = params_of(x, in.weight, in.bias, s);
  const auto floats = x.options().dtype(at::kFloat);
  Forward out;
  out.y = at::empty_like(x);
  out.mean = s.training ? at::empty({p.columns}, floats) : in.running_mean;
  out.spread = s.training ? at::empty({p.columns}, floats) : in.running_variance;
  if (s.records && s.relu && in.residual.defined()) out.mask = at::empty({p.rows, (p.columns + 7) / 8}, floats.dtype(at::kByte));
  if (x.is_meta()) return out;
  const auto residual = in.residual.defined() ? laid_out_as(in.residual, x) : in.residual;
  p.residual = data_or_null(residual);
  p.y = out.y.data_ptr();
  p.mask = static_cast<uint8_t*>(mutable_data_or_null(out.mask));
  p.mean = out.mean.data_ptr<float>();
  p.spread = out.spread.data_ptr<float>();
  if (s.training) {
    p.running_mean = floats_or_null(in.running_mean);
    p.running_variance = floats_or_null(in.running_variance);
  }
#ifdef DEEPSEEK_CUDA
  if (x.is_cuda()) {
    at::Tensor partial;
    if (s.training) {
      p.partials = batch_norm_partials_cuda(p);
      partial = at::empty({p.partials, 2, p.columns}, floats);
      p.partial = partial.data_ptr<float>();
    }
    check_launch(batch_norm_forward_cuda(p), kName);
    return out;
  }
#endif
  DS_CPU(batch_norm_forward)(p);
  return out;
}

struct Gradients {
  at::Tensor x, residual, weight, bias;
};

struct Wanted {
  bool x, residual, weight, bias;
};

Gradients backward(const at::Tensor& first, const at::Tensor& second, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const Forward& saved, bool residual, const Settings& s, Wanted wanted) {
  TORCH_CHECK(!at::GradMode::is_enabled(), kName, ": there is no second derivative");
  const c10::OptionalDeviceGuard device(x.device());
  Gradients out;
  auto dy = laid_out_as(first.defined() ? first : second.defined() ? second : at::zeros_like(x), x);
  auto other = first.defined() && second.defined() ? laid_out_as(second, x) : at::Tensor();
  const bool masked_residual = residual && s.relu;
  if (other.defined() && !masked_residual) {
    dy = dy + other;
    other = at::Tensor();
  }
  const auto floats = x.options().dtype(at::kFloat);
  if (masked_residual) out.residual = at::empty_like(x);
  if (wanted.x) out.x = at::empty_like(x);
  if (wanted.weight) out.weight = at::empty({x.size(1)}, floats);
  if (wanted.bias) out.bias = at::empty({x.size(1)}, floats);
  if (!x.is_meta()) {
    auto p = params_of(x, weight, bias, s);
    p.mean = floats_or_null(saved.mean);
    p.spread = floats_or_null(saved.spread);
    p.mask = static_cast<uint8_t*>(mutable_data_or_null(saved.mask));
    p.dy = dy.data_ptr();
    p.other = data_or_null(other);
    p.dresidual = mutable_data_or_null(out.residual);
    p.dx = mutable_data_or_null(out.x);
    p.dweight = floats_or_null(out.weight);
    p.dbias = floats_or_null(out.bias);
#ifdef DEEPSEEK_CUDA
    if (x.is_cuda()) {
      p.partials = batch_norm_gradient_partials_cuda(p);
      const auto work = at::empty({p.partials + 1, 2, p.columns}, floats);
      p.partial = work.data_ptr<float>();
      p.coefficients = p.partial + p.partials * 2 * p.columns;
      check_launch(batch_norm_backward_cuda(p), kName);
    }
#endif
    if (x.is_cpu()) DS_CPU(batch_norm_backward)(p);
  }
  if (wanted.residual && !masked_residual) out.residual = dy;
  if (!wanted.residual) out.residual = at::Tensor();
  return out;
}

// Asked before autograd::Function switches recording off for its forward pass.
bool records(const Inputs& in) {
  if (!at::GradMode::is_enabled()) return false;
  for (const auto* tensor : {&in.x, &in.residual, &in.weight, &in.bias}) {
    if (tensor->defined() && tensor->requires_grad()) return true;
  }
  return false;
}

bool wants(const at::Tensor& tensor) { return tensor.defined() && tensor.requires_grad(); }

// `kFork`: two outputs in the same memory, each with a gradient of its own; the backward pass adds them as it reads them.
template <bool kFork>
struct BatchNorm : torch::autograd::Function<BatchNorm<kFork>> {
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x, const OptionalTensor& residual, const OptionalTensor& weight, const OptionalTensor& bias,
                                                const OptionalTensor& mean, const OptionalTensor& variance, Settings s) {
    const at::AutoDispatchBelowADInplaceOrView below;
    const auto in = inputs_of(x, residual, weight, bias, mean, variance);
    const Wanted wanted{wants(in.x), wants(in.residual), wants(in.weight), wants(in.bias)};
    const auto out = deepseek::forward(in, s);
    ctx->saved_data["training"] = s.training;
    ctx->saved_data["epsilon"] = s.epsilon;
    ctx->saved_data["relu"] = s.relu;
    ctx->saved_data["residual"] = in.residual.defined();
    ctx->saved_data["wanted"] = static_cast<int64_t>(wanted.x | wanted.residual << 1 | wanted.weight << 2 | wanted.bias << 3);
    ctx->set_materialize_grads(false);
    ctx->save_for_backward({in.x, in.weight, in.bias, out.mean, out.spread, out.mask});
    if (kFork) return {out.y, at::alias(out.y)};
    return {out.y};
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, torch::autograd::variable_list gradients) {
    const auto saved = ctx->get_saved_variables();
    const Settings s{ctx->saved_data["training"].toBool(), 0, ctx->saved_data["epsilon"].toDouble(), ctx->saved_data["relu"].toBool(), false};
    const auto bits = ctx->saved_data["wanted"].toInt();
    const auto out = deepseek::backward(gradients[0], kFork ? gradients[1] : at::Tensor(), saved[0], saved[1], saved[2], Forward{at::Tensor(), saved[3], saved[4], saved[5]},
                                        ctx->saved_data["residual"].toBool(), s, Wanted{(bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0, (bits & 8) != 0});
    return {out.x, out.residual, out.weight, out.bias, at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

at::Tensor batch_norm(const at::Tensor& x, const OptionalTensor& residual, const OptionalTensor& weight, const OptionalTensor& bias, const OptionalTensor& mean, const OptionalTensor& variance,
                      bool training, double momentum, double epsilon, bool relu) {
  const auto in = inputs_of(x, residual, weight, bias, mean, variance);
  const Settings s{training, momentum, epsilon, relu, false};
  check(in, s);
  return fused(in) ? forward(in, s).y : composite(in, s);
}

at::Tensor batch_norm_autograd(const at::Tensor& x, const OptionalTensor& residual, const OptionalTensor& weight, const OptionalTensor& bias, const OptionalTensor& mean, const OptionalTensor& variance,
                               bool training, double momentum, double epsilon, bool relu) {
  const auto in = inputs_of(x, residual, weight, bias, mean, variance);
  const Settings s{training, momentum, epsilon, relu, records(in)};
  check(in, s);
  return fused(in) ? BatchNorm<false>::apply(x, residual, weight, bias, mean, variance, s)[0] : composite(in, s);
}

std::tuple<at::Tensor, at::Tensor> batch_norm_fork(const at::Tensor& x, const OptionalTensor& residual, const OptionalTensor& weight, const OptionalTensor& bias, const OptionalTensor& mean, const OptionalTensor& variance,
                                                   bool training, double momentum, double epsilon, bool relu) {
  const auto y = batch_norm(x, residual, weight, bias, mean, variance, training, momentum, epsilon, relu);
  return {y, at::alias(y)};
}

std::tuple<at::Tensor, at::Tensor> batch_norm_fork_autograd(const at::Tensor& x, const OptionalTensor& residual, const OptionalTensor& weight, const OptionalTensor& bias, const OptionalTensor& mean, const OptionalTensor& variance,
                                                            bool training, double momentum, double epsilon, bool relu) {
  const auto in = inputs_of(x, residual, weight, bias, mean, variance);
  const Settings s{training, momentum, epsilon, relu, records(in)};
  check(in, s);
  if (fused(in)) {
    const auto out = BatchNorm<true>::apply(x, residual, weight, bias, mean, variance, s);
    return {out[0], out[1]};
  }
  const auto y = composite(in, s);
  return {y, at::alias(y)};
}

}  // namespace
}  // namespace deepseek

TORCH_LIBRARY_FRAGMENT(deepseek, m) {
  m.def("batch_norm(Tensor x, Tensor? residual, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? running_var, bool training, float momentum, float epsilon, bool relu) -> Tensor");
  m.def("batch_norm_fork(Tensor x, Tensor? residual, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? running_var, bool training, float momentum, float epsilon, bool relu) -> (Tensor, Tensor)");
}

#define DS_BATCH_NORM(key)                                 \
  TORCH_LIBRARY_IMPL(deepseek, key, m) {                   \
    m.impl("batch_norm", deepseek::batch_norm);            \
    m.impl("batch_norm_fork", deepseek::batch_norm_fork);  \
  }

DS_BATCH_NORM(CPU)
DS_BATCH_NORM(CUDA)
DS_BATCH_NORM(Meta)

TORCH_LIBRARY_IMPL(deepseek, Autograd, m) {
  m.impl("batch_norm", deepseek::batch_norm_autograd);
  m.impl("batch_norm_fork", deepseek::batch_norm_fork_autograd);
}
