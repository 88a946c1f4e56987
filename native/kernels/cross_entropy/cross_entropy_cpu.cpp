#include "cross_entropy/cross_entropy.h"

#include "common/row.h"

#include <cmath>

namespace deepseek {
namespace DS_ISA {
namespace {

template <class T>
void row(const CrossEntropyParams& p, int64_t r) {
  const int64_t n = p.columns, target = p.target[r];
  T* logits = static_cast<T*>(p.logits) + r * n;
  const bool inside = target >= 0 && target < n;
  if (target == p.ignored || !inside) {
    const float nothing = target == p.ignored ? 0.0f : __builtin_nanf("");
    p.loss[r] = nothing;
    if (p.gradient) {
      for (int64_t c = 0; c < n; c += kWidth) store_part(logits + c, broadcast(nothing), n - c);
    }
    return;
  }
  const vf lowest = broadcast(-__builtin_inff());
  vf top = lowest;
  int64_t c = 0;
  for (; c + kWidth <= n; c += kWidth) top = vmax(load(logits + c), top);
  float highest_logit = highest(top);
  const vf rest = load_part(logits + c, n - c);
  for (int64_t i = 0; i < n - c; i++) highest_logit = rest[i] > highest_logit ? rest[i] : highest_logit;
  const float chosen = load_some(logits + target, 1)[0];
  vf total{};
  const vf shift = broadcast(highest_logit);
  for (c = 0; c + kWidth <= n; c += kWidth) total += exp(load(logits + c) - shift);
  float sum_of_row = sum(total);
  const vf last = exp(rest - shift);
  for (int64_t i = 0; i < n - c; i++) sum_of_row += last[i];
  p.loss[r] = std::log(sum_of_row) + highest_logit - chosen;
  if (!p.gradient) return;
  const float scale = *p.scale, factor = scale / sum_of_row;
  for (c = 0; c < n; c += kWidth) store_part(logits + c, exp(load_part(logits + c, n - c) - shift) * factor, n - c);
  store_some(logits + target, broadcast((std::exp(chosen - highest_logit) / sum_of_row - 1.0f) * scale), 1);
}

template <class T>
void rows(const CrossEntropyParams& p) {
  cpu::parallel_for(p.rows, row_grain(p.columns), [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; r++) row<T>(p, r);
  });
}

}  // namespace

void cross_entropy_rows(const CrossEntropyParams& p) {
  if (p.type == kBFloat16) return rows<bf16>(p);
  if (p.type == kFloat16) return rows<f16>(p);
  rows<float>(p);
}

}  // namespace DS_ISA
}  // namespace deepseek
