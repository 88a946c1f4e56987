// deepseek::head_loss: mean cross entropy of x·Wᵀ against targets, with both gradients made while a piece of the logits is at
// hand, so that all logits never exist together and none is read twice from memory (the idea of Hsu et al., "Liger kernel",
// arXiv 2410.10989, section 3.2).
#include "head_loss.h"

#include "common/operator.h"

#ifdef DEEPSEEK_CUDA
#include "linear/product.h"
#endif

namespace deepseek {
namespace {

constexpr auto kOp = "head_loss";

// The same by plain operators: any device, any sizes.
void rows_by_operators(at::Tensor& logits, const at::Tensor& targets, at::Tensor losses, const at::Tensor& scale) {
  const auto wide = logits.scalar_type() == at::kDouble ? logits : logits.to(at::kFloat);
  const auto valid = targets.ge(0);
  const auto index = targets.clamp_min(0).unsqueeze(1);
  const auto logs = at::log_softmax(wide, 1);
  losses.copy_(logs.gather(1, index).squeeze(1).neg().masked_fill(valid.logical_not(), 0));
  auto gradient = logs.exp();
  gradient.scatter_add_(1, index, at::full_like(index, -1, gradient.options()));
  gradient.mul_(scale.to(gradient.scalar_type())).masked_fill_(valid.logical_not().unsqueeze(1), 0);
  logits.copy_(gradient);
}

void rows(at::Tensor& logits, const at::Tensor& targets, at::Tensor losses, const at::Tensor& scale) {
#ifdef DEEPSEEK_CUDA
  const auto bytes = static_cast<int64_t>(logits.element_size());
  if (logits.is_cuda() && logits.scalar_type() != at::kDouble && logits.size(1) * bytes % 16 == 0) {
    check_launch(head_loss::cuda(logits.data_ptr(), targets.data_ptr<int64_t>(), losses.data_ptr<float>(), scale.data_ptr<float>(), logits.size(0), logits.size(1),
                                 element_type(logits, kOp, "x"), current_stream(logits)), kOp);
    return;
  }
#endif
  rows_by_operators(logits, targets, losses, scale);
}

// out = a·b, or that added to it.
void product(at::Tensor& out, const at::Tensor& a, const at::Tensor& b, bool accumulates = false) {
#ifdef DEEPSEEK_CUDA
  if (linear::can_multiply(out) && linear::can_multiply(a) && linear::can_multiply(b)) {
    linear::multiply({out, a, b, linear::Epilogue::kNone, at::Tensor(), at::Tensor(), accumulates});
    return;
  }
#endif
  if (accumulates) out.addmm_(a, b); else at::mm_out(out, a, b);
}

class HeadLoss : public torch::autograd::Function<HeadLoss> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& targets, int64_t chunk, bool gradients) {
    const at::NoGradGuard no_grad;
    const c10::OptionalDeviceGuard on_device(x.device());
    const auto n = x.size(0);
    const auto wide = x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    // Gradients of half precision are kept in float16's range until the mean is taken.
    const auto inverse = targets.ge(0).sum().clamp_min(1).to(wide).reciprocal();
    const auto late = x.scalar_type() == at::kHalf;
    const auto scale = late ? at::ones({}, inverse.options()) : inverse;
    auto losses = at::empty({n}, x.options().dtype(wide));
    auto dx = gradients ? at::empty_like(x) : at::Tensor();
    auto dw = gradients ? at::empty_like(weight) : at::Tensor();
    for (int64_t from = 0; from < n; from += chunk) {
      const auto count = std::min(chunk, n - from);
      const auto piece = x.narrow(0, from, count);
      auto logits = at::empty({count, weight.size(0)}, x.options());
      product(logits, piece, weight.t());
      rows(logits, targets.narrow(0, from, count), losses.narrow(0, from, count), scale);
      if (!gradients) continue;
      auto part = dx.narrow(0, from, count);
      product(part, logits, weight);
      product(dw, logits.t(), piece, from > 0);
    }
    if (gradients) {
      context->save_for_backward({dx, dw, late ? inverse : at::Tensor()});
    }
    return losses.sum() * inverse;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context, torch::autograd::variable_list given) {
    const auto saved = context->get_saved_variables();
    auto factor = given[0];
    if (saved[2].defined()) factor = factor * saved[2];
    return {saved[0] * factor.to(saved[0].scalar_type()), saved[1] * factor.to(saved[1].scalar_type()), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

at::Tensor head_loss_op(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& targets, int64_t chunk) {
  TORCH_CHECK(x.dim() == 2 && weight.dim() == 2 && x.size(1) == weight.size(1), kOp, ": x ", x.sizes(), " and the weight ", weight.sizes(), " are not [rows, width] and [classes, width]");
  TORCH_CHECK(targets.dim() == 1 && targets.size(0) == x.size(0) && targets.scalar_type() == at::kLong, kOp, ": the targets are not int64 [", x.size(0), "]");
  TORCH_CHECK(x.scalar_type() == weight.scalar_type(), kOp, ": x is ", x.scalar_type(), ", the weight ", weight.scalar_type());
  TORCH_CHECK(x.device() == weight.device() && x.device() == targets.device(), kOp, ": x, the weight and the targets are on different devices");
  TORCH_CHECK(chunk > 0 && x.size(0) > 0, kOp, ": there are no rows, or the chunk is not positive");
  check_device(x, kOp);
  const bool gradients = at::GradMode::is_enabled() && (x.requires_grad() || weight.requires_grad());
  return HeadLoss::apply(x.contiguous(), weight.contiguous(), targets.contiguous(), chunk, gradients);
}

TORCH_LIBRARY_FRAGMENT(deepseek, m) { m.def("head_loss(Tensor x, Tensor weight, Tensor targets, int chunk) -> Tensor"); }
TORCH_LIBRARY_IMPL(deepseek, CompositeImplicitAutograd, m) { m.impl("head_loss", head_loss_op); }

}  // namespace
}  // namespace deepseek
