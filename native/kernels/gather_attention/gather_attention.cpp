// Registration of deepseek::gather_attention: schema, checks, autograd, choice of the kernel.
#include "gather_attention/gather_attention.h"

#include "common/choice.h"
#include "common/operator.h"
#include "gather_attention/lists.h"
#include "gather_attention/reference.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace deepseek {
namespace {

constexpr auto kOp = "deepseek::gather_attention";

struct Arguments {
  TokenLists lists;
  double scale;
};

void check(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const TokenLists& lists) {
  check_device(q, kOp);
  TORCH_CHECK(q.dim() == 4 && k.dim() == 4 && v.dim() == 4, kOp, ": q, k and v must be [batch, heads, rows, dim]");
  TORCH_CHECK(k.sizes() == v.sizes(), kOp, ": k ", k.sizes(), " and v ", v.sizes(), " differ in shape");
  TORCH_CHECK(q.size(0) == k.size(0) && q.size(3) == k.size(3), kOp, ": q ", q.sizes(), " and k ", k.sizes(), " differ in batch or dim");
  TORCH_CHECK(k.size(1) > 0 && q.size(1) % k.size(1) == 0, kOp, ": ", q.size(1), " query heads are no multiple of ", k.size(1), " key heads");
  TORCH_CHECK(q.scalar_type() == k.scalar_type() && q.scalar_type() == v.scalar_type(), kOp, ": q, k and v differ in element type");
  TORCH_CHECK(q.device() == k.device() && q.device() == v.device(), kOp, ": q, k and v are on different devices");
  check_lists(lists.index, lists.count, q.size(0), q.size(2), k.size(2), q.device(), kOp);
}

bool nothing(const at::Tensor& q, const at::Tensor& k, const TokenLists& lists) { return q.numel() == 0 || k.numel() == 0 || lists.index.numel() == 0; }

// Rows in multiples of 16 bytes, as the copy engine needs them.
at::Tensor aligned(const at::Tensor& t) {
  bool good = reinterpret_cast<uintptr_t>(t.data_ptr()) % 16 == 0 && t.stride(3) == 1;
  for (int64_t d = 0; d < 3; d++) good = good && t.stride(d) > 0 && t.stride(d) % 8 == 0;
  return good ? t : t.contiguous();
}

// The last dimension must be contiguous; the others may have any stride.
at::Tensor addressable(const at::Tensor& tensor) { return tensor.size(3) <= 1 || tensor.stride(3) == 1 ? tensor : tensor.contiguous(); }

AttentionTensor describe(const at::Tensor& t) { return {t.data_ptr(), t.stride(0), t.stride(1), t.stride(2)}; }

GatherAttentionParams parameters(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const TokenLists& lists, double scale) {
  GatherAttentionParams p;
  p.q = describe(q), p.k = describe(k), p.v = describe(v);
  p.index = lists.index.data_ptr<int32_t>();
  p.count = lists.count.data_ptr<int32_t>();
  p.capacity = lists.index.size(2);
  p.batch = q.size(0), p.heads = q.size(1), p.kv_heads = k.size(1);
  p.queries = q.size(2), p.keys = k.size(2), p.dim = q.size(3);
  p.query_count = p.queries;
  p.scale = static_cast<float>(scale);
  p.type = element_type(q, kOp, "q");
  p.stream = current_stream(q);
  TORCH_CHECK(p.dim <= 256 || q.is_cpu(), kOp, ": heads of ", p.dim, " elements; at most 256 on CUDA");
  return p;
}

TokenLists contiguous(const TokenLists& lists) { return {lists.index.contiguous(), lists.count.contiguous()}; }

std::tuple<at::Tensor, at::Tensor> run(const at::Tensor& q_, const at::Tensor& k_, const at::Tensor& v_, const Arguments& a) {
  auto out = at::empty(q_.sizes(), q_.options());
  auto lse = at::empty({q_.size(0), q_.size(1), q_.size(2)}, q_.options().dtype(at::kFloat));
  if (nothing(q_, k_, a.lists)) return {out.zero_(), lse.fill_(-std::numeric_limits<double>::infinity())};
  const c10::OptionalDeviceGuard guard(q_.device());
  const auto q = addressable(q_), k = addressable(k_), v = addressable(v_);
  const auto lists = contiguous(a.lists);
  auto p = parameters(q, k, v, lists, a.scale);
  p.out = describe(out);
  p.lse = lse.data_ptr<float>();
#ifdef DEEPSEEK_CUDA
  if (q.is_cuda()) {
    if (!hopper_wanted() || !gather_attention_hopper_takes(p)) {
      check_launch(gather_attention_forward_cuda(p), kOp);
      return {out, lse};
    }
    at::Tensor partial, partial_lse;
    p.parts = gather_attention_hopper_parts(p, at::cuda::getCurrentDeviceProperties()->multiProcessorCount);
    if (p.parts > 1) {
      partial = at::empty({lse.numel() * p.parts, p.dim}, lse.options()), partial_lse = at::empty({lse.numel() * p.parts}, lse.options());
      p.partial = partial.data_ptr<float>(), p.partial_lse = partial_lse.data_ptr<float>();
    }
    check_launch(gather_attention_forward_hopper(p), kOp);
    return {out, lse};
  }
#endif
  DS_CPU(gather_attention_forward)(p);
  return {out, lse};
}

#ifdef DEEPSEEK_CUDA
// Gradients of keys and values take workspace for what each query adds to its listed keys: some queries at a time, so that it
// stays near 512 MB.
void backward_hopper(GatherAttentionParams p, const at::TensorOptions& floats) {
  check_launch(gather_attention_backward_queries_hopper(p), kOp);
  const int64_t each = gather_attention_moves_bytes(p), chunk = std::clamp<int64_t>((int64_t{1} << 29) / each, 1, p.queries);
  const auto moves = at::empty({each * chunk}, floats.dtype(at::kByte)), places = at::empty({p.batch * ((p.keys + 31) / 32) * chunk * 2}, floats.dtype(at::kInt));
  p.moves = moves.data_ptr();
  p.places = reinterpret_cast<uint32_t*>(places.data_ptr<int32_t>());
  at::Tensor sums;
  if (chunk < p.queries) sums = at::empty({p.batch * p.kv_heads * p.keys * 2 * p.dim}, floats), p.sums = sums.data_ptr<float>();
  for (p.first_query = 0; p.first_query < p.queries; p.first_query += chunk) {
    p.query_count = std::min(chunk, p.queries - p.first_query);
    check_launch(gather_attention_backward_keys_hopper(p), kOp);
  }
}
#endif

std::tuple<at::Tensor, at::Tensor, at::Tensor> run_backward(const at::Tensor& grad_out_, const at::Tensor& q_, const at::Tensor& k_, const at::Tensor& v_,
                                                            const at::Tensor& out, const at::Tensor& lse, const Arguments& a) {
  auto grad_q = at::empty(q_.sizes(), q_.options()), grad_k = at::empty(k_.sizes(), k_.options()), grad_v = at::empty(v_.sizes(), v_.options());
  if (nothing(q_, k_, a.lists)) return {grad_q.zero_(), grad_k.zero_(), grad_v.zero_()};
  const c10::OptionalDeviceGuard guard(q_.device());
  const auto q = addressable(q_), k = addressable(k_), v = addressable(v_);
  const auto grad_out = (q.is_cuda() ? aligned : addressable)(grad_out_.to(q_.scalar_type()));
  const auto lists = contiguous(a.lists);
  auto p = parameters(q, k, v, lists, a.scale);
  p.out = describe(out), p.grad_out = describe(grad_out);
  p.grad_q = describe(grad_q), p.grad_k = describe(grad_k), p.grad_v = describe(grad_v);
  p.lse = lse.data_ptr<float>();
#ifdef DEEPSEEK_CUDA
  if (q.is_cuda()) {
    auto delta = at::empty(lse.sizes(), lse.options());
    p.delta = delta.data_ptr<float>();
    if (hopper_wanted() && gather_attention_hopper_takes(p)) {
      backward_hopper(p, lse.options());
    } else {
      check_launch(gather_attention_backward_cuda(p), kOp);
    }
    return {grad_q, grad_k, grad_v};
  }
#endif
  DS_CPU(gather_attention_backward)(p);
  return {grad_q, grad_k, grad_v};
}

double scale_of(const at::Tensor& q, c10::optional<double> scale) {
  return scale.has_value() ? *scale : 1.0 / std::sqrt(static_cast<double>(std::max<int64_t>(q.dim() == 4 ? q.size(3) : 1, 1)));
}

std::tuple<at::Tensor, at::Tensor> forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& index, const at::Tensor& count, c10::optional<double> scale) {
  const Arguments a{{index, count}, scale_of(q, scale)};
  check(q, k, v, a.lists);
  if (q.scalar_type() == at::kDouble && !nothing(q, k, a.lists)) return gather_attention_reference(q, k, v, a.lists, a.scale);
  return run(q, k, v, a);
}

class GatherAttention : public torch::autograd::Function<GatherAttention> {
 public:
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* ctx, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const Arguments& a) {
    const at::AutoDispatchBelowADInplaceOrView below;
    const auto [out, lse] = run(q, k, v, a);
    ctx->save_for_backward({q, k, v, out, lse, a.lists.index, a.lists.count});
    ctx->saved_data["scale"] = a.scale;
    ctx->mark_non_differentiable({lse});
    return {out, lse};
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, torch::autograd::variable_list grads) {
    torch::autograd::variable_list result(4);
    if (!grads[0].defined()) return result;
    TORCH_CHECK(!at::GradMode::is_enabled(), kOp, ": there is no second derivative");
    const auto s = ctx->get_saved_variables();
    std::tie(result[0], result[1], result[2]) = run_backward(grads[0], s[0], s[1], s[2], s[3], s[4], {{s[5], s[6]}, ctx->saved_data["scale"].toDouble()});
    return result;
  }
};

std::tuple<at::Tensor, at::Tensor> forward_autograd(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& index, const at::Tensor& count,
                                                    c10::optional<double> scale) {
  const Arguments a{{index, count}, scale_of(q, scale)};
  check(q, k, v, a.lists);
  if (q.scalar_type() == at::kDouble && !nothing(q, k, a.lists)) {
    const auto [out, lse] = gather_attention_reference(q, k, v, a.lists, a.scale);
    return {out, lse.detach()};
  }
  const auto result = GatherAttention::apply(q, k, v, a);
  return {result[0], result[1]};
}

}  // namespace
}  // namespace deepseek

TORCH_LIBRARY_FRAGMENT(deepseek, m) {
  m.def("gather_attention(Tensor q, Tensor k, Tensor v, Tensor indices, Tensor counts, float? scale=None) -> (Tensor out, Tensor lse)");
}
TORCH_LIBRARY_IMPL(deepseek, CompositeExplicitAutograd, m) { m.impl("gather_attention", deepseek::forward); }
TORCH_LIBRARY_IMPL(deepseek, Autograd, m) { m.impl("gather_attention", deepseek::forward_autograd); }
