#include "folded_convolution/fold.h"

#include "common/operator.h"

#include <ATen/autocast_mode.h>
#include <torch/version.h>

namespace deepseek {
namespace {

using OptionalTensor = c10::optional<at::Tensor>;

at::Tensor plain(const at::Tensor& x, const at::Tensor& weight, const OptionalTensor& bias, int64_t padding) {
  return at::conv2d(x, weight, bias, at::IntArrayRef{2, 2}, at::IntArrayRef{padding, padding});
}

#ifdef DEEPSEEK_CUDA
// The type that products on the GPU take now: autocast's, else x's own.
at::ScalarType product_type(const at::Tensor& x) {
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 5)
  return at::autocast::is_autocast_enabled(at::kCUDA) ? at::autocast::get_autocast_dtype(at::kCUDA) : x.scalar_type();
#else
  return at::autocast::is_enabled() ? at::autocast::get_autocast_gpu_dtype() : x.scalar_type();
#endif
}

bool is_known(at::ScalarType type) { return type == at::kFloat || type == at::kBFloat16 || type == at::kHalf; }

// Images of few channels in half precision that need no gradient: elsewhere folding would cost more than it saves.
bool folds(const at::Tensor& x, const at::Tensor& weight, int64_t padding) {
  if (!x.is_cuda() || x.dim() != 4 || weight.dim() != 4 || x.requires_grad() || x.numel() == 0 || !is_known(x.scalar_type())) return false;
  const auto type = product_type(x);
  return (type == at::kBFloat16 || type == at::kHalf) && x.size(1) <= 4 && weight.size(1) == x.size(1) && weight.size(0) % 8 == 0 && weight.size(2) == weight.size(3) && weight.size(2) >= 5 &&
         weight.size(2) % 2 == 1 && padding == weight.size(2) / 2 && x.size(2) % 2 == 0 && x.size(3) % 2 == 0;
}

at::Tensor fold(const at::Tensor& x, at::ScalarType type, int before, int after) {
  const c10::OptionalDeviceGuard device(x.device());
  FoldParams p;
  p.batch = x.size(0);
  p.channels = x.size(1);
  p.height = x.size(2);
  p.width = x.size(3);
  for (int i = 0; i < 4; i++) p.strides[i] = x.stride(i);
  p.before = before;
  p.after = after;
  p.out_channels = (4 * p.channels + 7) / 8 * 8;
  p.type = element_type(x, "deepseek::convolution_stride2", "x");
  const auto y = at::empty({p.batch, p.out_channels, p.height / 2 + before + after, p.width / 2 + before + after}, x.options().dtype(type).memory_format(at::MemoryFormat::ChannelsLast));
  p.out_type = element_type(y, "deepseek::convolution_stride2", "y");
  p.x = x.data_ptr();
  p.y = y.data_ptr();
  p.stream = current_stream(x);
  check_launch(fold_cuda(p), "deepseek::convolution_stride2");
  return y;
}

at::Tensor folded(const at::Tensor& x, const at::Tensor& weight, const OptionalTensor& bias, int64_t padding) {
  // Taps 2·a + b − shift for a of `taps`: the kernel grows in front so that its first tap falls on a square's first pixel.
  const int64_t size = weight.size(2), shift = padding % 2, taps = (size + shift + 1) / 2, before = (padding + shift) / 2, after = taps - 1 - before, channels = weight.size(1);
  const auto image = fold(x, product_type(x), static_cast<int>(before), static_cast<int>(after));
  const int64_t behind = 2 * taps - size - shift, spare = image.size(1) - 4 * channels;
  auto kernel = at::constant_pad_nd(weight, {shift, behind, shift, behind}).contiguous();
  kernel = kernel.view({weight.size(0), channels, taps, 2, taps, 2}).permute({0, 3, 5, 1, 2, 4}).reshape({weight.size(0), 4 * channels, taps, taps});
  kernel = at::constant_pad_nd(kernel, {0, 0, 0, 0, 0, spare}).contiguous(at::MemoryFormat::ChannelsLast);
  return at::conv2d(image, kernel, bias);
}
#endif

at::Tensor convolution_stride2(const at::Tensor& x, const at::Tensor& weight, const OptionalTensor& bias, int64_t padding) {
#ifdef DEEPSEEK_CUDA
  if (folds(x, weight, padding)) return folded(x, weight, bias, padding);
#endif
  return plain(x, weight, bias, padding);
}

}  // namespace
}  // namespace deepseek

TORCH_LIBRARY_FRAGMENT(deepseek, m) {
  m.def("convolution_stride2(Tensor x, Tensor weight, Tensor? bias, int padding) -> Tensor", deepseek::convolution_stride2);
}
