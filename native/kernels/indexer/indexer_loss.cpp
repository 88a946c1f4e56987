// Registration of deepseek::indexer_loss: what the indexer learns from. The attention's q and k are constants to it.
#include "common/operator.h"
#include "gather_attention/lists.h"
#include "indexer/indexer.h"
#include "indexer/reference.h"

#include <torch/csrc/autograd/autograd.h>

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

// The loss, and the gradients of the sum of all queries' losses by index_q, index_k and weights, where they are wanted.
using Result = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

Result run(const Attention& a, const at::Tensor& index_q_, const at::Tensor& index_k_, const at::Tensor& weights_, bool gradients) {
  const at::AutoDispatchBelowADInplaceOrView below;
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

// float64, and CUDA, have no kernel: plain operators, for so many queries at a time that what is made for them stays near 2^28 elements.
Result run_plain(const Attention& a, const at::Tensor& index_q_, const at::Tensor& index_k_, const at::Tensor& weights_, bool gradients) {
  const auto type = a.q.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const auto index_q = index_q_.detach().to(type), index_k = index_k_.detach().to(type), weights = weights_.detach().to(type);
  const int64_t batch = a.q.size(0), heads = a.q.size(1), queries = a.q.size(2), keys = a.k.size(2), listed = a.lists.defined() ? a.lists.index.size(2) : keys;
  const int64_t gathered = a.lists.defined() ? a.k.size(1) * a.k.size(3) + index_k.size(2) : 0, each = batch * listed * (heads + index_q.size(2) + gathered);
  const int64_t chunk = std::clamp<int64_t>((int64_t{1} << 28) / std::max<int64_t>(each, 1), 1, std::max<int64_t>(queries, 1));
  auto loss = at::zeros({}, index_q.options());
  const auto grad_q = at::zeros_like(index_q), grad_k = at::zeros_like(index_k), grad_weights = at::zeros_like(weights);
  for (int64_t first = 0; first < queries && each > 0; first += chunk) {
    const int64_t here = std::min(chunk, queries - first);
    // What the last of these queries sees: for them the context ends there.
    const int64_t length = a.lists.defined() || !a.causal ? keys : std::clamp<int64_t>(keys - (queries - first - here), 0, keys);
    if (length == 0) continue;
    const at::AutoGradMode recording(gradients);
    const auto leaf = [&](const at::Tensor& x) { return x.detach().requires_grad_(gradients); };
    const auto q = leaf(index_q.narrow(1, first, here)), k = leaf(index_k.narrow(1, 0, length)), w = leaf(weights.narrow(1, first, here));
    const TokenLists lists = a.lists.defined() ? TokenLists{a.lists.index.narrow(1, first, here), a.lists.count.narrow(1, first, here)} : a.lists;
    const auto part = indexer_loss_reference(a.q.narrow(2, first, here), a.k.narrow(2, 0, length), q, k, w, lists, a.causal, a.scale) * static_cast<double>(batch * here);
    loss += part.detach();
    if (!gradients) continue;
    const auto grads = torch::autograd::grad({part}, {q, k, w});
    const at::NoGradGuard done;
    grad_q.narrow(1, first, here).copy_(grads[0]);
    grad_k.narrow(1, 0, length).add_(grads[1]);
    grad_weights.narrow(1, first, here).copy_(grads[2]);
  }
  return {loss / std::max<double>(static_cast<double>(batch * queries), 1.0), grad_q, grad_k, grad_weights};
}

// float64, and CUDA.
bool plain(const at::Tensor& q) { return !q.is_cpu() || q.scalar_type() == at::kDouble; }

struct IndexerLoss : torch::autograd::Function<IndexerLoss> {
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& index_q, const at::Tensor& index_k, const at::Tensor& weights, const Attention& a, bool recording) {
    const auto [loss, grad_q, grad_k, grad_weights] = (plain(a.q) ? run_plain : run)(a, index_q, index_k, weights, recording);
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

at::Tensor loss(const at::Tensor& q, const at::Tensor& k, const at::Tensor& index_q, const at::Tensor& index_k, const at::Tensor& weights, const c10::optional<at::Tensor>& indices,
                const c10::optional<at::Tensor>& counts, bool causal, c10::optional<double> scale) {
  const auto a = attention(q, k, indices, counts, causal, scale);
  check(a, index_q, index_k, weights);
  return std::get<0>((plain(q) ? run_plain : run)(a, index_q, index_k, weights, false));
}

at::Tensor loss_autograd(const at::Tensor& q, const at::Tensor& k, const at::Tensor& index_q, const at::Tensor& index_k, const at::Tensor& weights, const c10::optional<at::Tensor>& indices,
                         const c10::optional<at::Tensor>& counts, bool causal, c10::optional<double> scale) {
  const auto a = attention(q, k, indices, counts, causal, scale);
  check(a, index_q, index_k, weights);
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
