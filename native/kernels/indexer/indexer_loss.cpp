// Registration of deepseek::indexer_loss: what the indexer learns from. The attention's q and k are constants to it.
#include "common/operator.h"
#include "gather_attention/lists.h"
#include "indexer/indexer.h"
#include "indexer/reference.h"

#include <algorithm>
#include <cmath>

namespace deepseek {
namespace {

constexpr auto kOp = "deepseek::indexer_loss";

struct Attention {
  at::Tensor q, k;
  TokenLists lists;
  bool causal;
  double scale;
};

void check(const Attention& a, const at::Tensor& index_q, const at::Tensor& index_k, const at::Tensor& weights) {
  const auto &q = a.q, &k = a.k;
  check_device(q, kOp);
  TORCH_CHECK(q.dim() == 4 && k.dim() == 4 && q.size(0) == k.size(0) && q.size(3) == k.size(3) && k.size(1) > 0 && q.size(1) % k.size(1) == 0, kOp, ": q ", q.sizes(), " and k ",
              k.sizes(), " are not [batch, heads, queries, dim] and [batch, key heads, keys, dim]");
  TORCH_CHECK(index_q.dim() == 4 && index_q.size(0) == q.size(0) && index_q.size(1) == q.size(2), kOp, ": index_q ", index_q.sizes(), " is not [batch, queries, heads, dim] for q ", q.sizes());
  TORCH_CHECK(index_k.dim() == 3 && index_k.size(0) == q.size(0) && index_k.size(1) == k.size(2) && index_k.size(2) == index_q.size(3), kOp, ": index_k ", index_k.sizes(),
              " is not [batch, keys, dim] for k ", k.sizes(), " and index_q ", index_q.sizes());
  TORCH_CHECK(weights.sizes() == index_q.sizes().slice(0, 3), kOp, ": weights ", weights.sizes(), " are not [batch, queries, heads] of index_q ", index_q.sizes());
  for (const auto* x : {&k, &index_q, &index_k, &weights}) TORCH_CHECK(x->device() == q.device(), kOp, ": the tensors are on different devices");
  TORCH_CHECK(a.lists.index.defined() == a.lists.count.defined(), kOp, ": indices and counts go together");
  if (a.lists.defined()) check_lists(a.lists.index, a.lists.count, q.size(0), q.size(2), k.size(2), q.device(), kOp);
}

at::Tensor floats(const at::Tensor& x) { return x.detach().to(at::kFloat).contiguous(); }

// The loss, and its gradients by index_q, index_k and weights in float32 where they are wanted.
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> run(const Attention& a, const at::Tensor& index_q_, const at::Tensor& index_k_, const at::Tensor& weights_, bool gradients) {
  const auto q = floats(a.q), k = floats(a.k), index_q = floats(index_q_), index_k = floats(index_k_), weights = floats(weights_);
  IndexerLossParams p;
  p.batch = q.size(0), p.heads = q.size(1), p.queries = q.size(2), p.dim = q.size(3), p.kv_heads = k.size(1), p.keys = k.size(2);
  p.index_heads = index_q.size(2), p.index_dim = index_q.size(3);
  p.q = q.data_ptr<float>(), p.k = k.data_ptr<float>(), p.index_q = index_q.data_ptr<float>(), p.index_k = index_k.data_ptr<float>(), p.weights = weights.data_ptr<float>();
  at::Tensor index, count;
  if (a.lists.defined()) {
    index = a.lists.index.contiguous(), count = a.lists.count.contiguous();
    p.index = index.data_ptr<int32_t>(), p.count = count.data_ptr<int32_t>(), p.capacity = index.size(2);
  }
  p.causal = a.causal, p.scale = static_cast<float>(a.scale);
  p.parts = std::clamp<int64_t>(8 / std::max<int64_t>(p.batch, 1), 1, 8);
  auto loss = at::zeros({p.batch, p.queries}, q.options());
  at::Tensor grad_q, grad_k, grad_weights;
  if (gradients) {
    grad_q = at::zeros(index_q.sizes(), q.options()), grad_weights = at::zeros(weights.sizes(), q.options());
    grad_k = at::zeros({p.batch, p.parts, p.keys, p.index_dim}, q.options());
    p.grad_q = grad_q.data_ptr<float>(), p.grad_k = grad_k.data_ptr<float>(), p.grad_weights = grad_weights.data_ptr<float>();
  }
  p.loss = loss.data_ptr<float>();
  if (loss.numel() > 0 && p.keys > 0) DS_CPU(indexer_loss)(p);
  return {loss.sum() / std::max<int64_t>(loss.numel(), 1), grad_q, gradients ? grad_k.sum(1) : grad_k, grad_weights};
}

struct IndexerLoss : torch::autograd::Function<IndexerLoss> {
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& index_q, const at::Tensor& index_k, const at::Tensor& weights, const Attention& a, bool recording) {
    const at::AutoDispatchBelowADInplaceOrView below;
    const auto [loss, grad_q, grad_k, grad_weights] = run(a, index_q, index_k, weights, recording);
    if (recording) {
      const double each = 1.0 / static_cast<double>(std::max<int64_t>(index_q.size(0) * index_q.size(1), 1));
      ctx->save_for_backward({(grad_q * each).to(index_q.scalar_type()), (grad_k * each).to(index_k.scalar_type()), (grad_weights * each).to(weights.scalar_type())});
    }
    return loss;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, torch::autograd::variable_list gradients) {
    TORCH_CHECK(!at::GradMode::is_enabled(), kOp, ": there is no second derivative");
    const auto saved = ctx->get_saved_variables();
    const auto times = [&](const at::Tensor& x) { return x * gradients[0].to(x.scalar_type()); };
    return {times(saved[0]), times(saved[1]), times(saved[2]), at::Tensor(), at::Tensor()};
  }
};

Attention attention(const at::Tensor& q, const at::Tensor& k, const c10::optional<at::Tensor>& indices, const c10::optional<at::Tensor>& counts, bool causal, c10::optional<double> scale) {
  const auto standard = 1.0 / std::sqrt(static_cast<double>(std::max<int64_t>(q.dim() == 4 ? q.size(3) : 1, 1)));
  return {q, k, {defined_or_empty(indices), defined_or_empty(counts)}, causal, scale.has_value() ? *scale : standard};
}

// float64, and CUDA, have no kernel.
bool plain(const at::Tensor& q) { return !q.is_cpu() || q.scalar_type() == at::kDouble; }

at::Tensor loss(const at::Tensor& q, const at::Tensor& k, const at::Tensor& index_q, const at::Tensor& index_k, const at::Tensor& weights, const c10::optional<at::Tensor>& indices,
                const c10::optional<at::Tensor>& counts, bool causal, c10::optional<double> scale) {
  const auto a = attention(q, k, indices, counts, causal, scale);
  check(a, index_q, index_k, weights);
  if (plain(q)) return indexer_loss_reference(q, k, index_q, index_k, weights, a.lists, causal, a.scale);
  return std::get<0>(run(a, index_q, index_k, weights, false));
}

at::Tensor loss_autograd(const at::Tensor& q, const at::Tensor& k, const at::Tensor& index_q, const at::Tensor& index_k, const at::Tensor& weights, const c10::optional<at::Tensor>& indices,
                         const c10::optional<at::Tensor>& counts, bool causal, c10::optional<double> scale) {
  const auto a = attention(q, k, indices, counts, causal, scale);
  check(a, index_q, index_k, weights);
  if (plain(q)) return indexer_loss_reference(q, k, index_q, index_k, weights, a.lists, causal, a.scale);
  const bool wanted = index_q.requires_grad() || index_k.requires_grad() || weights.requires_grad();
  return IndexerLoss::apply(index_q, index_k, weights, a, at::GradMode::is_enabled() && wanted);
}

}  // namespace
}  // namespace deepseek

TORCH_LIBRARY_FRAGMENT(deepseek, m) {
  m.def(
      "indexer_loss(Tensor q, Tensor k, Tensor index_q, Tensor index_k, Tensor weights, Tensor? indices=None, Tensor? counts=None, bool causal=True, float? scale=None) -> Tensor");
}
TORCH_LIBRARY_IMPL(deepseek, CompositeExplicitAutograd, m) { m.impl("indexer_loss", deepseek::loss); }
TORCH_LIBRARY_IMPL(deepseek, Autograd, m) { m.impl("indexer_loss", deepseek::loss_autograd); }
