#include "linear/attention.h"

#include <cmath>

namespace deepseek::linear {

Heads heads_of(const at::Tensor& joint, int64_t heads) {
  const auto n = joint.size(0), t = joint.size(1), columns = joint.size(2) / 3;
  const auto part = [&](int64_t i) { return joint.narrow(2, i * columns, columns).view({n, t, heads, columns / heads}).transpose(1, 2); };
  return {part(0), part(1), part(2)};
}

at::Tensor beside(const at::Tensor& y) { return y.transpose(1, 2).reshape({y.size(0), y.size(2), y.size(1) * y.size(3)}); }

// [N, T, 3·C] -> [N, T, C], by differentiable operators.
at::Tensor attention(const at::Tensor& joint, int64_t heads, bool causal) {
  const auto p = heads_of(joint, heads);
#if TORCH_VERSION_MAJOR >= 2
  return beside(at::scaled_dot_product_attention(p.q, p.k, p.v, {}, 0.0, causal));
#else
  auto scores = at::matmul(p.q * (1 / std::sqrt(static_cast<double>(p.q.size(3)))), p.k.transpose(2, 3));
  if (causal) scores = scores + at::full({scores.size(2), scores.size(3)}, -INFINITY, scores.options()).triu(1);
  return beside(at::matmul(scores.softmax(-1), p.v));
#endif
}

#ifdef DS_CHOOSES_ATTENTION
bool takes_cudnn(const at::Tensor& x, at::ScalarType type, int64_t columns, int64_t heads, bool causal) {
  if (!x.is_cuda() || x.numel() == 0 || (type != at::kBFloat16 && type != at::kHalf)) return false;
  const auto p = heads_of(at::empty({x.size(0), x.size(1), columns}, x.options().dtype(type)), heads);
  return at::_fused_sdp_choice(p.q, p.k, p.v, std::nullopt, 0.0, causal) == static_cast<int64_t>(at::SDPBackend::cudnn_attention);
}
#endif

}  // namespace deepseek::linear
