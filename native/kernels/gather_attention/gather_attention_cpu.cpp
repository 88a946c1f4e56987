// Keys and values are read where they lie, once for all query heads of their group; a list's scores stay in the first-level
// cache between the softmax and the sums. The backward pass computes the weights again from lse; one thread owns a key head,
// so results repeat.
#include "gather_attention/gather_attention.h"

#include "gather_attention/list_row.h"

namespace deepseek {
namespace DS_ISA {
namespace {

template <class T>
T* row_of(const AttentionTensor& t, int64_t b, int64_t h, int64_t r) { return static_cast<T*>(t.data) + b * t.batch_stride + h * t.head_stride + r * t.row_stride; }

// A query's rows of the heads of one group, as floats; the rows after them are zero.
template <class T>
void read_group(const AttentionTensor& t, int64_t b, int64_t first, int64_t group, int64_t row, int64_t dim, int64_t width, float* to) {
  for (int64_t g = 0; g < group; g++) {
    const T* from = row_of<const T>(t, b, first + g, row);
    for (int64_t c = 0; c < width; c += kWidth) store(to + g * width + c, load_part(from + c, dim - c));
  }
}

template <class T>
void write_row(T* to, const float* from, int64_t dim, float factor) {
  for (int64_t c = 0; c < dim; c += kWidth) store_part(to + c, load(from + c) * factor, dim - c);
}

struct Sizes {
  int64_t group, rows, width;  // heads of a group, with made-up ones; of padded rows
  explicit Sizes(const GatherAttentionParams& p)
      : group(p.heads / p.kv_heads), rows(rows_in_all(group)), width((p.dim + kWidth - 1) / kWidth * kWidth) {}
};

template <class T>
void forward(const GatherAttentionParams& p) {
  const Sizes s(p);
  cpu::parallel_for(p.batch * p.kv_heads * p.queries, 1, [&](int64_t from, int64_t to) {
    const auto q = room(s.rows * s.width), out = room(s.rows * s.width), scores = room(4 * p.capacity + kResults);
    for (int64_t i = from; i < to; i++) {
      const int64_t t = i % p.queries, kv = i / p.queries % p.kv_heads, b = i / p.queries / p.kv_heads, first = kv * s.group;
      const List list{p.index + (b * p.queries + t) * p.capacity, p.count[b * p.queries + t]};
      read_group<T>(p.q, b, first, s.group, t, p.dim, s.width, q.get());
      std::memset(out.get(), 0, static_cast<size_t>(s.rows * s.width) * sizeof(float));
      const T *keys = row_of<const T>(p.k, b, kv, 0), *values = row_of<const T>(p.v, b, kv, 0);
      for_row_blocks(s.group, [&](auto rows, int64_t r) {
        constexpr int R = decltype(rows)::value;
        float greatest[R], total[R];
        if (list.count > 0) {
          list_dots<R>(q.get() + r * s.width, s.width, keys, p.k.row_stride, list, p.dim, scores.get());
          softmax<R>(scores.get(), list.count, p.scale, greatest, total);
          add_weighted<R, T>(scores.get(), list.count, p.dim, out.get() + r * s.width, s.width, [&](int64_t j) {
            if (j + kAhead < list.count) prefetch(values + list[j + kAhead] * p.v.row_stride, p.dim);
            return values + list[j] * p.v.row_stride;
          });
        }
        for (int64_t g = r; g < r + R && g < s.group; g++) {
          const bool seen = list.count > 0;
          write_row(row_of<T>(p.out, b, first + g, t), out.get() + g * s.width, p.dim, seen ? 1.0f / total[g - r] : 0.0f);
          p.lse[(b * p.heads + first + g) * p.queries + t] = seen ? greatest[g - r] + std::log(total[g - r]) : -__builtin_inff();
        }
      });
    }
  });
}

// Weights and their gradients of R rows: scores in place become exp(score · scale − lse), slopes weight · (slope − delta) · scale.
template <int R>
void slopes_of(float* scores, float* slopes, int64_t count, float scale, const float* lse, const float* delta) {
  const vf shift = lanes<R>(lse), less = lanes<R>(delta);
  for (int64_t i = 0; i < count * R; i += kWidth) {
    const vf weight = exp(load(scores + i) * scale - shift);
    store(scores + i, weight);
    store(slopes + i, weight * (load(slopes + i) - less) * scale);
  }
}

template <class T>
void backward(const GatherAttentionParams& p) {
  const Sizes s(p);
  const int64_t block = s.rows * s.width;
  cpu::parallel_for(p.batch * p.kv_heads, 1, [&](int64_t from, int64_t to) {
    const auto q = room(block), out = room(block), grad_out = room(block), grad_q = room(block);
    const auto weights = room(4 * p.capacity + kResults), slopes = room(4 * p.capacity + kResults);
    const auto grad_k = room(p.keys * s.width), grad_v = room(p.keys * s.width);
    for (int64_t unit = from; unit < to; unit++) {
      const int64_t kv = unit % p.kv_heads, b = unit / p.kv_heads, first = kv * s.group;
      std::memset(grad_k.get(), 0, static_cast<size_t>(p.keys * s.width) * sizeof(float));
      std::memset(grad_v.get(), 0, static_cast<size_t>(p.keys * s.width) * sizeof(float));
      const T *keys = row_of<const T>(p.k, b, kv, 0), *values = row_of<const T>(p.v, b, kv, 0);
      for (int64_t t = 0; t < p.queries; t++) {
        const List list{p.index + (b * p.queries + t) * p.capacity, p.count[b * p.queries + t]};
        std::memset(grad_q.get(), 0, static_cast<size_t>(block) * sizeof(float));
        if (list.count > 0) {
          read_group<T>(p.q, b, first, s.group, t, p.dim, s.width, q.get());
          read_group<T>(p.out, b, first, s.group, t, p.dim, s.width, out.get());
          read_group<T>(p.grad_out, b, first, s.group, t, p.dim, s.width, grad_out.get());
          for_row_blocks(s.group, [&](auto rows, int64_t r) {
            constexpr int R = decltype(rows)::value;
            float delta[R] = {}, lse[R] = {};
            for (int64_t g = r; g < r + R && g < s.group; g++) {
              vf products{};
              for (int64_t c = g * s.width; c < (g + 1) * s.width; c += kWidth) products += load(out.get() + c) * load(grad_out.get() + c);
              delta[g - r] = sum(products);
              lse[g - r] = p.lse[(b * p.heads + first + g) * p.queries + t];
            }
            list_dots<R>(q.get() + r * s.width, s.width, keys, p.k.row_stride, list, p.dim, weights.get());
            list_dots<R>(grad_out.get() + r * s.width, s.width, values, p.v.row_stride, list, p.dim, slopes.get());
            slopes_of<R>(weights.get(), slopes.get(), list.count, p.scale, lse, delta);
            add_weighted<R, T>(slopes.get(), list.count, p.dim, grad_q.get() + r * s.width, s.width, [&](int64_t j) { return keys + list[j] * p.k.row_stride; });
            spread<R>(slopes.get(), list, q.get() + r * s.width, s.width, grad_k.get());
            spread<R>(weights.get(), list, grad_out.get() + r * s.width, s.width, grad_v.get());
          });
        }
        for (int64_t g = 0; g < s.group; g++) write_row(row_of<T>(p.grad_q, b, first + g, t), grad_q.get() + g * s.width, p.dim, 1.0f);
      }
      for (int64_t j = 0; j < p.keys; j++) {
        write_row(row_of<T>(p.grad_k, b, kv, j), grad_k.get() + j * s.width, p.dim, 1.0f);
        write_row(row_of<T>(p.grad_v, b, kv, j), grad_v.get() + j * s.width, p.dim, 1.0f);
      }
    }
  });
}

}  // namespace

void gather_attention_forward(const GatherAttentionParams& p) {
  if (p.type == kBFloat16) return forward<bf16>(p);
  if (p.type == kFloat16) return forward<f16>(p);
  forward<float>(p);
}

void gather_attention_backward(const GatherAttentionParams& p) {
  if (p.type == kBFloat16) return backward<bf16>(p);
  if (p.type == kFloat16) return backward<f16>(p);
  backward<float>(p);
}

}  // namespace DS_ISA
}  // namespace deepseek
