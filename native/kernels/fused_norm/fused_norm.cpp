#include "fused_norm/fused_norm.h"

#include "common/operator.h"

namespace deepseek {
namespace {

using OptionalTensor = c10::optional<at::Tensor>;
constexpr const char* kName = "deepseek::dropout_add_norm";

struct Settings {
  double p, epsilon;
  bool rms;
  int64_t seed, offset;
};

struct Forward {
  at::Tensor y, z, mean, rstd, rng_used;
};

void check_vector(const at::Tensor& vector, const at::Tensor& x, const char* name) {
  if (!vector.defined()) return;
  TORCH_CHECK(vector.dim() == 1 && vector.size(0) == x.size(-1), kName, ": ", name, " has shape ", vector.sizes(), "; x has ", x.size(-1), " columns");
  TORCH_CHECK(vector.device() == x.device(), kName, ": ", name, " is on ", vector.device(), ", x on ", x.device());
}

void check(const at::Tensor& x, const at::Tensor& residual, const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& rng, const at::Tensor& shift, const Settings& s) {
  check_device(x, kName);
  TORCH_CHECK(x.dim() >= 1 && x.size(-1) > 0, kName, ": x has shape ", x.sizes(), "; at least one dimension and one column are needed");
  TORCH_CHECK(s.p >= 0 && s.p <= 1, kName, ": the dropout probability is ", s.p, ", not in [0, 1]");
  TORCH_CHECK(s.epsilon >= 0, kName, ": epsilon is ", s.epsilon);
  TORCH_CHECK(!s.rms || !bias.defined(), kName, ": RMSNorm has no bias");
  if (residual.defined()) {
    TORCH_CHECK(residual.sizes() == x.sizes(), kName, ": residual has shape ", residual.sizes(), ", x ", x.sizes());
    TORCH_CHECK(residual.device() == x.device(), kName, ": residual is on ", residual.device(), ", x on ", x.device());
    TORCH_CHECK(residual.scalar_type() == x.scalar_type() || residual.scalar_type() == at::kFloat, kName, ": residual is ", residual.scalar_type(), "; x's ", x.scalar_type(), " or float32 is needed");
  }
  check_vector(weight, x, "weight");
  check_vector(bias, x, "bias");
  check_vector(shift, x, "x_bias");
  TORCH_CHECK(!weight.defined() || !bias.defined() || weight.scalar_type() == bias.scalar_type(), kName, ": weight and bias differ in type");
  if (rng.defined()) {
    TORCH_CHECK(rng.scalar_type() == at::kLong && rng.numel() == 2 && rng.is_contiguous() && rng.device() == x.device(), kName, ": rng is not two int64 on ", x.device());
  }
}

// The CPU kernels read float32 vectors; the CUDA kernels any type.
at::Tensor vector_for(const at::Tensor& vector, const at::Tensor& x) {
  if (!vector.defined()) return vector;
  return x.is_cpu() ? vector.to(at::kFloat).contiguous() : vector.contiguous();
}

NormParams params_of(const at::Tensor& x, at::ScalarType stream_type, const at::Tensor& weight, const at::Tensor& bias, const Settings& s) {
  NormParams p;
  p.columns = x.size(-1);
  p.rows = x.numel() / p.columns;
  p.type = element_type(x, kName, "x");
  p.stream_type = stream_type == x.scalar_type() ? p.type : static_cast<int>(kFloat32);
  p.weight_type = weight.defined() ? element_type(weight, kName, "weight") : bias.defined() ? element_type(bias, kName, "bias") : static_cast<int>(kFloat32);
  p.rms = s.rms;
  p.epsilon = static_cast<float>(s.epsilon);
  p.p = s.p;
  p.seed = static_cast<uint64_t>(s.seed);
  p.offset = static_cast<uint64_t>(s.offset);
  p.weight = data_or_null(weight);
  p.bias = data_or_null(bias);
  p.stream = current_stream(x);
  return p;
}

// `keep_stream`: z is written; without, the input itself is z.
Forward forward(const at::Tensor& x_in, const at::Tensor& residual_in, const at::Tensor& weight_in, const at::Tensor& bias_in, const at::Tensor& rng, const at::Tensor& shift_in, const Settings& s, bool keep_stream) {
  check(x_in, residual_in, weight_in, bias_in, rng, shift_in, s);
  const c10::OptionalDeviceGuard device(x_in.device());
  const auto x = x_in.contiguous();
  const auto residual = residual_in.defined() ? residual_in.contiguous() : residual_in;
  const auto weight = vector_for(weight_in, x), bias = vector_for(bias_in, x), shift = vector_for(shift_in, x);
  Forward out;
  const auto stream_type = residual.defined() ? residual.scalar_type() : x.scalar_type();
  out.y = at::empty(x.sizes(), x.options());
  out.z = keep_stream ? at::empty(x.sizes(), x.options().dtype(stream_type)) : x;
  auto p = params_of(x, stream_type, weight, bias, s);
  const auto statistics = x.options().dtype(at::kFloat);
  out.mean = s.rms ? at::Tensor() : at::empty({p.rows}, statistics);
  out.rstd = at::empty({p.rows}, statistics);
  if (rng.defined()) out.rng_used = at::empty({2}, rng.options());
  if (p.rows == 0) return out;
  p.rng = static_cast<const int64_t*>(data_or_null(rng));
  p.rng_used = static_cast<int64_t*>(mutable_data_or_null(out.rng_used));
  p.x = x.data_ptr();
  p.shift = data_or_null(shift);
  if (shift.defined()) p.shift_type = element_type(shift, kName, "x_bias");
  p.residual = data_or_null(residual);
  p.y = out.y.data_ptr();
  p.z = keep_stream ? out.z.data_ptr() : nullptr;
  p.mean = static_cast<float*>(mutable_data_or_null(out.mean));
  p.rstd = out.rstd.data_ptr<float>();
#ifdef DEEPSEEK_CUDA
  if (x.is_cuda()) {
    check_launch(norm_forward_cuda(p), kName);
    return out;
  }
#endif
  DS_CPU(norm_forward)(p);
  return out;
}

struct Gradients {
  at::Tensor x, residual, weight, bias, shift;
};

struct Wanted {
  bool x, residual, weight, bias, shift;
};

Gradients backward(const at::Tensor& dy_in, const at::Tensor& dz_in, const Forward& saved, const at::Tensor& weight_in, at::ScalarType bias_type, at::ScalarType shift_type, at::ScalarType type, const Settings& s, Wanted wanted) {
  TORCH_CHECK(!at::GradMode::is_enabled(), kName, ": there is no second derivative");
  const auto z = saved.z.contiguous();
  const c10::OptionalDeviceGuard device(z.device());
  const auto options = z.options().dtype(type);
  const auto dy = dy_in.defined() ? dy_in.to(type).contiguous() : at::zeros(z.sizes(), options);
  const auto dz = dz_in.defined() ? dz_in.to(z.scalar_type()).contiguous() : at::Tensor();
  const auto weight = vector_for(weight_in, z);
  auto p = params_of(dy, z.scalar_type(), weight, at::Tensor(), s);
  if (!weight.defined()) p.weight_type = element_type(at::empty({0}, options.dtype(z.is_cpu() ? at::kFloat : bias_type)), kName, "bias");
  p.rng = static_cast<const int64_t*>(data_or_null(saved.rng_used));
  // Without dropout the gradients of x and residual are the same numbers.
  const bool same = s.p == 0 && type == z.scalar_type();
  Gradients out;
  if (wanted.residual || (wanted.x && same)) out.residual = at::empty(z.sizes(), z.options());
  if (wanted.x) out.x = same ? out.residual : at::empty(z.sizes(), options);
  const auto vectors = z.options().dtype(z.is_cpu() ? at::kFloat : weight.defined() ? weight.scalar_type() : bias_type);
  if (wanted.weight) out.weight = at::empty({p.columns}, vectors);
  if (wanted.bias) out.bias = at::empty({p.columns}, vectors);
  if (wanted.shift) out.shift = at::empty({p.columns}, z.options().dtype(z.is_cpu() ? at::kFloat : shift_type));
  if (p.rows == 0) {
    if (out.weight.defined()) out.weight.zero_();
    if (out.bias.defined()) out.bias.zero_();
    if (out.shift.defined()) out.shift.zero_();
  } else {
    p.z = z.data_ptr();
    p.mean = static_cast<float*>(mutable_data_or_null(saved.mean));
    p.rstd = saved.rstd.data_ptr<float>();
    p.dy = dy.data_ptr();
    p.dz = data_or_null(dz);
    p.dx = same ? nullptr : mutable_data_or_null(out.x);
    p.dresidual = mutable_data_or_null(out.residual);
    p.dweight = mutable_data_or_null(out.weight);
    p.dbias = mutable_data_or_null(out.bias);
    p.dshift = mutable_data_or_null(out.shift);
    if (out.shift.defined()) p.shift_type = element_type(out.shift, kName, "x_bias");
    at::Tensor partial;
#ifdef DEEPSEEK_CUDA
    if (z.is_cuda()) {
      p.partials = norm_partials_cuda(p);
      if (wanted.weight || wanted.bias || wanted.shift) {
        partial = at::empty({p.partials, 3, p.columns}, z.options().dtype(at::kFloat));
        p.partial = partial.data_ptr<float>();
      }
      check_launch(norm_backward_cuda(p), kName);
    }
#endif
    if (z.is_cpu()) {
      p.partials = norm_partials_cpu(p.rows);
      DS_CPU(norm_backward)(p);
    }
  }
  if (out.weight.defined()) out.weight = out.weight.to(weight_in.scalar_type());
  if (out.bias.defined()) out.bias = out.bias.to(bias_type);
  if (out.shift.defined()) out.shift = out.shift.to(shift_type);
  if (!wanted.residual) out.residual = at::Tensor();
  return out;
}

// Whether z is more than x itself.
bool makes_stream(const OptionalTensor& residual, const OptionalTensor& shift, const Settings& s) { return defined_or_empty(residual).defined() || defined_or_empty(shift).defined() || s.p > 0; }

bool wants(const OptionalTensor& tensor) { return tensor.has_value() && tensor->defined() && tensor->requires_grad(); }

void save_settings(torch::autograd::AutogradContext* ctx, const Settings& s, const OptionalTensor& x, const OptionalTensor& residual, const OptionalTensor& weight, const OptionalTensor& bias, const OptionalTensor& shift) {
  ctx->saved_data["p"] = s.p;
  ctx->saved_data["epsilon"] = s.epsilon;
  ctx->saved_data["rms"] = s.rms;
  ctx->saved_data["seed"] = s.seed;
  ctx->saved_data["offset"] = s.offset;
  ctx->saved_data["type"] = static_cast<int64_t>(x->scalar_type());
  ctx->saved_data["bias_type"] = static_cast<int64_t>(bias.has_value() && bias->defined() ? bias->scalar_type() : at::kFloat);
  ctx->saved_data["shift_type"] = static_cast<int64_t>(shift.has_value() && shift->defined() ? shift->scalar_type() : at::kFloat);
  ctx->saved_data["wanted"] = static_cast<int64_t>(wants(x) | wants(residual) << 1 | wants(weight) << 2 | wants(bias) << 3 | wants(shift) << 4);
}

Gradients backward_of(torch::autograd::AutogradContext* ctx, const at::Tensor& dy, const at::Tensor& dz) {
  const auto saved = ctx->get_saved_variables();
  const Settings s{ctx->saved_data["p"].toDouble(), ctx->saved_data["epsilon"].toDouble(), ctx->saved_data["rms"].toBool(), ctx->saved_data["seed"].toInt(), ctx->saved_data["offset"].toInt()};
  const auto bits = ctx->saved_data["wanted"].toInt();
  return backward(dy, dz, Forward{at::Tensor(), saved[0], saved[1], saved[2], saved[3]}, saved[4], static_cast<at::ScalarType>(ctx->saved_data["bias_type"].toInt()),
                  static_cast<at::ScalarType>(ctx->saved_data["shift_type"].toInt()), static_cast<at::ScalarType>(ctx->saved_data["type"].toInt()), s,
                  Wanted{(bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0, (bits & 8) != 0, (bits & 16) != 0});
}

struct DropoutAddNorm : torch::autograd::Function<DropoutAddNorm> {
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x, const OptionalTensor& residual, const OptionalTensor& weight, const OptionalTensor& bias, const OptionalTensor& rng, const OptionalTensor& shift, Settings s) {
    const at::AutoDispatchBelowADInplaceOrView below;
    const auto out = deepseek::forward(x, defined_or_empty(residual), defined_or_empty(weight), defined_or_empty(bias), defined_or_empty(rng), defined_or_empty(shift), s, makes_stream(residual, shift, s));
    save_settings(ctx, s, x, residual, weight, bias, shift);
    ctx->set_materialize_grads(false);
    ctx->save_for_backward({out.z, out.mean, out.rstd, out.rng_used, defined_or_empty(weight)});
    return {out.y, out.z};
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, torch::autograd::variable_list gradients) {
    const auto out = backward_of(ctx, gradients[0], gradients[1]);
    return {out.x, out.residual, out.weight, out.bias, at::Tensor(), out.shift, at::Tensor()};
  }
};

struct Norm : torch::autograd::Function<Norm> {
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x, const OptionalTensor& weight, const OptionalTensor& bias, Settings s) {
    const at::AutoDispatchBelowADInplaceOrView below;
    const auto out = deepseek::forward(x, at::Tensor(), defined_or_empty(weight), defined_or_empty(bias), at::Tensor(), at::Tensor(), s, false);
    save_settings(ctx, s, x, OptionalTensor(), weight, bias, OptionalTensor());
    ctx->set_materialize_grads(false);
    ctx->save_for_backward({x, out.mean, out.rstd, at::Tensor(), defined_or_empty(weight)});
    return out.y;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, torch::autograd::variable_list gradients) {
    const auto out = backward_of(ctx, gradients[0], at::Tensor());
    return {out.x, out.weight, out.bias, at::Tensor()};
  }
};

std::tuple<at::Tensor, at::Tensor> dropout_add_norm(const at::Tensor& x, const OptionalTensor& residual, const OptionalTensor& weight, const OptionalTensor& bias, double p, double epsilon, bool rms, int64_t seed, int64_t offset, const OptionalTensor& rng, const OptionalTensor& x_bias) {
  const auto out = forward(x, defined_or_empty(residual), defined_or_empty(weight), defined_or_empty(bias), defined_or_empty(rng), defined_or_empty(x_bias), {p, epsilon, rms, seed, offset}, makes_stream(residual, x_bias, {p, epsilon, rms, seed, offset}));
  return {out.y, out.z};
}

std::tuple<at::Tensor, at::Tensor> dropout_add_norm_autograd(const at::Tensor& x, const OptionalTensor& residual, const OptionalTensor& weight, const OptionalTensor& bias, double p, double epsilon, bool rms, int64_t seed, int64_t offset, const OptionalTensor& rng, const OptionalTensor& x_bias) {
  const auto out = DropoutAddNorm::apply(x, residual, weight, bias, rng, x_bias, Settings{p, epsilon, rms, seed, offset});
  return {out[0], out[1]};
}

at::Tensor norm(const at::Tensor& x, const OptionalTensor& weight, const OptionalTensor& bias, double epsilon, bool rms) {
  return forward(x, at::Tensor(), defined_or_empty(weight), defined_or_empty(bias), at::Tensor(), at::Tensor(), {0, epsilon, rms, 0, 0}, false).y;
}

at::Tensor norm_autograd(const at::Tensor& x, const OptionalTensor& weight, const OptionalTensor& bias, double epsilon, bool rms) {
  return Norm::apply(x, weight, bias, Settings{0, epsilon, rms, 0, 0});
}

}  // namespace
}  // namespace deepseek

TORCH_LIBRARY_FRAGMENT(deepseek, m) {
  m.def("dropout_add_norm(Tensor x, Tensor? residual, Tensor? weight, Tensor? bias, float p, float epsilon, bool rms, int seed, int offset, Tensor? rng=None, Tensor? x_bias=None) -> (Tensor y, Tensor z)");
  m.def("norm(Tensor x, Tensor? weight, Tensor? bias, float epsilon, bool rms) -> Tensor");
}

TORCH_LIBRARY_IMPL(deepseek, CPU, m) {
  m.impl("dropout_add_norm", deepseek::dropout_add_norm);
  m.impl("norm", deepseek::norm);
}

TORCH_LIBRARY_IMPL(deepseek, CUDA, m) {
  m.impl("dropout_add_norm", deepseek::dropout_add_norm);
  m.impl("norm", deepseek::norm);
}

TORCH_LIBRARY_IMPL(deepseek, Autograd, m) {
  m.impl("dropout_add_norm", deepseek::dropout_add_norm_autograd);
  m.impl("norm", deepseek::norm_autograd);
}
