#include "topk/topk.h"

#include "common/operator.h"

namespace deepseek {
namespace {

constexpr const char* kName = "deepseek::topk";

std::tuple<at::Tensor, at::Tensor> topk_forward(const at::Tensor& x_in, int64_t k, bool largest) {
  check_device(x_in, kName);
  TORCH_CHECK(x_in.dim() >= 1, kName, ": x has no dimension");
  const auto columns = x_in.size(-1);
  TORCH_CHECK(k >= 0 && k <= columns, kName, ": k is ", k, ", a row has ", columns, " elements");
  TORCH_CHECK(columns < (int64_t{1} << 31), kName, ": a row has ", columns, " elements; fewer than 2^31 are needed");
  const c10::OptionalDeviceGuard device(x_in.device());
  const auto x = x_in.contiguous();
  auto sizes = x.sizes().vec();
  sizes.back() = k;
  TopkParams p;
  p.type = element_type(x, kName, "x");
  auto values = at::empty(sizes, x.options()), indices = at::empty(sizes, x.options().dtype(at::kLong));
  if (values.numel() == 0) return {values, indices};
  p.rows = x.numel() / columns;
  p.columns = columns;
  p.k = k;
  p.largest = largest;
  p.x = x.data_ptr();
  p.values = values.data_ptr();
  p.indices = indices.data_ptr<int64_t>();
  p.stream = current_stream(x);
#ifdef DEEPSEEK_CUDA
  if (x.is_cuda()) {
    TORCH_CHECK(k <= kTopkCudaMaximum, kName, ": k is ", k, "; on CUDA it is at most ", kTopkCudaMaximum);
    check_launch(topk_cuda(p), kName);
    return {values, indices};
  }
#endif
  DS_CPU(topk)(p);
  return {values, indices};
}

// The values' gradient goes back to where they came from; the indices have none.
std::tuple<at::Tensor, at::Tensor> topk_autograd(const at::Tensor& x, int64_t k, bool largest) {
  std::tuple<at::Tensor, at::Tensor> result;
  {
    const at::AutoDispatchBelowADInplaceOrView below;
    result = topk_forward(x, k, largest);
  }
  if (x.requires_grad() && at::GradMode::is_enabled()) std::get<0>(result) = x.gather(-1, std::get<1>(result));
  return result;
}

}  // namespace
}  // namespace deepseek

TORCH_LIBRARY_FRAGMENT(deepseek, m) { m.def("topk(Tensor x, int k, bool largest=True) -> (Tensor values, Tensor indices)"); }
TORCH_LIBRARY_IMPL(deepseek, CPU, m) { m.impl("topk", deepseek::topk_forward); }
TORCH_LIBRARY_IMPL(deepseek, CUDA, m) { m.impl("topk", deepseek::topk_forward); }
TORCH_LIBRARY_IMPL(deepseek, Autograd, m) { m.impl("topk", deepseek::topk_autograd); }
