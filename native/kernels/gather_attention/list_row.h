// One query's list of keys on the CPU: scores of R rows with every key of the list (layout of common/dots.h), their softmax,
// and the way back. Buffers of scores hold whole groups of sixteen.
#pragma once

#include "common/dots.h"

#include <cmath>
#include <memory>
#include <type_traits>

namespace deepseek {
namespace DS_ISA {

using Floats = std::unique_ptr<float[]>;
static inline Floats room(int64_t count) { return Floats(new float[static_cast<size_t>(count + kResults)]()); }

// Keys by number; without an index the first `count` keys.
struct List {
  const int32_t* index;
  int64_t count;
  int64_t operator[](int64_t j) const { return index != nullptr ? index[j] : j; }
};

// body(std::integral_constant R, first row) for all rows, in blocks of R (common/dots.h).
template <class Body>
static inline void for_row_blocks(int64_t rows, Body&& body) {
  for (int64_t r = 0; r < rows; r += 4) {
    const int64_t here = rows_at_once(rows - r);
    if (here == 4) {
      body(std::integral_constant<int, 4>(), r);
    } else if (here == 2) {
      body(std::integral_constant<int, 2>(), r);
    } else {
      body(std::integral_constant<int, 1>(), r);
    }
  }
}

// Values for R rows, repeated over a vector as results lie.
template <int R>
static inline vf lanes(const float* values) {
  float all[kWidth];
  for (int i = 0; i < kWidth; i++) all[i] = values[i % R];
  return load(all);
}

// Rows that lie anywhere are asked for this many rows before they are needed: the third-level cache takes as long.
constexpr int64_t kAhead = 24;

template <class T>
static inline void prefetch(const T* row, int64_t dim) {
  constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(T));
  for (int64_t c = 0; c < dim; c += kLine) __builtin_prefetch(row + c);
}

// scores[j·R + r] = a[r] · key j of the list; -inf after the last.
template <int R, class T>
static inline void list_dots(const float* a, int64_t stride, const T* keys, int64_t key_stride, const List& list, int64_t dim, float* scores) {
  constexpr int64_t kOthers = kResults / R;
  for (int64_t j = 0; j < list.count; j += kOthers) {
    const T* others[kOthers];
    for (int64_t i = 0; i < kOthers; i++) {
      others[i] = keys + list[j + i < list.count ? j + i : list.count - 1] * key_stride;
      if (list.index != nullptr && j + i + kAhead < list.count) prefetch(keys + list[j + i + kAhead] * key_stride, dim);
    }
    dots<R>(a, stride, others, dim, scores + j * R);
  }
  for (int64_t i = list.count * R; i % kResults != 0; i++) scores[i] = -__builtin_inff();
}

// Scores become exp(score · scale − greatest); `total` is their sum. The list has at least one key.
template <int R>
static inline void softmax(float* scores, int64_t count, float scale, float* greatest, float* total) {
  vf top = load(scores);
  for (int64_t i = kWidth; i < count * R; i += kWidth) top = vmax(top, load(scores + i));
  for (int r = 0; r < R; r++) {
    greatest[r] = top[r];
    for (int lane = r + R; lane < kWidth; lane += R) greatest[r] = top[lane] > greatest[r] ? top[lane] : greatest[r];
    greatest[r] *= scale;
  }
  const vf shift = lanes<R>(greatest);
  vf sums{};
  for (int64_t i = 0; i < count * R; i += kWidth) {
    const vf weight = exp(load(scores + i) * scale - shift);
    store(scores + i, weight);
    sums += weight;
  }
  for (int r = 0; r < R; r++) {
    total[r] = sums[r];
    for (int lane = r + R; lane < kWidth; lane += R) total[r] += sums[lane];
  }
}

// to[list[j]] += Σ_r weights[j·R + r] · a[r]; rows of both have whole vectors.
template <int R>
static inline void spread(const float* weights, const List& list, const float* a, int64_t width, float* to) {
  for (int64_t j = 0; j < list.count; j++) {
    float* row = to + list[j] * width;
    for (int64_t c = 0; c < width; c += kWidth) {
      vf x = load(row + c);
      for (int r = 0; r < R; r++) x += broadcast(weights[j * R + r]) * load(a + r * width + c);
      store(row + c, x);
    }
  }
}

}  // namespace DS_ISA
}  // namespace deepseek
