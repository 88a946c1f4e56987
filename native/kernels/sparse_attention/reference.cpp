#include "reference.h"

#include <limits>

namespace deepseek {
namespace {

at::ScalarType computed_in(const at::Tensor& tensor) { return tensor.scalar_type() == at::kDouble ? at::kDouble : at::kFloat; }

// Rows past a sequence's length become 0, whatever they hold: 0 times NaN would reach the results otherwise.
at::Tensor existing_rows(const at::Tensor& tensor, const at::Tensor& lengths) {
  const auto values = tensor.to(computed_in(tensor));
  if (!lengths.defined()) return values;
  const auto rows = at::arange(tensor.size(2), lengths.options().dtype(at::kLong)).view({1, 1, -1, 1});
  return at::where(rows < lengths.to(at::kLong).view({-1, 1, 1, 1}), values, at::zeros({}, values.options()));
}

at::Tensor for_every_head(const at::Tensor& tensor, int64_t heads) {
  return tensor.size(1) == heads ? tensor : tensor.repeat_interleave(heads / tensor.size(1), 1);
}

at::Tensor sum_over_group(const at::Tensor& tensor, int64_t kv_heads) {
  const auto s = tensor.sizes();
  return tensor.view({s[0], kv_heads, s[1] / kv_heads, s[2], s[3]}).sum(2);
}

at::Tensor probabilities(const at::Tensor& scores, const at::Tensor& lse, const at::Tensor& visible) {
  return at::where(visible, (scores - lse.unsqueeze(-1)).exp(), at::zeros({}, scores.options()));
}

}  // namespace

at::Tensor visible_pairs(const at::Tensor& q, const at::Tensor& k, const SparsePattern& pattern) {
  const auto batch = q.size(0), heads = q.size(1), queries = q.size(2), keys = k.size(2);
  const auto& index = pattern.block_index;
  const auto key_blocks = (keys + pattern.block_k - 1) / pattern.block_k;
  const auto longs = index.options().dtype(at::kLong);
  // A list becomes a row of flags; entries that name no block go to one more column that is dropped.
  const auto place = at::arange(index.size(3), longs);
  auto entries = index.to(at::kLong);
  const auto named = (place < pattern.block_count.to(at::kLong).unsqueeze(-1)).logical_and(entries >= 0).logical_and(entries < key_blocks);
  entries = at::where(named, entries, at::full({}, key_blocks, longs));
  auto blocks = at::zeros({index.size(0), index.size(1), index.size(2), key_blocks + 1}, index.options().dtype(at::kBool));
  blocks.scatter_(3, entries, true);

  const auto rows = at::arange(queries, longs), columns = at::arange(keys, longs);
  auto visible = blocks.index_select(2, at::floor_divide(rows, pattern.block_q)).index_select(3, at::floor_divide(columns, pattern.block_k));
  visible = for_every_head(visible, heads);
  const auto row = rows.view({1, 1, -1, 1}), column = columns.view({1, 1, 1, -1});
  const auto lengths = [&](const at::Tensor& given, int64_t all) {
    return given.defined() ? given.to(at::kLong).view({-1, 1, 1, 1}) : at::full({batch, 1, 1, 1}, all, longs);
  };
  const auto q_length = lengths(pattern.q_lengths, queries), k_length = lengths(pattern.k_lengths, keys);
  visible = visible.logical_and(row < q_length).logical_and(column < k_length);
  return pattern.causal ? visible.logical_and(column <= row + k_length - q_length) : visible;
}

std::tuple<at::Tensor, at::Tensor> sparse_attention_reference(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const SparsePattern& pattern) {
  const auto heads = q.size(1);
  const auto visible = visible_pairs(q, k, pattern);
  const auto query = existing_rows(q, pattern.q_lengths);
  const auto key = for_every_head(existing_rows(k, pattern.k_lengths), heads);
  const auto value = for_every_head(existing_rows(v, pattern.k_lengths), heads);
  const auto scores = at::matmul(query, key.transpose(-1, -2)) * pattern.scale;
  const auto hidden = at::full({}, -std::numeric_limits<double>::infinity(), scores.options());
  const auto lse = at::logsumexp(at::where(visible, scores, hidden), {-1});
  const auto out = at::matmul(probabilities(scores, lse, visible), value);
  return {out.to(q.scalar_type()), lse};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> sparse_attention_backward_reference(const at::Tensor& grad_out, const at::Tensor& q, const at::Tensor& k,
                                                                                   const at::Tensor& v, const at::Tensor& out, const at::Tensor& lse,
                                                                                   const SparsePattern& pattern) {
  const auto heads = q.size(1), kv_heads = k.size(1);
  const auto visible = visible_pairs(q, k, pattern);
  const auto query = existing_rows(q, pattern.q_lengths), grad = existing_rows(grad_out, pattern.q_lengths);
  const auto key = for_every_head(existing_rows(k, pattern.k_lengths), heads);
  const auto value = for_every_head(existing_rows(v, pattern.k_lengths), heads);
  const auto weights = probabilities(at::matmul(query, key.transpose(-1, -2)) * pattern.scale, lse, visible);
  const auto delta = (grad * existing_rows(out, pattern.q_lengths)).sum(-1, true);
  const auto grad_scores = weights * (at::matmul(grad, value.transpose(-1, -2)) - delta) * pattern.scale;
  const auto grad_q = at::matmul(grad_scores, key);
  const auto grad_k = sum_over_group(at::matmul(grad_scores.transpose(-1, -2), query), kv_heads);
  const auto grad_v = sum_over_group(at::matmul(weights.transpose(-1, -2), grad), kv_heads);
  return {grad_q.to(q.scalar_type()), grad_k.to(k.scalar_type()), grad_v.to(v.scalar_type())};
}

}  // namespace deepseek
