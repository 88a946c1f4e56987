// Products of a few rows of one matrix with rows of another that lie anywhere (gathered keys), and the sums of rows weighted
// by what came of them. R rows (1, 2 or 4) and sixteen results at a time: result j·R + r belongs to other row j and row r, so
// that the R results of a key lie side by side. Every result is summed in the same order, wherever it stands in a batch.
#pragma once

#include "common/row.h"

#include <type_traits>

namespace deepseek {
namespace DS_ISA {

constexpr int kResults = 16;

// What R rows at a time are: four where three or more are left, else two or one. Rows that do not exist must be zero.
static inline int64_t rows_at_once(int64_t left) { return left >= 3 ? 4 : left; }
// Rows with the ones that are made up.
static inline int64_t rows_in_all(int64_t rows) { return rows % 4 == 3 ? rows + 1 : rows; }

// The sums of sixteen vectors.
static inline void sums(const vf* parts, float* results) {
#if defined(__AVX512F__)
  // Four rounds: neighbours' lanes are added until lane i holds the sum of vector i.
  __m512 x[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; i++) x[i] = reinterpret_cast<__m512>(parts[i]);
  const auto round = [&](int count, __m512i low, __m512i high) {
#pragma GCC unroll 8
    for (int i = 0; i < count; i++) x[i] = _mm512_add_ps(_mm512_permutex2var_ps(x[2 * i], low, x[2 * i + 1]), _mm512_permutex2var_ps(x[2 * i], high, x[2 * i + 1]));
  };
  // Lane i of `low`: the first vector's lane i where bit s of i is 0, else the second's lane i - s; `high`: each s further.
  round(8, _mm512_setr_epi32(0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30), _mm512_setr_epi32(1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31));
  round(4, _mm512_setr_epi32(0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29), _mm512_setr_epi32(2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31));
  round(2, _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27), _mm512_setr_epi32(4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31));
  round(1, _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23), _mm512_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31));
  _mm512_storeu_ps(results, x[0]);
#else
  for (int i = 0; i < kResults; i++) results[i] = sum(parts[i]);
#endif
}

// results[j·R + r] = a[r] · others[j] for 16/R other rows. Rows of `a` are `stride` apart and padded with zeros to whole
// vectors; of the others only `dim` elements are read.
template <int R, class T>
static inline void dots(const float* a, int64_t stride, const T* const* others, int64_t dim, float* results) {
  constexpr int kOthers = kResults / R;
  // Unrolled in full, so that the sums stay in registers.
  vf parts[kResults];
#pragma GCC unroll 16
  for (int i = 0; i < kResults; i++) parts[i] = vf{};
  const auto step = [&](int64_t c, auto&& read) {
    vf rows[R];
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) rows[r] = load(a + r * stride + c);
#pragma GCC unroll 16
    for (int j = 0; j < kOthers; j++) {
      const vf other = read(others[j] + c);
#pragma GCC unroll 4
      for (int r = 0; r < R; r++) parts[j * R + r] += rows[r] * other;
    }
  };
  int64_t c = 0;
  for (; c + kWidth <= dim; c += kWidth) step(c, [](const T* from) { return load(from); });
  if (c < dim) step(c, [&](const T* from) { return load_some(from, dim - c); });
  sums(parts, results);
}

// to[r] += Σ_j weights[j·R + r] · other(j) over `count` other rows, in order of j within each of a few running sums. Rows of
// `to` are `stride` apart and padded to whole vectors. `next(j)` names row j.
template <int R, class T, class Next>
static inline void add_weighted(const float* weights, int64_t count, int64_t dim, float* to, int64_t stride, Next&& next) {
  constexpr int kColumns = 4, kSets = 4 / R;  // sixteen running sums, so that additions need not wait for each other
  const auto columns = [&](auto vectors, int64_t c, bool whole) {
    constexpr int n = decltype(vectors)::value;
    // Only constants index the running sums, so that they stay in registers.
    vf running[kSets][R][n];
#pragma GCC unroll 16
    for (int i = 0; i < kSets * R * n; i++) running[i / (R * n)][i / n % R][i % n] = vf{};
    const auto step = [&](int64_t j, auto set) {
      const T* other = next(j);
#pragma GCC unroll 4
      for (int v = 0; v < n; v++) {
        const vf x = whole ? load(other + c + v * kWidth) : load_some(other + c, dim - c);
#pragma GCC unroll 4
        for (int r = 0; r < R; r++) running[decltype(set)::value][r][v] += broadcast(weights[j * R + r]) * x;
      }
    };
    const auto steps = [&](int64_t j, int64_t left) {
      step(j, std::integral_constant<int, 0>());
      if constexpr (kSets > 1) {
        if (left > 1) step(j + 1, std::integral_constant<int, 1>());
      }
      if constexpr (kSets > 2) {
        if (left > 2) step(j + 2, std::integral_constant<int, 2>());
        if (left > 3) step(j + 3, std::integral_constant<int, 3>());
      }
    };
    int64_t j = 0;
    for (; j + kSets <= count; j += kSets) steps(j, kSets);
    if (j < count) steps(j, count - j);
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
      for (int v = 0; v < n; v++) {
        vf total = running[0][r][v];
#pragma GCC unroll 4
        for (int set = 1; set < kSets; set++) total += running[set][r][v];
        store(to + r * stride + c + v * kWidth, load(to + r * stride + c + v * kWidth) + total);
      }
    }
  };
  int64_t c = 0;
  for (; c + kColumns * kWidth <= dim; c += kColumns * kWidth) columns(std::integral_constant<int, kColumns>(), c, true);
  for (; c + kWidth <= dim; c += kWidth) columns(std::integral_constant<int, 1>(), c, true);
  if (c < dim) columns(std::integral_constant<int, 1>(), c, false);
}

}  // namespace DS_ISA
}  // namespace deepseek
