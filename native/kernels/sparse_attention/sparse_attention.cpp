// Registration of deepseek::block_sparse_attention and its backward: schema, checks, autograd, choice of the kernel.
#include "sparse_attention.h"

#include "common/operator.h"
#include "reference.h"
#include "sparse_attention_cpu.h"

#include <cmath>

namespace deepseek {
namespace {

constexpr auto kOp = "block_sparse_attention";
constexpr int64_t kTile = 128;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

void check_lengths(const at::Tensor& lengths, const at::Tensor& q, const char* name) {
  if (!lengths.defined()) return;
  TORCH_CHECK(lengths.scalar_type() == at::kInt && lengths.dim() == 1 && lengths.size(0) == q.size(0), kOp, ": ", name, " must be int32 [batch]");
  TORCH_CHECK(lengths.device() == q.device(), kOp, ": ", name, " is on another device than q");
}

void check(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const SparsePattern& p) {
  TORCH_CHECK(q.dim() == 4 && k.dim() == 4 && v.dim() == 4, kOp, ": q, k and v must be [batch, heads, rows, dim]");
  TORCH_CHECK(k.sizes() == v.sizes(), kOp, ": k ", k.sizes(), " and v ", v.sizes(), " differ in shape");
  TORCH_CHECK(q.size(0) == k.size(0) && q.size(3) == k.size(3), kOp, ": q ", q.sizes(), " and k ", k.sizes(), " differ in batch or dim");
  TORCH_CHECK(k.size(1) > 0 && q.size(1) % k.size(1) == 0, kOp, ": ", q.size(1), " query heads are no multiple of ", k.size(1), " key heads");
  TORCH_CHECK(q.scalar_type() == k.scalar_type() && q.scalar_type() == v.scalar_type(), kOp, ": q, k and v differ in element type");
  TORCH_CHECK(q.device() == k.device() && q.device() == v.device(), kOp, ": q, k and v are on different devices");
  TORCH_CHECK(p.block_q > 0 && p.block_k > 0, kOp, ": block sizes must be positive");
  const auto& index = p.block_index;
  TORCH_CHECK(index.scalar_type() == at::kInt && p.block_count.scalar_type() == at::kInt, kOp, ": the lists must be int32");
  TORCH_CHECK(index.device() == q.device() && p.block_count.device() == q.device(), kOp, ": the lists are on another device than q");
  TORCH_CHECK(index.dim() == 4 && index.size(0) == q.size(0) && index.size(2) == ceil_div(q.size(2), p.block_q), kOp, ": block_index ", index.sizes(),
              " is not [batch, heads, ", ceil_div(q.size(2), p.block_q), " query blocks, entries]");
  TORCH_CHECK(index.size(1) > 0 && q.size(1) % index.size(1) == 0, kOp, ": ", q.size(1), " query heads are no multiple of the ", index.size(1), " heads of block_index");
  TORCH_CHECK(p.block_count.sizes() == index.sizes().slice(0, 3), kOp, ": block_count ", p.block_count.sizes(), " does not fit block_index ", index.sizes());
  check_lengths(p.q_lengths, q, "q_lengths");
  check_lengths(p.k_lengths, q, "k_lengths");
}

[[maybe_unused]] bool plain(const at::Tensor& q) { return q.scalar_type() == at::kDouble || q.numel() == 0; }

[[maybe_unused]] SparsePattern contiguous(SparsePattern p) {
  p.block_index = p.block_index.contiguous();
  p.block_count = p.block_count.contiguous();
  if (p.q_lengths.defined()) p.q_lengths = p.q_lengths.contiguous();
  if (p.k_lengths.defined()) p.k_lengths = p.k_lengths.contiguous();
  return p;
}

// Rows of 16-byte pieces, as the copy engine wants them; anything else is copied.
at::Tensor addressable(const at::Tensor& tensor) {
  const auto bytes = static_cast<int64_t>(tensor.element_size());
  bool good = tensor.stride(3) == 1 && reinterpret_cast<uintptr_t>(tensor.data_ptr()) % 16 == 0;
  for (int64_t d = 0; d < 3; d++) good = good && (tensor.size(d) == 1 || (tensor.stride(d) > 0 && tensor.stride(d) * bytes % 16 == 0));
  if (good) return tensor;
  return tensor.is_contiguous() && reinterpret_cast<uintptr_t>(tensor.data_ptr()) % 16 != 0 ? tensor.clone() : tensor.contiguous();
}

AttentionTensor describe(const at::Tensor& t) {
  const auto stride = [&](int64_t d) { return t.size(d) == 1 ? t.size(2) * t.size(3) : t.stride(d); };
  return {t.data_ptr(), stride(0), stride(1), t.size(2) == 1 ? t.size(3) : t.stride(2)};
}

SparseAttentionParams parameters(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const SparsePattern& p) {
  SparseAttentionParams r{};
  r.q = describe(q), r.k = describe(k), r.v = describe(v);
  r.block_index = p.block_index.data_ptr<int32_t>();
  r.block_count = p.block_count.data_ptr<int32_t>();
  r.q_lengths = p.q_lengths.defined() ? p.q_lengths.data_ptr<int32_t>() : nullptr;
  r.k_lengths = p.k_lengths.defined() ? p.k_lengths.data_ptr<int32_t>() : nullptr;
  r.batch = q.size(0), r.heads = q.size(1), r.kv_heads = k.size(1), r.index_heads = p.block_index.size(1);
  r.queries = q.size(2), r.keys = k.size(2), r.dim = q.size(3);
  r.block_q = p.block_q, r.block_k = p.block_k, r.max_blocks = p.block_index.size(3);
  r.query_blocks = ceil_div(r.queries, p.block_q), r.key_blocks = ceil_div(r.keys, p.block_k);
  r.scale = static_cast<float>(p.scale), r.causal = p.causal;
  r.type = element_type(q, kOp, "q");
  TORCH_CHECK(r.dim <= 256, kOp, ": heads of ", r.dim, " elements; at most 256 on a GPU");
  return r;
}

std::tuple<at::Tensor, at::Tensor> forward_cpu(const at::Tensor& q_, const at::Tensor& k_, const at::Tensor& v_, const SparsePattern& pattern_) {
  const auto q = addressable(q_), k = addressable(k_), v = addressable(v_);
  const auto pattern = contiguous(pattern_);
  auto out = at::empty(q.sizes(), q.options());
  auto lse = at::empty({q.size(0), q.size(1), q.size(2)}, q.options().dtype(at::kFloat));
  auto p = parameters(q, k, v, pattern);
  p.out = describe(out);
  p.lse = lse.data_ptr<float>();
  DS_CPU(sparse_attention_forward)(p);
  return {out, lse};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> backward_cpu(const at::Tensor& grad_out_, const at::Tensor& q_, const at::Tensor& k_, const at::Tensor& v_,
                                                            const at::Tensor& out_, const at::Tensor& lse_, const SparsePattern& pattern_) {
  const auto q = addressable(q_), k = addressable(k_), v = addressable(v_), out = addressable(out_), grad_out = addressable(grad_out_);
  const auto lse = lse_.contiguous();
  const auto pattern = contiguous(pattern_);
  auto grad_q = at::empty(q.sizes(), q.options()), grad_k = at::empty(k.sizes(), k.options()), grad_v = at::empty(v.sizes(), v.options());
  auto p = parameters(q, k, v, pattern);
  p.out = describe(out), p.grad_out = describe(grad_out);
  p.grad_q = describe(grad_q), p.grad_k = describe(grad_k), p.grad_v = describe(grad_v);
  p.lse = lse.data_ptr<float>();
  DS_CPU(sparse_attention_backward)(p);
  return {grad_q, grad_k, grad_v};
}

#ifdef DEEPSEEK_CUDA

bool on_hopper(const SparseAttentionParams& p) {
  const auto* device = at::cuda::getCurrentDeviceProperties();
  return sparse_attention_hopper_takes(p, device->major, device->minor);
}

std::tuple<at::Tensor, at::Tensor> forward_cuda(const at::Tensor& q_, const at::Tensor& k_, const at::Tensor& v_, const SparsePattern& pattern_) {
  const c10::DeviceGuard guard(q_.device());
  const auto q = addressable(q_), k = addressable(k_), v = addressable(v_);
  const auto pattern = contiguous(pattern_);
  auto out = addressable(at::empty_like(q));
  auto lse = at::empty({q.size(0), q.size(1), q.size(2)}, q.options().dtype(at::kFloat));
  auto counter = at::empty({1}, q.options().dtype(at::kInt));
  auto p = parameters(q, k, v, pattern);
  p.out = describe(out);
  p.lse = lse.data_ptr<float>();
  p.counter = counter.data_ptr<int32_t>();
  check_launch((on_hopper(p) ? sparse_attention_forward_hopper : sparse_attention_forward_portable)(p, current_stream(q)), kOp);
  return {out, lse};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> backward_cuda(const at::Tensor& grad_out_, const at::Tensor& q_, const at::Tensor& k_, const at::Tensor& v_,
                                                             const at::Tensor& out_, const at::Tensor& lse_, const SparsePattern& pattern_) {
  const c10::DeviceGuard guard(q_.device());
  const auto q = addressable(q_), k = addressable(k_), v = addressable(v_), out = addressable(out_), grad_out = addressable(grad_out_);
  const auto lse = lse_.contiguous();
  const auto pattern = contiguous(pattern_);
  auto grad_q = addressable(at::empty_like(q)), grad_k = addressable(at::empty_like(k)), grad_v = addressable(at::empty_like(v));
  auto p = parameters(q, k, v, pattern);
  p.out = describe(out), p.grad_out = describe(grad_out);
  p.grad_q = describe(grad_q), p.grad_k = describe(grad_k), p.grad_v = describe(grad_v);
  p.lse = lse.data_ptr<float>();
  const auto rows = ceil_div(p.queries, kTile) * kTile;
  auto delta = at::empty({2, p.batch, p.heads, rows}, lse.options());
  auto map = at::zeros({p.batch, p.index_heads, p.key_blocks, p.query_blocks}, q.options().dtype(at::kByte));
  auto lists = at::empty({p.batch, p.index_heads, p.key_blocks, p.query_blocks + 1}, q.options().dtype(at::kInt));
  auto counter = at::empty({2}, q.options().dtype(at::kInt));
  p.delta = delta.data_ptr<float>();
  p.lse2 = p.delta + p.batch * p.heads * rows;
  p.block_map = map.data_ptr<uint8_t>();
  p.query_index = lists.data_ptr<int32_t>();
  p.query_count = p.query_index + map.numel();
  p.counter = counter.data_ptr<int32_t>();
  const bool hopper = on_hopper(p);
  at::Tensor items, partials;
  if (hopper) {
    sparse_attention_backward_plan(p);
    items = at::empty({2 + 4 * (p.item_capacity + p.slots)}, counter.options());
    partials = at::empty({p.slots * 2 * (p.block_k % 128 == 0 ? 128 : 64) * p.dim}, delta.options());
    p.items = items.data_ptr<int32_t>();
    p.partials = partials.data_ptr<float>();
  }
  check_launch((hopper ? sparse_attention_backward_hopper : sparse_attention_backward_portable)(p, current_stream(q)), kOp);
  return {grad_q, grad_k, grad_v};
}

#endif  // DEEPSEEK_CUDA

SparsePattern pattern_of(const at::Tensor& q, const at::Tensor& block_index, const at::Tensor& block_count, int64_t block_q, int64_t block_k, bool causal,
                         c10::optional<double> scale, const c10::optional<at::Tensor>& q_lengths, const c10::optional<at::Tensor>& k_lengths) {
  const auto standard = 1.0 / std::sqrt(static_cast<double>(std::max<int64_t>(q.dim() == 4 ? q.size(3) : 1, 1)));
  return {block_index, block_count, block_q, block_k, causal, scale.has_value() ? *scale : standard, defined_or_empty(q_lengths), defined_or_empty(k_lengths)};
}

std::tuple<at::Tensor, at::Tensor> forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& block_index,
                                           const at::Tensor& block_count, int64_t block_q, int64_t block_k, bool causal, c10::optional<double> scale,
                                           const c10::optional<at::Tensor>& q_lengths, const c10::optional<at::Tensor>& k_lengths) {
  check_device(q, kOp);
  const auto pattern = pattern_of(q, block_index, block_count, block_q, block_k, causal, scale, q_lengths, k_lengths);
  check(q, k, v, pattern);
#ifdef DEEPSEEK_CUDA
  if (q.is_cuda() && !plain(q) && k.numel() > 0) return forward_cuda(q, k, v, pattern);
#endif
  if (q.is_cpu() && !plain(q) && k.numel() > 0) return forward_cpu(q, k, v, pattern);
  return sparse_attention_reference(q, k, v, pattern);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> backward(const at::Tensor& grad_out, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                                        const at::Tensor& out, const at::Tensor& lse, const at::Tensor& block_index,
                                                        const at::Tensor& block_count, int64_t block_q, int64_t block_k, bool causal,
                                                        c10::optional<double> scale, const c10::optional<at::Tensor>& q_lengths,
                                                        const c10::optional<at::Tensor>& k_lengths) {
  check_device(q, kOp);
  const auto pattern = pattern_of(q, block_index, block_count, block_q, block_k, causal, scale, q_lengths, k_lengths);
  check(q, k, v, pattern);
  TORCH_CHECK(grad_out.sizes() == q.sizes() && out.sizes() == q.sizes() && lse.sizes() == q.sizes().slice(0, 3), kOp, ": grad_out, out or lse does not fit q");
#ifdef DEEPSEEK_CUDA
  if (q.is_cuda() && !plain(q) && k.numel() > 0) return backward_cuda(grad_out.to(q.scalar_type()), q, k, v, out, lse, pattern);
#endif
  if (q.is_cpu() && !plain(q) && k.numel() > 0) return backward_cpu(grad_out.to(q.scalar_type()), q, k, v, out, lse, pattern);
  return sparse_attention_backward_reference(grad_out, q, k, v, out, lse, pattern);
}

class BlockSparseAttention : public torch::autograd::Function<BlockSparseAttention> {
 public:
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* ctx, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                                const SparsePattern& p) {
    const at::AutoDispatchBelowADInplaceOrView below;
    const auto result = deepseek::forward(q, k, v, p.block_index, p.block_count, p.block_q, p.block_k, p.causal, p.scale, p.q_lengths, p.k_lengths);
    const auto& [out, lse] = result;
    ctx->save_for_backward({q, k, v, out, lse, p.block_index, p.block_count, p.q_lengths, p.k_lengths});
    ctx->saved_data["block_q"] = p.block_q;
    ctx->saved_data["block_k"] = p.block_k;
    ctx->saved_data["causal"] = p.causal;
    ctx->saved_data["scale"] = p.scale;
    ctx->mark_non_differentiable({lse});
    return {out, lse};
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, torch::autograd::variable_list grads) {
    const auto s = ctx->get_saved_variables();
    torch::autograd::variable_list result(4);
    if (!grads[0].defined()) return result;
    std::tie(result[0], result[1], result[2]) =
        deepseek::backward(grads[0], s[0], s[1], s[2], s[3], s[4], s[5], s[6], ctx->saved_data["block_q"].toInt(), ctx->saved_data["block_k"].toInt(),
                           ctx->saved_data["causal"].toBool(), ctx->saved_data["scale"].toDouble(), s[7], s[8]);
    return result;
  }
};

std::tuple<at::Tensor, at::Tensor> forward_autograd(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& block_index,
                                                    const at::Tensor& block_count, int64_t block_q, int64_t block_k, bool causal,
                                                    c10::optional<double> scale, const c10::optional<at::Tensor>& q_lengths,
                                                    const c10::optional<at::Tensor>& k_lengths) {
  const auto p = pattern_of(q, block_index, block_count, block_q, block_k, causal, scale, q_lengths, k_lengths);
  auto result = BlockSparseAttention::apply(q, k, v, p);
  return {result[0], result[1]};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(deepseek, m) {
  m.def(
      "block_sparse_attention(Tensor q, Tensor k, Tensor v, Tensor block_index, Tensor block_count, int block_q, int block_k, bool causal, "
      "float? scale=None, Tensor? q_lengths=None, Tensor? k_lengths=None) -> (Tensor out, Tensor lse)");
  m.def(
      "block_sparse_attention_backward(Tensor grad_out, Tensor q, Tensor k, Tensor v, Tensor out, Tensor lse, Tensor block_index, Tensor block_count, "
      "int block_q, int block_k, bool causal, float? scale=None, Tensor? q_lengths=None, Tensor? k_lengths=None) -> (Tensor, Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(deepseek, CompositeExplicitAutograd, m) {
  m.impl("block_sparse_attention", forward);
  m.impl("block_sparse_attention_backward", backward);
}

TORCH_LIBRARY_IMPL(deepseek, Autograd, m) { m.impl("block_sparse_attention", forward_autograd); }

}  // namespace deepseek
