#include "linear/layers.h"

#ifdef DEEPSEEK_CUDA
#include "linear/gradients.h"
#include "linear/product.h"
#endif

namespace deepseek::linear {
namespace {

#ifdef DEEPSEEK_CUDA
bool fits(const at::Tensor& a, const at::Tensor& b) { return can_multiply(a) && can_multiply(b); }

bool can_sum(const at::Tensor& x) {
  return x.is_cuda() && x.numel() > 0 && x.is_contiguous() && (x.scalar_type() == at::kBFloat16 || x.scalar_type() == at::kHalf || x.scalar_type() == at::kFloat) && x.size(-1) % 8 == 0 &&
         reinterpret_cast<uintptr_t>(x.data_ptr()) % 16 == 0;
}

// Sums over rows of sources side by side, and what is summed where it is more than the source itself: written over the one source
// that is multiplied by GELU's slope.
std::pair<at::Tensor, at::Tensor> sums(std::initializer_list<at::Tensor> sources, const at::Tensor& kept, bool writes) {
  const auto& first = *sources.begin();
  ColumnSums p;
  p.part = first.size(-1);
  p.columns = p.part * static_cast<int64_t>(sources.size());
  p.rows = first.numel() / p.part;
  p.type = element_type(first, "deepseek::linear", "the gradient");
  int next = 0;
  for (const auto& source : sources) p.source[next++] = source.data_ptr();
  p.kept = data_or_null(kept);
  const auto out = !writes ? at::Tensor() : kept.defined() ? first : at::empty(sizes_with(first, p.columns), first.options());
  const auto sum = at::empty({p.columns}, first.options());
  p.out = mutable_data_or_null(out);
  p.sum = sum.data_ptr();
  p.partials = column_partials_cuda(p.rows, p.columns);
  const auto partial = at::empty({p.partials, p.columns}, first.options().dtype(at::kFloat));
  p.partial = partial.data_ptr<float>();
  p.stream = current_stream(first);
  check_launch(column_sums_cuda(p), "deepseek::linear");
  return {out, sum};
}
#endif

}  // namespace

at::Tensor forward(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
#ifdef DEEPSEEK_CUDA
  if (fits(x, weight) && weight.size(0) % 8 == 0) {
    auto out = at::empty({x.size(0), weight.size(0)}, x.options());
    multiply({out, x, weight.t(), bias.defined() ? Epilogue::kBias : Epilogue::kNone, bias});
    return out;
  }
#endif
  return bias.defined() ? at::addmm(bias, x, weight.t()) : at::mm(x, weight.t());
}

std::pair<at::Tensor, at::Tensor> forward_gelu(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
#ifdef DEEPSEEK_CUDA
  if (fits(x, weight) && weight.size(0) % 8 == 0 && bias.defined()) {
    auto out = at::empty({x.size(0), weight.size(0)}, x.options()), kept = at::empty_like(out);
    multiply({out, x, weight.t(), Epilogue::kGelu, bias, kept});
    return {kept, out};
  }
#endif
  const auto kept = forward(x, weight, bias);
  return {kept, at::gelu(kept, "tanh")};
}

at::Tensor input_gradient(const at::Tensor& dy, const at::Tensor& weight) {
#ifdef DEEPSEEK_CUDA
  if (fits(dy, weight) && weight.size(1) % 8 == 0) {
    auto out = at::empty({dy.size(0), weight.size(1)}, dy.options());
    multiply({out, dy, weight});
    return out;
  }
#endif
  return at::mm(dy, weight);
}

at::Tensor weight_gradient(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& weight) {
#ifdef DEEPSEEK_CUDA
  if (fits(x, dy) && can_multiply(weight)) {
    auto out = at::empty_strided(weight.sizes(), weight.strides(), weight.options());
    multiply({out, dy.t(), x});
    return out;
  }
#endif
  (void)weight;
  return at::mm(dy.t(), x);
}

at::Tensor bias_gradient(const at::Tensor& dy) {
#ifdef DEEPSEEK_CUDA
  if (can_sum(dy)) return sums({dy}, at::Tensor(), false).second;
#endif
  return dy.sum(0);
}

std::pair<at::Tensor, at::Tensor> gelu_gradient(const at::Tensor& dy, const at::Tensor& weight, const at::Tensor& kept) {
  const auto dx = input_gradient(dy, weight);
#ifdef DEEPSEEK_CUDA
  if (can_sum(dx) && can_sum(kept)) return sums({dx}, kept, true);
#endif
  const auto dkept = at::gelu_backward(dx, kept, "tanh");
  return {dkept, dkept.sum(0)};
}

std::pair<at::Tensor, at::Tensor> joined(const at::Tensor& a, const at::Tensor& b, const at::Tensor& c) {
#ifdef DEEPSEEK_CUDA
  if (can_sum(a) && can_sum(b) && can_sum(c)) return sums({a, b, c}, at::Tensor(), true);
#endif
  const auto out = at::cat({a, b, c}, -1);
  return {out, rows_of(out).sum(0)};
}

void check(const at::Tensor& x, int64_t columns, const at::Tensor& weight, const at::Tensor& bias, const char* op) {
  TORCH_CHECK(weight.dim() == 2 && weight.size(1) == columns, op, ": the weight ", weight.sizes(), " is not [out, ", columns, "]");
  TORCH_CHECK(weight.scalar_type() == x.scalar_type() && weight.device() == x.device(), op, ": x is ", x.scalar_type(), " on ", x.device(), ", the weight ", weight.scalar_type(), " on ", weight.device());
  if (!bias.defined()) return;
  TORCH_CHECK(bias.dim() == 1 && bias.size(0) == weight.size(0), op, ": the bias ", bias.sizes(), " is not [", weight.size(0), "]");
  TORCH_CHECK(bias.scalar_type() == x.scalar_type() && bias.device() == x.device(), op, ": x is ", x.scalar_type(), " on ", x.device(), ", the bias ", bias.scalar_type(), " on ", bias.device());
}

at::Tensor rows_of(const at::Tensor& x) { return x.reshape({x.size(-1) == 0 ? 0 : x.numel() / x.size(-1), x.size(-1)}).contiguous(); }

std::vector<int64_t> sizes_with(const at::Tensor& x, int64_t columns) {
  auto sizes = x.sizes().vec();
  sizes.back() = columns;
  return sizes;
}

int64_t wanted(std::initializer_list<at::Tensor> tensors) {
  int64_t bits = 0, bit = 1;
  for (const auto& tensor : tensors) {
    if (tensor.defined() && tensor.requires_grad()) bits |= bit;
    bit <<= 1;
  }
  return bits;
}

}  // namespace deepseek::linear
