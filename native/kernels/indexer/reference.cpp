#include "indexer/reference.h"

namespace deepseek {
namespace {

// Far below any logit and finite, so that a query without keys has a log sum and zero gradients.
constexpr double kHidden = -1e30;

at::Tensor widened(const at::Tensor& x, const at::Tensor& like) { return x.to(like.scalar_type() == at::kDouble ? at::kDouble : at::kFloat); }

at::Tensor hide(const at::Tensor& x, const at::Tensor& seen) { return at::where(seen, x, at::full({}, kHidden, x.options())); }

}  // namespace

at::Tensor indexer_seen_pairs(const at::Tensor& k, int64_t queries, bool causal, const at::Tensor& lengths) {
  const auto longs = k.options().dtype(at::kLong);
  const auto length = lengths.defined() ? lengths.to(at::kLong).view({-1, 1, 1}) : at::full({k.size(0), 1, 1}, k.size(1), longs);
  const auto key = at::arange(k.size(1), longs), query = at::arange(queries, longs).view({1, -1, 1});
  const auto exists = (key < length).expand({k.size(0), queries, k.size(1)});
  return causal ? exists.logical_and(key <= query + length - queries) : exists;
}

at::Tensor indexer_logits_reference(const at::Tensor& q_, const at::Tensor& k_, const at::Tensor& weights_) {
  const auto q = widened(q_, q_), k = widened(k_, q_), weights = widened(weights_, q_);
  const auto products = at::matmul(q.reshape({q.size(0), q.size(1) * q.size(2), q.size(3)}), k.transpose(1, 2)).view({q.size(0), q.size(1), q.size(2), k.size(1)});
  return at::matmul(weights.unsqueeze(2), at::relu(products)).squeeze(2);
}

at::Tensor indexer_loss_reference(const at::Tensor& q_, const at::Tensor& k_, const at::Tensor& index_q_, const at::Tensor& index_k_, const at::Tensor& weights_,
                                  const TokenLists& lists, bool causal, double scale) {
  const auto q = widened(q_.detach(), q_), k = widened(k_.detach(), q_), index_q = widened(index_q_, q_), index_k = widened(index_k_, q_), weights = widened(weights_, q_);
  const auto batch = q.size(0), heads = q.size(1), queries = q.size(2), dim = q.size(3), kv_heads = k.size(1);
  const auto grouped = q.reshape({batch, kv_heads, heads / kv_heads, queries, dim});
  at::Tensor seen, scores, logits;  // [batch, queries, n], [batch, kv_heads, group, queries, n], [batch, queries, n]
  if (lists.defined()) {
    seen = lists.exists();
    scores = at::matmul(grouped.transpose(2, 3), gathered(k, lists).transpose(-1, -2)).transpose(2, 3);
    const auto keys = gathered(index_k.unsqueeze(1), lists).squeeze(1);  // [batch, queries, n, index_dim]
    logits = at::matmul(weights.unsqueeze(2), at::relu(at::matmul(index_q, keys.transpose(2, 3)))).squeeze(2);
  } else {
    seen = indexer_seen_pairs(index_k, queries, causal, at::Tensor());
    scores = at::matmul(grouped, k.unsqueeze(2).transpose(-1, -2));
    logits = indexer_logits_reference(index_q, index_k, weights);
  }
  const auto nothing = at::zeros({}, logits.options());
  const auto shares = at::softmax(hide(scores * scale, seen.view({batch, 1, 1, queries, -1})), -1).sum({1, 2}) / heads;
  const auto target = at::where(seen, shares, nothing);
  const auto own = hide(logits, seen) - at::logsumexp(hide(logits, seen), {-1}, true);
  const auto counts = target > nothing;
  const auto safe = at::where(counts, target, at::ones({}, logits.options()));
  return at::where(counts, safe * (safe.log() - own), nothing).sum(-1).mean();
}

}  // namespace deepseek
