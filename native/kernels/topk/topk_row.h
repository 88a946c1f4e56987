// Exact selection of a row's k greatest elements: a sample gives a bound that a few more than k elements pass, those are
// kept with their indices, and a radix selection finds the k-th. Where the sample misled (fewer than k pass), the whole row
// is kept instead: slower, still exact.
#pragma once

#include "common/row.h"

#include <memory>

namespace deepseek {
namespace DS_ISA {

constexpr int64_t kSample = 2048;

// A number whose unsigned order is the order of the elements; complemented for the least.
struct Order {
  vu flip;

  explicit Order(bool largest) : flip(vu{} + (largest ? 0u : ~0u)) {}

  vu operator()(vf value) const {
    const vi bits = as_int(value + 0.0f);  // −0 becomes +0
    const vu key = reinterpret_cast<vu>(bits ^ ((bits >> 31) | static_cast<int32_t>(0x80000000u)));
    return (value == value ? key : vu{} + 0xffffffffu) ^ flip;
  }
};

struct Entry { uint32_t key, index; };

// Rooms of one thread.
struct Workspace {
  std::unique_ptr<uint32_t[]> keys, indices;
  std::unique_ptr<Entry[]> first, second;
  std::unique_ptr<uint32_t[]> counts{new uint32_t[3 * 2048]};

  Workspace(int64_t columns, int64_t k)
      : keys(new uint32_t[static_cast<size_t>(columns + 2 * kWidth)]), indices(new uint32_t[static_cast<size_t>(columns + 2 * kWidth)]),
        first(new Entry[static_cast<size_t>(k + 1)]), second(new Entry[static_cast<size_t>(k + 1)]) {}
};

// The k-th greatest of the keys (k from 1) by its bits from above, eight a pass; after fewer than four passes the bits below
// are zero, which makes it a bound that k keys reach.
static inline uint32_t kth(const uint32_t* keys, int64_t count, int64_t k, int passes, uint32_t* counts) {
  uint32_t prefix = 0, known = 0;
  for (int shift = 24; shift > 24 - 8 * passes; shift -= 8) {
    // Two tables: equal digits that follow one another need not wait for each other.
    std::memset(counts, 0, 512 * sizeof(uint32_t));
    int64_t i = 0;
    for (; i + 2 <= count; i += 2) {
      const uint32_t a = keys[i], b = keys[i + 1];
      counts[(a >> shift) & 255] += (a & known) == prefix;
      counts[256 + ((b >> shift) & 255)] += (b & known) == prefix;
    }
    if (i < count) counts[(keys[i] >> shift) & 255] += (keys[i] & known) == prefix;
    uint32_t digit = 255;
    for (;; digit--) {
      const int64_t here = static_cast<int64_t>(counts[digit]) + counts[256 + digit];
      if (here >= k || digit == 0) break;
      k -= here;
    }
    prefix |= digit << shift;
    known |= 255u << shift;
  }
  return prefix;
}

// A bound that the k greatest probably pass, from evenly spaced stretches of the row; 0 takes all.
template <class T>
static inline uint32_t bound(const T* x, int64_t n, int64_t k, const Order& order, Workspace& work) {
  if (n < 4 * kSample || 4 * k > n) return 0;
  const int64_t stretches = kSample / 16, step = n / stretches;
  uint32_t* sample = work.keys.get();
  for (int64_t s = 0; s < stretches; s++) {
    for (int64_t i = 0; i < 16; i += kWidth) {
      *reinterpret_cast<vu_any*>(sample + 16 * s + i) = order(load(x + s * step + i));
    }
  }
  // The count of the sample's elements among the k greatest varies by its square root; four of those leave 3 misses in 100 000.
  const double share = static_cast<double>(k) * kSample / static_cast<double>(n);
  const auto rank = static_cast<int64_t>(share + 4 * __builtin_sqrt(share) + 4);
  return rank >= kSample ? 0 : kth(sample, kSample, rank, 2, work.counts.get());
}

// Keeps the elements at or above the bound, in order of index; returns how many.
template <class T>
static inline int64_t keep(const T* x, int64_t n, uint32_t bound, const Order& order, uint32_t* keys, uint32_t* indices) {
  int64_t kept = 0;
  for (int64_t c = 0; c < n; c += kWidth) {
    const bool whole = n - c >= kWidth;
    const vu key = order(whole ? load(x + c) : load_some(x + c, n - c));
    const int64_t lanes = whole ? kWidth : n - c;
#if defined(__AVX512F__)
    const __m512i wide = reinterpret_cast<__m512i>(key);
    const auto passed = static_cast<__mmask16>(_mm512_cmpge_epu32_mask(wide, _mm512_set1_epi32(static_cast<int>(bound))) & ((1u << lanes) - 1u));
    // Compressed in a register: a compressing store to memory is far slower on some processors.
    const __m512i index = _mm512_add_epi32(_mm512_set1_epi32(static_cast<int>(c)), _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0));
    _mm512_storeu_si512(keys + kept, _mm512_maskz_compress_epi32(passed, wide));
    _mm512_storeu_si512(indices + kept, _mm512_maskz_compress_epi32(passed, index));
    kept += __builtin_popcount(passed);
#else
    for (int64_t i = 0; i < lanes; i++) {
      keys[kept] = key[i];
      indices[kept] = static_cast<uint32_t>(c + i);
      kept += key[i] >= bound;
    }
#endif
  }
  return kept;
}

// The k greatest of x[n], k from 1 to n, into work.first: in order of index, of equal elements the first ones.
template <class T>
static inline void choose_row(const T* x, int64_t n, int64_t k, const Order& order, Workspace& work) {
  const uint32_t low = bound(x, n, k, order, work);
  int64_t kept = keep(x, n, low, order, work.keys.get(), work.indices.get());
  if (kept < k) kept = keep(x, n, 0, order, work.keys.get(), work.indices.get());
  const uint32_t* keys = work.keys.get();
  const uint32_t threshold = kth(keys, kept, k, 4, work.counts.get());
  int64_t above = 0;
  for (int64_t i = 0; i < kept; i++) above += keys[i] > threshold;
  // Without branches: which of the kept belong to the k greatest cannot be foreseen.
  const int64_t equal = k - above;
  int64_t seen = 0, taken = 0;
  Entry* to = work.first.get();
  for (int64_t i = 0; i < kept; i++) {
    const uint32_t key = keys[i];
    to[taken] = {key, work.indices[i]};
    const bool same = key == threshold;
    taken += (key > threshold) | (same & (seen < equal));
    seen += same;
  }
}

}  // namespace DS_ISA
}  // namespace deepseek
