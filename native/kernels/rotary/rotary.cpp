#include "rotary/rotary.h"

#include "common/operator.h"

namespace deepseek {
namespace {

constexpr const char* kName = "deepseek::rotary";

at::Tensor turn(const at::Tensor& x_in, const at::Tensor& cosine_in, const at::Tensor& sine_in, bool interleaved, bool back) {
  check_device(x_in, kName);
  TORCH_CHECK(x_in.dim() >= 2 && x_in.size(-1) % 2 == 0, kName, ": x has shape ", x_in.sizes(), "; [.., positions, even width] is needed");
  for (const auto* table : {&cosine_in, &sine_in}) {
    TORCH_CHECK(table->dim() == 2 && table->size(0) == x_in.size(-2) && table->size(1) == x_in.size(-1) / 2 && table->scalar_type() == at::kFloat && table->device() == x_in.device(), kName,
                ": the tables are float32 [", x_in.size(-2), ", ", x_in.size(-1) / 2, "] on ", x_in.device(), "; given ", table->scalar_type(), " ", table->sizes(), " on ", table->device());
  }
  const c10::OptionalDeviceGuard device(x_in.device());
  const auto x = x_in.contiguous(), cosine = cosine_in.contiguous(), sine = sine_in.contiguous();
  auto y = at::empty(x.sizes(), x.options());
  RotaryParams p;
  p.type = element_type(x, kName, "x");
  if (x.numel() == 0) return y;
  p.width = x.size(-1);
  p.positions = x.size(-2);
  p.rows = x.numel() / p.width;
  p.interleaved = interleaved;
  p.back = back;
  p.x = x.data_ptr();
  p.y = y.data_ptr();
  p.cosine = cosine.data_ptr<float>();
  p.sine = sine.data_ptr<float>();
  p.stream = current_stream(x);
#ifdef DEEPSEEK_CUDA
  if (x.is_cuda()) {
    check_launch(rotary_cuda(p), kName);
    return y;
  }
#endif
  DS_CPU(rotary)(p);
  return y;
}

struct Rotary : torch::autograd::Function<Rotary> {
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x, const at::Tensor& cosine, const at::Tensor& sine, bool interleaved) {
    const at::AutoDispatchBelowADInplaceOrView below;
    ctx->save_for_backward({cosine, sine});
    ctx->saved_data["interleaved"] = interleaved;
    return turn(x, cosine, sine, interleaved, false);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, torch::autograd::variable_list gradients) {
    TORCH_CHECK(!at::GradMode::is_enabled(), kName, ": there is no second derivative");
    const auto saved = ctx->get_saved_variables();
    return {turn(gradients[0], saved[0], saved[1], ctx->saved_data["interleaved"].toBool(), true), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

at::Tensor rotary_forward(const at::Tensor& x, const at::Tensor& cosine, const at::Tensor& sine, bool interleaved) { return turn(x, cosine, sine, interleaved, false); }
at::Tensor rotary_autograd(const at::Tensor& x, const at::Tensor& cosine, const at::Tensor& sine, bool interleaved) { return Rotary::apply(x, cosine, sine, interleaved); }

}  // namespace
}  // namespace deepseek

TORCH_LIBRARY_FRAGMENT(deepseek, m) { m.def("rotary(Tensor x, Tensor cosine, Tensor sine, bool interleaved=False) -> Tensor"); }
TORCH_LIBRARY_IMPL(deepseek, CPU, m) { m.impl("rotary", deepseek::rotary_forward); }
TORCH_LIBRARY_IMPL(deepseek, CUDA, m) { m.impl("rotary", deepseek::rotary_forward); }
TORCH_LIBRARY_IMPL(deepseek, Autograd, m) { m.impl("rotary", deepseek::rotary_autograd); }
