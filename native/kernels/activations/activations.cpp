#include "activations/activations.h"

#include "common/operator.h"

namespace deepseek {
namespace {

using OptionalTensor = c10::optional<at::Tensor>;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

ActivationParams params_of(const at::Tensor& x, int activation, const char* name) {
  ActivationParams p;
  p.columns = x.dim() > 0 && x.size(-1) > 0 ? x.size(-1) : 1;
  p.rows = x.numel() / p.columns;
  p.type = element_type(x, name, "x");
  p.activation = activation;
  p.x = x.data_ptr();
  p.stream = current_stream(x);
  return p;
}

void run(const ActivationParams& p, const at::Tensor& x, bool backward, const char* name) {
  if (p.rows == 0) return;
#ifdef DEEPSEEK_CUDA
  if (x.is_cuda()) {
    check_launch(backward ? activation_backward_cuda(p) : activation_forward_cuda(p), name);
    return;
  }
#endif
  (void)x;
  (void)name;
  backward ? DS_CPU(activation_backward)(p) : DS_CPU(activation_forward)(p);
}

constexpr const char* kBiasGelu = "deepseek::bias_gelu";
constexpr const char* kSwiGluName = "deepseek::swiglu";

at::Tensor bias_for(const at::Tensor& bias, const at::Tensor& x) {
  if (!bias.defined()) return bias;
  return x.is_cpu() ? bias.to(at::kFloat).contiguous() : bias.contiguous();
}

// Backward with dy: dx; forward without: y.
at::Tensor bias_gelu_pass(const at::Tensor& x_in, const at::Tensor& bias_in, bool by_tanh, const at::Tensor& dy_in) {
  check_device(x_in, kBiasGelu);
  TORCH_CHECK(!bias_in.defined() || (x_in.dim() > 0 && bias_in.dim() == 1 && bias_in.size(0) == x_in.size(-1) && bias_in.device() == x_in.device()), kBiasGelu,
              ": bias does not fit x's last dimension and device");
  const c10::OptionalDeviceGuard device(x_in.device());
  const auto x = x_in.contiguous(), bias = bias_for(bias_in, x);
  auto p = params_of(x, by_tanh ? kGeluTanh : kGelu, kBiasGelu);
  if (bias.defined()) p.bias_type = element_type(bias, kBiasGelu, "bias");
  p.bias = data_or_null(bias);
  auto out = at::empty(x.sizes(), x.options());
  at::Tensor dy;
  if (dy_in.defined()) {
    dy = dy_in.to(x.scalar_type()).contiguous();
    p.dy = dy.data_ptr();
    p.dx = out.data_ptr();
  } else {
    p.y = out.data_ptr();
  }
  run(p, x, dy.defined(), kBiasGelu);
  return out;
}

struct BiasGelu : torch::autograd::Function<BiasGelu> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const OptionalTensor& bias, bool by_tanh) {
    const at::AutoDispatchBelowADInplaceOrView below;
    ctx->save_for_backward({x, defined_or_empty(bias)});
    ctx->saved_data["by_tanh"] = by_tanh;
    ctx->saved_data["bias"] = bias.has_value() && bias->defined() && bias->requires_grad();
    return bias_gelu_pass(x, defined_or_empty(bias), by_tanh, at::Tensor());
  }
  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    TORCH_CHECK(!at::GradMode::is_enabled(), kBiasGelu, ": there is no second derivative");
    const auto saved = ctx->get_saved_variables();
    const auto dx = bias_gelu_pass(saved[0], saved[1], ctx->saved_data["by_tanh"].toBool(), gradients[0]);
    at::Tensor dbias;
    if (ctx->saved_data["bias"].toBool()) dbias = dx.reshape({-1, dx.size(-1)}).sum(0, false, at::kFloat).to(saved[1].scalar_type());
    return {dx, dbias, at::Tensor()};
  }
};

void check_pair(const at::Tensor& x, const at::Tensor& gate) {
  check_device(x, kSwiGluName);
  TORCH_CHECK(x.sizes() == gate.sizes() && x.scalar_type() == gate.scalar_type() && x.device() == gate.device(), kSwiGluName, ": x is ", x.scalar_type(), " ", x.sizes(), ", gate ",
              gate.scalar_type(), " ", gate.sizes());
}

at::Tensor swiglu(const at::Tensor& x_in, const at::Tensor& gate_in) {
  check_pair(x_in, gate_in);
  const c10::OptionalDeviceGuard device(x_in.device());
  const auto x = x_in.contiguous(), gate = gate_in.contiguous();
  auto y = at::empty(x.sizes(), x.options());
  auto p = params_of(x, kSwiGlu, kSwiGluName);
  p.gate = gate.data_ptr();
  p.y = y.data_ptr();
  run(p, x, false, kSwiGluName);
  return y;
}

struct SwiGlu : torch::autograd::Function<SwiGlu> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& gate) {
    const at::AutoDispatchBelowADInplaceOrView below;
    ctx->save_for_backward({x, gate});
    return swiglu(x, gate);
  }
  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    TORCH_CHECK(!at::GradMode::is_enabled(), kSwiGluName, ": there is no second derivative");
    const auto saved = ctx->get_saved_variables();
    const auto x = saved[0].contiguous(), gate = saved[1].contiguous(), dy = gradients[0].contiguous();
    const c10::OptionalDeviceGuard device(x.device());
    auto dx = at::empty(x.sizes(), x.options()), dgate = at::empty(x.sizes(), x.options());
    auto p = params_of(x, kSwiGlu, kSwiGluName);
    p.gate = gate.data_ptr();
    p.dy = dy.data_ptr();
    p.dx = dx.data_ptr();
    p.dgate = dgate.data_ptr();
    run(p, x, true, kSwiGluName);
    return {dx, dgate};
  }
};

at::Tensor bias_gelu(const at::Tensor& x, const OptionalTensor& bias, bool by_tanh) { return bias_gelu_pass(x, defined_or_empty(bias), by_tanh, at::Tensor()); }
at::Tensor bias_gelu_autograd(const at::Tensor& x, const OptionalTensor& bias, bool by_tanh) { return BiasGelu::apply(x, bias, by_tanh); }
at::Tensor swiglu_autograd(const at::Tensor& x, const at::Tensor& gate) { return SwiGlu::apply(x, gate); }

}  // namespace
}  // namespace deepseek

TORCH_LIBRARY_FRAGMENT(deepseek, m) {
  m.def("bias_gelu(Tensor x, Tensor? bias, bool by_tanh=False) -> Tensor");
  m.def("swiglu(Tensor x, Tensor gate) -> Tensor");
}

TORCH_LIBRARY_IMPL(deepseek, CPU, m) {
  m.impl("bias_gelu", deepseek::bias_gelu);
  m.impl("swiglu", deepseek::swiglu);
}
TORCH_LIBRARY_IMPL(deepseek, CUDA, m) {
  m.impl("bias_gelu", deepseek::bias_gelu);
  m.impl("swiglu", deepseek::swiglu);
}
TORCH_LIBRARY_IMPL(deepseek, Autograd, m) {
  m.impl("bias_gelu", deepseek::bias_gelu_autograd);
  m.impl("swiglu", deepseek::swiglu_autograd);
}
