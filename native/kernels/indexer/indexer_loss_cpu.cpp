// A query at a time: the attention's weights and the indexer's logits of its keys exist for one query only, and its part of
// the gradients is made at once. Keys' gradients are summed over parts of the queries that do not depend on the number of
// threads, so that results repeat.
#include "indexer/indexer.h"

#include "gather_attention/list_row.h"

namespace deepseek {
namespace DS_ISA {
namespace {

struct Rooms {
  int64_t width, index_width, index_rows, padded;
  Floats q, index_q, grad_q, scores, dots, target, logits, keys;

  Rooms(const IndexerLossParams& p, int64_t most)
      : width((p.dim + kWidth - 1) / kWidth * kWidth), index_width((p.index_dim + kWidth - 1) / kWidth * kWidth), index_rows(rows_in_all(p.index_heads)),
        padded((most + kResults - 1) / kResults * kResults), q(room(rows_in_all(p.heads / p.kv_heads) * width)), index_q(room(index_rows * index_width)),
        grad_q(room(index_rows * index_width)), scores(room(4 * padded)), dots(room(index_rows * padded)), target(room(padded)), logits(room(padded)), keys(room(p.keys * index_width)) {}
};

// target[j] = mean over the heads of the attention to key j of the list.
void attention(const IndexerLossParams& p, int64_t b, int64_t t, const List& list, Rooms& m) {
  std::memset(m.target.get(), 0, static_cast<size_t>(list.count) * sizeof(float));
  const int64_t group = p.heads / p.kv_heads;
  for (int64_t kv = 0; kv < p.kv_heads; kv++) {
    for (int64_t g = 0; g < group; g++) std::memcpy(m.q.get() + g * m.width, p.q + ((b * p.heads + kv * group + g) * p.queries + t) * p.dim, static_cast<size_t>(p.dim) * sizeof(float));
    const float* keys = p.k + (b * p.kv_heads + kv) * p.keys * p.dim;
    for_row_blocks(group, [&](auto rows, int64_t r) {
      constexpr int R = decltype(rows)::value;
      float greatest[R], total[R], share[R];
      list_dots<R>(m.q.get() + r * m.width, m.width, keys, p.dim, list, p.dim, m.scores.get());
      softmax<R>(m.scores.get(), list.count, p.scale, greatest, total);
      for (int64_t i = 0; i < R; i++) share[i] = r + i < group ? 1.0f / (total[i] * static_cast<float>(p.heads)) : 0.0f;
      for (int64_t j = 0; j < list.count; j++) {
        for (int i = 0; i < R; i++) m.target[j] += m.scores[j * R + i] * share[i];
      }
    });
  }
}

// The loss, with the logits' gradients in their place.
float divergence(const List& list, Rooms& m) {
  float greatest = m.logits[0];
  for (int64_t j = 1; j < list.count; j++) greatest = m.logits[j] > greatest ? m.logits[j] : greatest;
  double sum = 0, loss = 0;
  for (int64_t j = 0; j < list.count; j++) sum += std::exp(m.logits[j] - greatest);
  const float lse = greatest + static_cast<float>(std::log(sum));
  for (int64_t j = 0; j < list.count; j++) {
    const float target = m.target[j], own = m.logits[j] - lse;
    if (target > 0) loss += target * (std::log(target) - own);
    m.logits[j] = std::exp(own) - target;
  }
  return static_cast<float>(loss);
}

void query(const IndexerLossParams& p, int64_t b, int64_t t, const List& list, Rooms& m, float* grad_k) {
  const int64_t row = b * p.queries + t;
  const float *weights = p.weights + row * p.index_heads, *keys = p.index_k + b * p.keys * p.index_dim;
  attention(p, b, t, list, m);
  for (int64_t h = 0; h < p.index_heads; h++) std::memcpy(m.index_q.get() + h * m.index_width, p.index_q + (row * p.index_heads + h) * p.index_dim, static_cast<size_t>(p.index_dim) * sizeof(float));
  std::memset(m.logits.get(), 0, static_cast<size_t>(list.count) * sizeof(float));
  for_row_blocks(p.index_heads, [&](auto rows, int64_t r) {
    constexpr int R = decltype(rows)::value;
    float* dots = m.dots.get() + r * m.padded;
    list_dots<R>(m.index_q.get() + r * m.index_width, m.index_width, keys, p.index_dim, list, p.index_dim, dots);
    for (int64_t j = 0; j < list.count; j++) {
      for (int64_t i = 0; i < R && r + i < p.index_heads; i++) {
        const float x = dots[j * R + i];
        m.logits[j] += weights[r + i] * (x < 0 ? 0.0f : x);
      }
    }
  });
  p.loss[row] = divergence(list, m);
  if (grad_k == nullptr) return;
  std::memset(m.grad_q.get(), 0, static_cast<size_t>(m.index_rows * m.index_width) * sizeof(float));
  for_row_blocks(p.index_heads, [&](auto rows, int64_t r) {
    constexpr int R = decltype(rows)::value;
    float* dots = m.dots.get() + r * m.padded;
    float of_weights[R] = {};
    for (int64_t j = 0; j < list.count; j++) {
      for (int64_t i = 0; i < R; i++) {
        float& x = dots[j * R + i];
        const bool here = r + i < p.index_heads && x > 0;
        of_weights[i] += here ? m.logits[j] * x : 0.0f;
        x = here ? m.logits[j] * weights[r + i] : 0.0f;
      }
    }
    for (int64_t i = 0; i < R && r + i < p.index_heads; i++) p.grad_weights[row * p.index_heads + r + i] = of_weights[i];
    add_weighted<R, float>(dots, list.count, p.index_dim, m.grad_q.get() + r * m.index_width, m.index_width, [&](int64_t j) { return keys + list[j] * p.index_dim; });
    spread<R>(dots, list, m.index_q.get() + r * m.index_width, m.index_width, grad_k);
  });
  for (int64_t h = 0; h < p.index_heads; h++) std::memcpy(p.grad_q + (row * p.index_heads + h) * p.index_dim, m.grad_q.get() + h * m.index_width, static_cast<size_t>(p.index_dim) * sizeof(float));
}

}  // namespace

void indexer_loss(const IndexerLossParams& p) {
  cpu::parallel_for(p.batch * p.parts, 1, [&](int64_t from, int64_t to) {
    Rooms m(p, p.index != nullptr ? p.capacity : p.keys);
    for (int64_t unit = from; unit < to; unit++) {
      const int64_t b = unit / p.parts;
      float* grad_k = p.grad_k != nullptr ? m.keys.get() : nullptr;
      std::memset(m.keys.get(), 0, static_cast<size_t>(p.keys * m.index_width) * sizeof(float));
      for (int64_t t = unit % p.parts; t < p.queries; t += p.parts) {
        const int64_t row = b * p.queries + t, seen = p.causal == 0 ? p.keys : t + 1 + p.keys - p.queries;
        const List list = p.index != nullptr ? List{p.index + row * p.capacity, p.count[row]} : List{nullptr, seen < 0 ? 0 : seen};
        if (list.count > 0) {
          query(p, b, t, list, m, grad_k);
          continue;
        }
        p.loss[row] = 0;
        if (grad_k == nullptr) continue;
        std::memset(p.grad_q + row * p.index_heads * p.index_dim, 0, static_cast<size_t>(p.index_heads * p.index_dim) * sizeof(float));
        std::memset(p.grad_weights + row * p.index_heads, 0, static_cast<size_t>(p.index_heads) * sizeof(float));
      }
      for (int64_t j = 0; grad_k != nullptr && j < p.keys; j++) std::memcpy(p.grad_k + (unit * p.keys + j) * p.index_dim, grad_k + j * m.index_width, static_cast<size_t>(p.index_dim) * sizeof(float));
    }
  });
}

}  // namespace DS_ISA
}  // namespace deepseek
