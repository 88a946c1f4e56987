// Exact selection of a row's k greatest elements: a sample gives a bound that a few more than k elements pass, those are
// kept with their indices, and a radix selection finds the k-th, or all of them are sorted. Where the sample misled (fewer than
// k pass), the whole row is kept instead: slower, still exact.
#pragma once

#include "common/row.h"

#include <memory>

namespace deepseek {
namespace DS_ISA {

constexpr int64_t kSample = 2048;
constexpr int64_t kReadAhead = 4096;  // bytes that a row is asked for ahead of use: the processor itself stops at a page's end

// A number whose unsigned order is the order of the elements; complemented for the least.
struct Order {
  vu flip;

  explicit Order(bool largest) : flip(vu{} + (largest ? 0u : ~0u)) {}

  vu operator()(vf value) const {
    const vi bits = as_int(value + 0.0f);  // −0 becomes +0
    const vu key = reinterpret_cast<vu>(bits ^ ((bits >> 31) | static_cast<int32_t>(0x80000000u)));
    return (value == value ? key : vu{} + 0xffffffffu) ^ flip;
  }

  // Elements that reach a key, and perhaps some that do not: those from this number on, of the least up to it. Where the key
  // is no number's, it is NaN, which all are taken to reach.
  float number(uint32_t key) const {
    key ^= flip[0];
    const uint32_t bits = key >= 0x80000000u ? key ^ 0x80000000u : ~key;
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
  }
};

struct Entry { uint32_t key, index; };

// Rooms of one thread.
struct Workspace {
  std::unique_ptr<uint32_t[]> keys, indices;
  std::unique_ptr<Entry[]> first, second;
  std::unique_ptr<uint32_t[]> counts{new uint32_t[4 * 512]};

  Workspace(int64_t columns, int64_t k)
      : keys(new uint32_t[static_cast<size_t>(columns + 2 * kWidth)]), indices(new uint32_t[static_cast<size_t>(columns + 2 * kWidth)]),
        first(new Entry[static_cast<size_t>(2 * k + 1)]), second(new Entry[static_cast<size_t>(2 * k + 1)]) {}
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

#if defined(__AVX2__) && !defined(__AVX512F__)
// For every set of 8 lanes, their numbers in order.
struct Lanes {
  uint8_t of[256][8] = {};

  constexpr Lanes() {
    for (int set = 0; set < 256; set++) {
      for (int lane = 0, place = 0; lane < 8; lane++) {
        if ((set >> lane & 1) != 0) of[set][place++] = static_cast<uint8_t>(lane);
      }
    }
  }
};
constexpr Lanes kLanes;
#endif

// Keeps the elements that may reach the bound, in order of index; returns how many.
template <class T>
static inline int64_t keep(const T* x, int64_t n, uint32_t bound, const Order& order, uint32_t* keys, uint32_t* indices) {
  [[maybe_unused]] const bool largest = order.flip[0] == 0;
  int64_t kept = 0, c = 0;
#if defined(__AVX512F__)
  const __m512 limit = _mm512_set1_ps(order.number(bound));
  const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  for (; c + kWidth <= n; c += kWidth) {
    __builtin_prefetch(reinterpret_cast<const char*>(x + c) + kReadAhead);
    const __m512 value = reinterpret_cast<__m512>(load(x + c));
    const __mmask16 passed = bound == 0 ? static_cast<__mmask16>(0xffff) : largest ? _mm512_cmp_ps_mask(value, limit, _CMP_NLT_UQ) : _mm512_cmp_ps_mask(value, limit, _CMP_NGT_UQ);
    // Compressed in a register: a compressing store to memory is far slower on some processors.
    _mm512_storeu_si512(keys + kept, _mm512_castps_si512(_mm512_maskz_compress_ps(passed, value)));
    _mm512_storeu_si512(indices + kept, _mm512_maskz_compress_epi32(passed, _mm512_add_epi32(_mm512_set1_epi32(static_cast<int>(c)), lane)));
    kept += __builtin_popcount(passed);
  }
#elif defined(__AVX2__)
  const __m256 limit = _mm256_set1_ps(order.number(bound));
  const __m256i lane = _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0);
  for (; c + kWidth <= n; c += kWidth) {
    __builtin_prefetch(reinterpret_cast<const char*>(x + c) + kReadAhead);
    const __m256 value = reinterpret_cast<__m256>(load(x + c));
    const int passed = bound == 0 ? 255 : _mm256_movemask_ps(largest ? _mm256_cmp_ps(value, limit, _CMP_NLT_UQ) : _mm256_cmp_ps(value, limit, _CMP_NGT_UQ));
    const __m256i places = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(kLanes.of[passed])));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(keys + kept), _mm256_castps_si256(_mm256_permutevar8x32_ps(value, places)));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(indices + kept), _mm256_add_epi32(_mm256_set1_epi32(static_cast<int>(c)), _mm256_permutevar8x32_epi32(lane, places)));
    kept += __builtin_popcount(static_cast<unsigned>(passed));
  }
#endif
  for (int64_t i = 0; i < kept; i += kWidth) {
    const vu_any bits = *reinterpret_cast<const vu_any*>(keys + i);
    *reinterpret_cast<vu_any*>(keys + i) = order(as_float(static_cast<vu>(bits)));
  }
  for (; c < n; c += kWidth) {
    const int64_t lanes = n - c >= kWidth ? kWidth : n - c;
    const vu key = order(lanes == kWidth ? load(x + c) : load_some(x + c, lanes));
    for (int64_t i = 0; i < lanes; i++) {
      keys[kept] = key[i];
      indices[kept] = static_cast<uint32_t>(c + i);
      kept += key[i] >= bound;
    }
  }
  return kept;
}

// Elements that the k greatest are among, in order of index, in work.keys and work.indices; returns how many, k at least.
template <class T>
static inline int64_t keep_row(const T* x, int64_t n, int64_t k, const Order& order, Workspace& work) {
  const int64_t kept = keep(x, n, bound(x, n, k, order, work), order, work.keys.get(), work.indices.get());
  return kept < k ? keep(x, n, 0, order, work.keys.get(), work.indices.get()) : kept;
}

// Of `kept` elements in work.keys and work.indices, the k greatest into work.first, in order of index, of equal ones the first.
static inline void choose_kept(int64_t kept, int64_t k, Workspace& work) {
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

// The k greatest of x[n], k from 1 to n, into work.first: in order of index, of equal elements the first ones.
template <class T>
static inline void choose_row(const T* x, int64_t n, int64_t k, const Order& order, Workspace& work) {
  choose_kept(keep_row(x, n, k, order, work), k, work);
}

}  // namespace DS_ISA
}  // namespace deepseek
