#include "cross_entropy/cross_entropy.h"

#include "common/operator.h"

#include <algorithm>

namespace deepseek {
namespace {

constexpr const char* kName = "deepseek::linear_cross_entropy";

struct Result {
  at::Tensor loss, hidden, weight;  // gradients of the loss by hidden and weight, where wanted
};

void rows_of(const at::Tensor& logits, const at::Tensor& target, const at::Tensor& scale, const at::Tensor& loss, int64_t ignored, bool gradient) {
  CrossEntropyParams p;
  p.rows = logits.size(0);
  p.columns = logits.size(1);
  p.type = element_type(logits, kName, "logits");
  p.logits = logits.data_ptr();
  p.target = target.data_ptr<int64_t>();
  p.ignored = ignored;
  p.scale = scale.data_ptr<float>();
  p.loss = loss.data_ptr<float>();
  p.gradient = gradient;
  p.stream = current_stream(logits);
#ifdef DEEPSEEK_CUDA
  if (logits.is_cuda()) {
    check_launch(cross_entropy_rows_cuda(p), kName);
    return;
  }
#endif
  DS_CPU(cross_entropy_rows)(p);
}

Result run(const at::Tensor& hidden_in, const at::Tensor& weight_in, const at::Tensor& target_in, int64_t ignored, int64_t chunk, bool want_hidden, bool want_weight) {
  check_device(hidden_in, kName);
  TORCH_CHECK(hidden_in.dim() == 2 && weight_in.dim() == 2 && hidden_in.size(1) == weight_in.size(1), kName, ": hidden has shape ", hidden_in.sizes(), ", weight ", weight_in.sizes(),
              "; [rows, features] and [classes, features] are needed");
  TORCH_CHECK(target_in.dim() == 1 && target_in.size(0) == hidden_in.size(0) && target_in.scalar_type() == at::kLong, kName, ": target is ", target_in.scalar_type(), " ", target_in.sizes(),
              "; int64 [", hidden_in.size(0), "] is needed");
  TORCH_CHECK(weight_in.device() == hidden_in.device() && target_in.device() == hidden_in.device(), kName, ": hidden, weight and target are on different devices");
  TORCH_CHECK(chunk >= 0, kName, ": the chunk has ", chunk, " rows");
  const c10::OptionalDeviceGuard device(hidden_in.device());
  const auto hidden = hidden_in.contiguous(), target = target_in.contiguous();
  // The CPU has no matrix product of halves: there a chunk is computed in float32.
  const auto type = hidden.is_cpu() ? at::kFloat : hidden.scalar_type();
  const auto weight = weight_in.to(type);
  const auto rows = hidden.size(0), classes = weight.size(0);
  // About 64 MB of float32 logits unless told otherwise.
  if (chunk == 0) chunk = std::clamp<int64_t>((int64_t{1} << 24) / std::max<int64_t>(classes, 1), 128, 8192);
  const auto floats = hidden.options().dtype(at::kFloat);
  // No row that counts: the mean is 0/0, NaN, as in libtorch.
  const auto count = target.ne(ignored).sum();
  const auto scale = count.to(at::kFloat).clamp_min(1).reciprocal();
  auto losses = at::empty({rows}, floats);
  const bool gradient = want_hidden || want_weight;
  Result out;
  if (want_hidden) out.hidden = at::empty(hidden.sizes(), hidden.options());
  if (want_weight) out.weight = at::zeros(weight.sizes(), floats);
  for (int64_t first = 0; first < rows; first += chunk) {
    const auto length = std::min(chunk, rows - first);
    const auto part = hidden.narrow(0, first, length).to(type);
    const auto logits = at::mm(part, weight.t());
    rows_of(logits, target.narrow(0, first, length), scale, losses.narrow(0, first, length), ignored, gradient);
    if (want_hidden) {
      auto slice = out.hidden.narrow(0, first, length);
      logits.scalar_type() == slice.scalar_type() ? (void)at::mm_out(slice, logits, weight) : (void)slice.copy_(at::mm(logits, weight));
    }
    if (!want_weight) continue;
    if (logits.scalar_type() == at::kFloat && part.scalar_type() == at::kFloat) {
      out.weight.addmm_(logits.t(), part);
    } else {
      out.weight.add_(at::mm(logits.t(), part));
    }
  }
  out.loss = losses.sum() / count.to(at::kFloat);
  if (want_weight) out.weight = out.weight.to(weight_in.scalar_type());
  return out;
}

struct LinearCrossEntropy : torch::autograd::Function<LinearCrossEntropy> {
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& target, int64_t ignored, int64_t chunk, bool recording) {
    const at::AutoDispatchBelowADInplaceOrView below;
    const auto out = run(hidden, weight, target, ignored, chunk, recording && hidden.requires_grad(), recording && weight.requires_grad());
    ctx->save_for_backward({out.hidden, out.weight});
    return out.loss;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, torch::autograd::variable_list gradients) {
    TORCH_CHECK(!at::GradMode::is_enabled(), kName, ": there is no second derivative");
    const auto saved = ctx->get_saved_variables();
    // The chain rule's factor stays on the device: reading it would stop the stream.
    const auto times = [&](const at::Tensor& gradient) { return gradient.defined() ? gradient * gradients[0].to(gradient.scalar_type()) : gradient; };
    return {times(saved[0]), times(saved[1]), at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

at::Tensor linear_cross_entropy(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& target, int64_t ignored, int64_t chunk) {
  return run(hidden, weight, target, ignored, chunk, false, false).loss;
}

at::Tensor linear_cross_entropy_autograd(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& target, int64_t ignored, int64_t chunk) {
  return LinearCrossEntropy::apply(hidden, weight, target, ignored, chunk, at::GradMode::is_enabled());
}

}  // namespace
}  // namespace deepseek

TORCH_LIBRARY_FRAGMENT(deepseek, m) { m.def("linear_cross_entropy(Tensor hidden, Tensor weight, Tensor target, int ignored=-100, int chunk=0) -> Tensor"); }
TORCH_LIBRARY_IMPL(deepseek, CPU, m) { m.impl("linear_cross_entropy", deepseek::linear_cross_entropy); }
TORCH_LIBRARY_IMPL(deepseek, CUDA, m) { m.impl("linear_cross_entropy", deepseek::linear_cross_entropy); }
TORCH_LIBRARY_IMPL(deepseek, Autograd, m) { m.impl("linear_cross_entropy", deepseek::linear_cross_entropy_autograd); }
