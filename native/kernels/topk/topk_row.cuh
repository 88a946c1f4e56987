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
constexpr int kSample = 8192;  // elements of the sample

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
  uint32_t counts[2048];
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

// A key that at least `rank` elements of the sample reach, and not many more where the keys allow it.
template <class T, int kThreads>
__device__ uint32_t sampled_bound(const T* x, int64_t n, uint32_t rank, bool largest, Shared& shared) {
  constexpr int kEach = kSample / kThreads;
  uint32_t key[kEach];
  // Stretches of 32 elements, evenly spaced: a warp reads one at a time.
  const int64_t step = n / (kSample / 32);
#pragma unroll
  for (int i = 0; i < kEach; i++) {
    const int64_t stretch = i * (kThreads / 32) + threadIdx.x / 32, last = n - 32, start = stretch * step < last ? stretch * step : last;
    key[i] = order_key(to_float(x[start + threadIdx.x % 32]), largest);
  }
  uint32_t low = 0, high = 0xffffffffu;  // count(low) >= rank
  // By quarters: three bounds are tried at once.
  for (int turn = 0; low < high; turn ^= 1) {
    const uint32_t quarter = (high - low) / 4, a = low + quarter + 1, b = low + 2 * quarter + 1, c = low + 3 * quarter + 1;
    uint32_t first = 0, second = 0, third = 0;
#pragma unroll
    for (int i = 0; i < kEach; i++) first += key[i] >= a, second += key[i] >= b, third += key[i] >= c;
    const uint3 count = counts_of<kThreads>(first, second, third, shared.warps[turn]);
    const uint32_t most = rank + rank / 16;
    if (count.z >= rank) {
      low = c;
      if (count.z <= most) break;
    } else if (count.y >= rank) {
      low = b, high = c - 1;
      if (count.y <= most) break;
    } else if (count.x >= rank) {
      low = a, high = b - 1;
      if (count.x <= most) break;
    } else {
      high = a - 1;
    }
  }
  return low;
}

template <class T>
__device__ __forceinline__ void keep(float value, uint32_t index, bool largest, Shared& shared) {
  const uint32_t place = atomicAdd(&shared.count, 1u);
  if (place < kRoom) shared.kept[place] = static_cast<uint64_t>(order_key(value, largest)) << 32 | (0xffffffffu - index);
}

// The groups of eight elements that a thread looks at together.
template <class T, int kThreads, int kUnroll>
__device__ __forceinline__ void fetch(const T* x, int64_t g, int64_t groups, Raw8<T> (&raw)[kUnroll]) {
#pragma unroll
  for (int u = 0; u < kUnroll; u++) {
    if (g + u * kThreads < groups) raw[u] = load_kept(x + (g + u * kThreads) * 8);
  }
}

// Keeps the elements that reach the bound; all threads then know how many there were.
template <class T, int kThreads>
__device__ uint32_t keep_reaching(const T* x, int64_t n, uint32_t bound, bool all, bool largest, Shared& shared) {
  if (threadIdx.x == 0) shared.count = 0;
  __syncthreads();
  const float limit = float_of(bound, largest);
  // NaN passes every comparison turned round, so it is kept and its key then decides.
  const auto passes = [&](float value) { return all || !(largest ? value < limit : value > limit); };
  int64_t done = 0;
  if (reinterpret_cast<uintptr_t>(x) % 16 == 0) {
    constexpr int kUnroll = sizeof(T) == 4 ? 2 : 4;
    const int64_t groups = n / 8;
    const volatile uint32_t* kept_so_far = &shared.count;
    // The next elements are on their way while these are looked at. The few that pass are read again, from the first-level
    // cache: an array of registers cannot be indexed by a number known only at run time.
    Raw8<T> next[kUnroll];
    fetch<T, kThreads, kUnroll>(x, threadIdx.x, groups, next);
    for (int64_t g = threadIdx.x; g < groups && *kept_so_far <= kRoom; g += kUnroll * kThreads) {
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
        const int64_t index = (g + (bit / 8) * kThreads) * 8 + bit % 8;
        if (place < kRoom) shared.kept[place] = static_cast<uint64_t>(order_key(to_float(x[index]), largest)) << 32 | (0xffffffffu - static_cast<uint32_t>(index));
        place++;
      }
    }
    done = groups * 8;
  }
  for (int64_t c = done + threadIdx.x; c < n; c += kThreads) {
    const float value = to_float(x[c]);
    if (passes(value)) keep<T>(value, static_cast<uint32_t>(c), largest, shared);
  }
  __syncthreads();
  return shared.count;
}

// The k-th greatest key of the row, and how many elements equal to it belong to the result.
template <class T, int kThreads>
__device__ uint32_t exact_threshold(const T* x, int64_t n, uint32_t k, bool largest, Shared& shared, uint32_t& equal) {
  uint32_t prefix = 0, known = 0;
  for (int pass = 0; pass < 3; pass++) {
    const int shift = pass == 0 ? 21 : pass == 1 ? 10 : 0;
    const uint32_t digits = pass == 2 ? 1024u : 2048u;
    for (uint32_t i = threadIdx.x; i < digits; i += kThreads) shared.counts[i] = 0;
    __syncthreads();
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
    if (threadIdx.x == 0) {
      uint32_t digit = digits - 1, above = 0;
      while (above + shared.counts[digit] < k) above += shared.counts[digit--];
      shared.digit = digit;
      shared.rest = k - above;
    }
    __syncthreads();
    k = shared.rest;
    prefix |= shared.digit << shift;
    known |= (digits - 1) << shift;
    __syncthreads();
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

// Rank in the sample whose element bounds the k greatest of n: k · sample / n elements of the sample are expected among them,
// give or take the square root of that; five of those more leave about one miss in a million rows.
__host__ __device__ inline uint32_t sample_rank(int64_t k, int64_t n) {
  const float share = static_cast<float>(k) * kSample / static_cast<float>(n);
  return static_cast<uint32_t>(share + 5 * sqrtf(share) + 4);
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

// Leaves in shared.kept at least the k greatest elements of the row, in any order and no more than kRoom; returns how many.
template <class T, int kThreads>
__device__ uint32_t keep_greatest(const T* x, int64_t n, uint32_t k, bool largest, Shared& shared) {
  uint32_t bound = 0;
  if (n > kRoom) {
    bound = sampled_bound<T, kThreads>(x, n, sample_rank(k, n), largest, shared);
    __syncthreads();
  }
  if (threadIdx.x == 0) shared.bound = bound;
  const uint32_t count = keep_reaching<T, kThreads>(x, n, bound, n <= kRoom, largest, shared);
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
