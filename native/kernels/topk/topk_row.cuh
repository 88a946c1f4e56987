// The greatest elements of a row, by one thread block that reads it once from memory: a sample gives a bound that somewhat more
// than k elements pass; those are kept in shared memory as (order key, complement of the index), which makes them all
// different. Where the sample misled (fewer than k or too many pass, as with many equal elements), the block finds the k-th key
// by three histograms over the row and takes the elements equal to it by index: slower, still exact.
#pragma once

#include "topk/topk.h"

#include "common/cuda_types.cuh"

namespace deepseek {
namespace {

constexpr int kRoom = 4096;    // elements that can be kept
constexpr int kSample = 8192;  // elements of the sample, or of each round of it
constexpr int kDigits = 2048;  // counters

__device__ __forceinline__ uint32_t order_key(float value, bool largest) {
  const uint32_t bits = __float_as_uint(value + 0.0f);
  const uint32_t key = value != value ? 0xffffffffu : bits ^ (static_cast<uint32_t>(static_cast<int32_t>(bits) >> 31) | 0x80000000u);
  return largest ? key : ~key;
}

// The float that has this key (NaN for NaN's).
__device__ __forceinline__ float float_of(uint32_t key, bool largest) {
  key = largest ? key : ~key;
  return __uint_as_float(key & 0x80000000u ? key ^ 0x80000000u : ~key);
}

struct Shared {
  uint64_t kept[kRoom];
  uint32_t counts[kDigits];
  uint2 warps[2][32];
  uint32_t count, digit, rest, bound;
};

// Sums over the block, of three counts whose sums are under 65536; the two halves of `warps` are used in turn.
template <int kThreads>
__device__ __forceinline__ uint3 counts_of(uint32_t a, uint32_t b, uint32_t c, uint2* warps) {
  const uint32_t pair = __reduce_add_sync(0xffffffffu, a | b << 16);
  c = __reduce_add_sync(0xffffffffu, c);
  const int lane = threadIdx.x % 32;
  if (lane == 0) warps[threadIdx.x / 32] = make_uint2(pair, c);
  __syncthreads();
  const uint2 of_warp = lane < kThreads / 32 ? warps[lane] : make_uint2(0, 0);
  const uint32_t all = __reduce_add_sync(0xffffffffu, of_warp.x);
  return make_uint3(all & 0xffffu, all >> 16, __reduce_add_sync(0xffffffffu, of_warp.y));
}

// The sum of a count over the threads before this one; `all` becomes the sum over the block. The counts' sums are under 2^32;
// calls that follow one another need different halves of `warps`.
template <int kThreads>
__device__ __forceinline__ uint32_t sum_before(uint32_t count, uint2* warps, uint32_t& all) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  uint32_t before = count;
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const uint32_t other = __shfl_up_sync(0xffffffffu, before, step);
    if (lane >= step) before += other;
  }
  if (lane == 31) warps[warp].x = before;
  __syncthreads();
  const uint32_t of_warp = lane < kThreads / 32 ? warps[lane].x : 0u;
  all = __reduce_add_sync(0xffffffffu, of_warp);
  return before - count + __reduce_add_sync(0xffffffffu, lane < warp ? of_warp : 0u);
}

// The digit of the element of this rank, counted from the greatest digit down, and its rank among those that share it. The
// counters (complete before the call, behind a barrier) are 0 afterwards.
template <int kThreads>
__device__ __forceinline__ uint2 digit_of_rank(uint32_t rank, uint2* warps, Shared& shared) {
  constexpr int kEach = kDigits / kThreads;
  const uint32_t first = kDigits - 1 - threadIdx.x * kEach;
  uint32_t own[kEach], sum = 0, all;
#pragma unroll
  for (int e = 0; e < kEach; e++) {
    own[e] = shared.counts[first - e];
    shared.counts[first - e] = 0;
    sum += own[e];
  }
  uint32_t before = sum_before<kThreads>(sum, warps, all);
#pragma unroll
  for (int e = 0; e < kEach; e++) {
    if (before < rank && before + own[e] >= rank) shared.digit = first - e, shared.rest = rank - before;
    before += own[e];
  }
  __syncthreads();
  return make_uint2(shared.digit, shared.rest);
}

// Rank in the sample whose element bounds the k greatest of n: k · sample / n elements of the sample are expected among them,
// give or take the square root of that; five of those more leave about one miss in a million rows.
__device__ __forceinline__ uint32_t sample_rank(int64_t k, int64_t n, int64_t sample) {
  const float share = static_cast<float>(k) * static_cast<float>(sample) / static_cast<float>(n);
  return static_cast<uint32_t>(share + 5 * sqrtf(share) + 4);
}

// A key that at least k elements of the row reach (but for chance) and not too many more: the 22 highest bits of the sample's
// element of a rank, by two histograms. The counters must be 0, and are again.
template <class T, int kThreads>
__device__ uint32_t sampled_bound(const T* x, int64_t n, uint32_t k, bool largest, Shared& shared) {
  constexpr int kEach = kSample / kThreads;
  // A sixteenth of a long row: of 2048 elements that are wanted about 3000 then pass, and kRoom is four deviations off.
  // Rows have fewer than 2^31 elements: 32 bits are enough.
  const uint32_t rounds = (static_cast<uint32_t>(n) + 16 * kSample - 1) / (16 * kSample), step = static_cast<uint32_t>(n) / (rounds * (kSample / 32)), last = static_cast<uint32_t>(n) - 32;
  uint32_t key[kEach];
  // Stretches of 32 elements, evenly spaced: a warp reads one at a time.
  const auto read = [&](uint32_t round) {
    uint32_t start = (round * (kSample / 32) + threadIdx.x / 32) * step;
#pragma unroll
    for (int i = 0; i < kEach; i++, start += kThreads / 32 * step) key[i] = order_key(to_float(x[min(start, last) + threadIdx.x % 32]), largest);
  };
  for (uint32_t round = 0; round < rounds; round++) {
    read(round);
#pragma unroll
    for (int i = 0; i < kEach; i++) atomicAdd(&shared.counts[key[i] >> 21], 1u);
  }
  __syncthreads();
  const uint2 high = digit_of_rank<kThreads>(sample_rank(k, n, static_cast<int64_t>(rounds) * kSample), shared.warps[0], shared);
  for (uint32_t round = 0; round < rounds; round++) {
    if (rounds > 1) read(round);
#pragma unroll
    for (int i = 0; i < kEach; i++) {
      if (key[i] >> 21 == high.x) atomicAdd(&shared.counts[key[i] >> 10 & (kDigits - 1)], 1u);
    }
  }
  __syncthreads();
  return high.x << 21 | digit_of_rank<kThreads>(high.y, shared.warps[1], shared).x << 10;
}

template <class T>
__device__ __forceinline__ void keep(float value, uint32_t index, bool largest, Shared& shared) {
  const uint32_t place = atomicAdd(&shared.count, 1u);
  if (place < kRoom) shared.kept[place] = static_cast<uint64_t>(order_key(value, largest)) << 32 | (0xffffffffu - index);
}

// The groups of eight elements that a thread looks at together.
template <class T, int kThreads, int kUnroll>
__device__ __forceinline__ void fetch(const T* x, uint32_t g, uint32_t groups, Raw8<T> (&raw)[kUnroll]) {
#pragma unroll
  for (int u = 0; u < kUnroll; u++) {
    if (g + u * kThreads < groups) raw[u] = load_kept(x + static_cast<size_t>(g + u * kThreads) * 8);
  }
}

// Keeps the elements from `begin` (a multiple of 8) to `end` that reach the bound; all threads then know how many there were.
// shared.count must be 0.
template <class T, int kThreads>
__device__ uint32_t keep_reaching(const T* x, int64_t begin, int64_t end, uint32_t bound, bool all, bool largest, Shared& shared) {
  const float limit = float_of(bound, largest);
  // NaN passes every comparison turned round, so it is kept and its key then decides.
  const auto passes = [&](float value) { return all || !(largest ? value < limit : value > limit); };
  int64_t done = begin;
  if (reinterpret_cast<uintptr_t>(x) % 16 == 0) {
    constexpr int kUnroll = sizeof(T) == 4 ? 2 : 4;
    const uint32_t groups = static_cast<uint32_t>(end / 8), first = static_cast<uint32_t>(begin / 8) + threadIdx.x;
    const volatile uint32_t* kept_so_far = &shared.count;
    // The next elements are on their way while these are looked at. The few that pass are read again, from the first-level
    // cache: an array of registers cannot be indexed by a number known only at run time.
    Raw8<T> next[kUnroll];
    fetch<T, kThreads, kUnroll>(x, first, groups, next);
    for (uint32_t g = first; g < groups && *kept_so_far <= kRoom; g += kUnroll * kThreads) {
      Raw8<T> now[kUnroll];
#pragma unroll
      for (int u = 0; u < kUnroll; u++) now[u] = next[u];
      fetch<T, kThreads, kUnroll>(x, g + kUnroll * kThreads, groups, next);
      uint32_t passed = 0;
#pragma unroll
      for (int u = 0; u < kUnroll; u++) {
        float value[8];
        unpack(now[u], value);
        uint32_t of_group = 0;
#pragma unroll
        for (int i = 0; i < 8; i++) of_group |= (passes(value[i]) ? 1u : 0u) << i;
        if (g + u * kThreads < groups) passed |= of_group << (8 * u);
      }
      if (passed == 0) continue;
      uint32_t place = atomicAdd(&shared.count, static_cast<uint32_t>(__popc(passed)));
      while (passed != 0) {
        const int bit = __ffs(static_cast<int>(passed)) - 1;
        passed &= passed - 1;
        const uint32_t index = (g + static_cast<uint32_t>(bit / 8) * kThreads) * 8 + static_cast<uint32_t>(bit % 8);
        if (place < kRoom) shared.kept[place] = static_cast<uint64_t>(order_key(to_float(x[index]), largest)) << 32 | (0xffffffffu - index);
        place++;
      }
    }
    done = max(static_cast<int64_t>(groups) * 8, begin);
  }
  for (int64_t c = done + threadIdx.x; c < end; c += kThreads) {
    const float value = to_float(x[c]);
    if (passes(value)) keep<T>(value, static_cast<uint32_t>(c), largest, shared);
  }
  __syncthreads();
  return shared.count;
}

// The k-th greatest key of the row, and how many elements equal to it belong to the result. The counters must be 0, and are again.
template <class T, int kThreads>
__device__ uint32_t exact_threshold(const T* x, int64_t n, uint32_t k, bool largest, Shared& shared, uint32_t& equal) {
  uint32_t prefix = 0, known = 0;
  for (int pass = 0; pass < 3; pass++) {
    const int shift = pass == 0 ? 21 : pass == 1 ? 10 : 0;
    const uint32_t digits = pass == 2 ? 1024u : 2048u;
    for (int64_t start = 0; start < n; start += kThreads) {
      const int64_t c = start + threadIdx.x;
      const uint32_t key = c < n ? order_key(to_float(x[c]), largest) : 0u;
      const bool counts = c < n && (key & known) == prefix;
      const uint32_t digit = (key >> shift) & (digits - 1), mask = __ballot_sync(0xffffffffu, counts);
      if (mask == 0) continue;
      // A warp whose elements share the digit adds once: many equal elements are why this path is taken.
      const uint32_t leader = __shfl_sync(0xffffffffu, digit, __ffs(static_cast<int>(mask)) - 1);
      if (__all_sync(0xffffffffu, !counts || digit == leader)) {
        if (threadIdx.x % 32 == 0) atomicAdd(&shared.counts[leader], static_cast<uint32_t>(__popc(mask)));
      } else if (counts) {
        atomicAdd(&shared.counts[digit], 1u);
      }
    }
    __syncthreads();
    const uint2 found = digit_of_rank<kThreads>(k, shared.warps[pass % 2], shared);
    k = found.y;
    prefix |= found.x << shift;
    known |= (digits - 1) << shift;
  }
  equal = k;
  return prefix;
}

// Keeps exactly the k elements of the result.
template <class T, int kThreads>
__device__ void keep_exactly(const T* x, int64_t n, uint32_t k, bool largest, Shared& shared) {
  uint32_t equal;
  const uint32_t threshold = exact_threshold<T, kThreads>(x, n, k, largest, shared, equal);
  if (threadIdx.x == 0) shared.count = 0;
  __syncthreads();
  uint32_t before = 0;  // elements equal to the threshold at lower indices
  int turn = 0;
  for (int64_t start = 0; start < n; start += kThreads, turn ^= 1) {
    const int64_t c = start + threadIdx.x;
    const float value = c < n ? to_float(x[c]) : 0.0f;
    const uint32_t key = order_key(value, largest);
    if (c < n && key > threshold) keep<T>(value, static_cast<uint32_t>(c), largest, shared);
    if (before >= equal) continue;
    const uint32_t mask = __ballot_sync(0xffffffffu, c < n && key == threshold);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    if (lane == 0) shared.warps[turn][warp].x = static_cast<uint32_t>(__popc(mask));
    __syncthreads();
    const uint32_t of_warp = lane < kThreads / 32 ? shared.warps[turn][lane].x : 0u;
    const uint32_t lower = __reduce_add_sync(0xffffffffu, lane < warp ? of_warp : 0u) + static_cast<uint32_t>(__popc(mask & ((1u << lane) - 1u)));
    if ((mask >> lane & 1u) != 0 && before + lower < equal) keep<T>(value, static_cast<uint32_t>(c), largest, shared);
    before += __reduce_add_sync(0xffffffffu, of_warp);
  }
  __syncthreads();
}

// The k-th greatest of what the threads hold: different numbers, and 0 where a thread has none left.
template <int kThreads>
__device__ uint64_t greatest_rank(const uint64_t (&own)[kRoom / kThreads], uint32_t k, Shared& shared) {
  uint32_t top = 0;
#pragma unroll
  for (int e = 0; e < kRoom / kThreads; e++) top = max(top, static_cast<uint32_t>(own[e] >> 32));
  top = __reduce_max_sync(0xffffffffu, top);
  if (threadIdx.x % 32 == 0) shared.counts[threadIdx.x / 32] = top;
  __syncthreads();
  top = __reduce_max_sync(0xffffffffu, threadIdx.x % 32 < kThreads / 32 ? shared.counts[threadIdx.x % 32] : 0u);
  uint64_t low = max(static_cast<uint64_t>(shared.bound) << 32, uint64_t{1}), high = static_cast<uint64_t>(top) << 32 | 0xffffffffu;  // at least k reach low
  for (int turn = 0; low < high; turn ^= 1) {
    const uint64_t quarter = (high - low) / 4, a = low + quarter + 1, b = low + 2 * quarter + 1, c = low + 3 * quarter + 1;
    uint32_t first = 0, second = 0, third = 0;
#pragma unroll
    for (int e = 0; e < kRoom / kThreads; e++) first += own[e] >= a, second += own[e] >= b, third += own[e] >= c;
    const uint3 reaching = counts_of<kThreads>(first, second, third, shared.warps[turn]);
    if (reaching.z >= k) {
      low = c;
      if (reaching.z == k) return c;
    } else if (reaching.y >= k) {
      low = b, high = c - 1;
      if (reaching.y == k) return b;
    } else if (reaching.x >= k) {
      low = a, high = b - 1;
      if (reaching.x == k) return a;
    } else {
      high = a - 1;
    }
  }
  return low;
}

// Before anything else, by all threads.
template <int kThreads>
__device__ __forceinline__ void clear(Shared& shared) {
  for (uint32_t i = threadIdx.x; i < kDigits; i += kThreads) shared.counts[i] = 0;
  if (threadIdx.x == 0) shared.count = shared.bound = 0;
  __syncthreads();
}

// Leaves in shared.kept at least the k greatest elements of the row, in any order and no more than kRoom; returns how many.
template <class T, int kThreads>
__device__ uint32_t keep_greatest(const T* x, int64_t n, uint32_t k, bool largest, Shared& shared) {
  clear<kThreads>(shared);
  uint32_t bound = 0;
  if (n > kRoom) bound = sampled_bound<T, kThreads>(x, n, k, largest, shared);
  if (threadIdx.x == 0) shared.bound = bound;
  const uint32_t count = keep_reaching<T, kThreads>(x, 0, n, bound, n <= kRoom, largest, shared);
  if (count >= k && count <= kRoom) return count;
  __syncthreads();
  keep_exactly<T, kThreads>(x, n, k, largest, shared);
  return k;
}

// A thread's share of what was kept, 0 where there is nothing.
template <int kThreads>
__device__ __forceinline__ void take_share(uint64_t (&own)[kRoom / kThreads], uint32_t count, const Shared& shared) {
#pragma unroll
  for (int e = 0; e < kRoom / kThreads; e++) own[e] = e * kThreads + threadIdx.x < count ? shared.kept[e * kThreads + threadIdx.x] : 0;
}

}  // namespace
}  // namespace deepseek
