#include "max_pool/max_pool.h"

#include "common/operator.h"

namespace deepseek {
namespace {

constexpr const char* kName = "deepseek::max_pool2d";

struct Window {
  int64_t kernel, stride, padding;
};

#ifdef DEEPSEEK_CUDA
int64_t windows(int64_t size, const Window& w) { return (size + 2 * w.padding - w.kernel) / w.stride + 1; }

// Where the kernel of this folder applies: elsewhere, and for all that is wrong with the arguments, libtorch's pooling.
bool fused(const at::Tensor& x, const Window& w) {
  return x.is_cuda() && x.dim() == 4 && x.numel() > 0 && x.size(1) % 8 == 0 && x.suggest_memory_format() == at::MemoryFormat::ChannelsLast && x.is_contiguous(at::MemoryFormat::ChannelsLast) &&
         (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16 || x.scalar_type() == at::kHalf) && reinterpret_cast<uintptr_t>(x.data_ptr()) % 16 == 0 && w.kernel >= 1 && w.kernel <= 16 &&
         w.stride >= 1 && w.padding >= 0 && 2 * w.padding <= w.kernel && windows(x.size(2), w) > 0 && windows(x.size(3), w) > 0 && x.size(2) * x.size(3) * x.size(1) < (int64_t{1} << 31);
}

MaxPoolParams params_of(const at::Tensor& x, const Window& w) {
  MaxPoolParams p;
  p.batch = x.size(0);
  p.channels = x.size(1);
  p.height = x.size(2);
  p.width = x.size(3);
  p.out_height = windows(p.height, w);
  p.out_width = windows(p.width, w);
  for (int i = 0; i < 2; i++) {
    p.kernel[i] = static_cast<int>(w.kernel);
    p.stride[i] = static_cast<int>(w.stride);
    p.padding[i] = static_cast<int>(w.padding);
  }
  p.type = element_type(x, kName, "x");
  p.stream = current_stream(x);
  return p;
}

std::tuple<at::Tensor, at::Tensor> forward(const at::Tensor& x, const Window& w, bool keeps_places) {
  const c10::OptionalDeviceGuard device(x.device());
  auto p = params_of(x, w);
  const auto y = at::empty({p.batch, p.channels, p.out_height, p.out_width}, x.options().memory_format(at::MemoryFormat::ChannelsLast));
  const auto place = keeps_places ? at::empty({p.batch, p.out_height, p.out_width, p.channels}, x.options().dtype(at::kByte)) : at::Tensor();
  p.x = x.data_ptr();
  p.y = y.data_ptr();
  p.place = static_cast<uint8_t*>(mutable_data_or_null(place));
  check_launch(max_pool_forward_cuda(p), kName);
  return {y, place};
}

struct MaxPool : torch::autograd::Function<MaxPool> {
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x, Window w) {
    const at::AutoDispatchBelowADInplaceOrView below;
    const auto [y, place] = deepseek::forward(x, w, x.requires_grad());
    ctx->saved_data["sizes"] = x.sizes().vec();
    ctx->saved_data["window"] = std::vector<int64_t>{w.kernel, w.stride, w.padding};
    ctx->save_for_backward({place});
    return y;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, torch::autograd::variable_list gradients) {
    TORCH_CHECK(!at::GradMode::is_enabled(), kName, ": there is no second derivative");
    const auto place = ctx->get_saved_variables()[0];
    const auto window = ctx->saved_data["window"].toIntVector();
    const c10::OptionalDeviceGuard device(place.device());
    auto dy = gradients[0].contiguous(at::MemoryFormat::ChannelsLast);
    if (reinterpret_cast<uintptr_t>(dy.data_ptr()) % 16 != 0) dy = dy.clone();
    const auto dx = at::empty(ctx->saved_data["sizes"].toIntVector(), dy.options().memory_format(at::MemoryFormat::ChannelsLast));
    auto p = params_of(dx, {window[0], window[1], window[2]});
    p.x = dy.data_ptr();
    p.y = dx.data_ptr();
    p.place = place.data_ptr<uint8_t>();
    check_launch(max_pool_backward_cuda(p), kName);
    return {dx, at::Tensor()};
  }
};
#endif

at::Tensor composite(const at::Tensor& x, const Window& w) { return at::max_pool2d(x, {w.kernel, w.kernel}, {w.stride, w.stride}, {w.padding, w.padding}); }

at::Tensor max_pool2d(const at::Tensor& x, int64_t kernel, int64_t stride, int64_t padding) {
  const Window w{kernel, stride, padding};
#ifdef DEEPSEEK_CUDA
  if (fused(x, w)) return std::get<0>(forward(x, w, false));
#endif
  return composite(x, w);
}

at::Tensor max_pool2d_autograd(const at::Tensor& x, int64_t kernel, int64_t stride, int64_t padding) {
  const Window w{kernel, stride, padding};
#ifdef DEEPSEEK_CUDA
  if (fused(x, w)) return MaxPool::apply(x, w);
#endif
  return composite(x, w);
}

}  // namespace
}  // namespace deepseek

TORCH_LIBRARY_FRAGMENT(deepseek, m) { m.def("max_pool2d(Tensor x, int kernel, int stride, int padding) -> Tensor"); }

TORCH_LIBRARY_IMPL(deepseek, CPU, m) { m.impl("max_pool2d", deepseek::max_pool2d); }
TORCH_LIBRARY_IMPL(deepseek, CUDA, m) { m.impl("max_pool2d", deepseek::max_pool2d); }
TORCH_LIBRARY_IMPL(deepseek, Meta, m) { m.impl("max_pool2d", deepseek::max_pool2d); }
TORCH_LIBRARY_IMPL(deepseek, Autograd, m) { m.impl("max_pool2d", deepseek::max_pool2d_autograd); }
