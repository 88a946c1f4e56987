#include "gather_attention/reference.h"

#include <limits>

namespace deepseek {

at::Tensor TokenLists::exists() const { return at::arange(index.size(2), index.options()) < count.unsqueeze(-1); }

at::Tensor TokenLists::keys() const { return at::where(exists(), index, at::zeros({}, index.options())).to(at::kLong); }

at::Tensor gathered(const at::Tensor& x, const TokenLists& lists) {
  const auto batch = x.size(0), heads = x.size(1), dim = x.size(3), queries = lists.index.size(1), capacity = lists.index.size(2);
  const auto place = lists.keys().view({batch, 1, queries * capacity, 1}).expand({batch, heads, queries * capacity, dim});
  const auto rows = x.gather(2, place).view({batch, heads, queries, capacity, dim});
  return at::where(lists.exists().view({batch, 1, queries, capacity, 1}), rows, at::zeros({}, x.options()));
}

std::tuple<at::Tensor, at::Tensor> gather_attention_reference(const at::Tensor& q_, const at::Tensor& k_, const at::Tensor& v_, const TokenLists& lists, double scale) {
  const auto type = q_.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const auto q = q_.to(type), k = gathered(k_.to(type), lists), v = gathered(v_.to(type), lists);
  const auto batch = q.size(0), heads = q.size(1), kv_heads = k.size(1), queries = q.size(2), dim = q.size(3), group = heads / kv_heads;
  // [batch, kv_heads, queries, group, dim] against [batch, kv_heads, queries, capacity, dim]
  const auto grouped = q.reshape({batch, kv_heads, group, queries, dim}).transpose(2, 3);
  const auto scores = at::matmul(grouped, k.transpose(-1, -2)) * scale;
  const auto exists = lists.exists().view({batch, 1, queries, 1, -1});
  const auto hidden = at::full({}, -std::numeric_limits<double>::infinity(), scores.options());
  const auto lse = at::logsumexp(at::where(exists, scores, hidden), {-1}, true);
  // An empty list has a log sum of -inf: its weights are set, not computed.
  const auto nothing = at::zeros({}, scores.options());
  const auto shift = at::where(lse > hidden, lse, nothing);
  const auto weights = at::where(exists, (scores - shift).exp(), nothing);
  const auto out = at::matmul(weights, v).transpose(2, 3).reshape({batch, heads, queries, dim});
  return {out.to(q_.scalar_type()), lse.squeeze(-1).transpose(2, 3).reshape({batch, heads, queries})};
}

}  // namespace deepseek
