// The choice of blocks. The score of the last block that is kept is found bit by bit, from counts (or sums) of the scores that reach
// a bound; nothing is sorted. Exact, ties by the lowest block. A list is a warp's, or eight warps' where there are many blocks.
#include <cuda_runtime.h>

#include "block_selection.h"

namespace deepseek {
namespace {

constexpr int kEach = 32;              // scores a thread keeps in registers
constexpr int kOfWarp = 32 * kEach;    // scores of a warp: neighbours, so that lists come out ascending
constexpr int kThreads = 256;
constexpr int kSharedThreads = 1024;

__device__ __forceinline__ int64_t floor_zero(int64_t a, int64_t b) { return a < 0 ? 0 : a / b; }

// What a query block sees, and what it keeps in any case.
struct Sight {
  int first, last, visible, sink, window;

  __device__ __forceinline__ Sight(const SelectBlocksParams& p, int64_t batch, int64_t query_block) : sink(p.sink), window(p.window) {
    const int64_t row = query_block * p.block_q;
    const int64_t queries = p.q_lengths != nullptr ? min(max(static_cast<int64_t>(p.q_lengths[batch]), int64_t{0}), p.queries) : p.queries;
    const int64_t keys = p.k_lengths != nullptr ? min(max(static_cast<int64_t>(p.k_lengths[batch]), int64_t{0}), p.keys) : p.keys, shift = keys - queries;
    const int64_t last_key = min(min(row + p.block_q, queries) - 1 + shift, keys - 1);
    first = static_cast<int>(floor_zero(min(row + shift, keys - 1), p.block_k)), last = last_key < 0 ? -1 : static_cast<int>(last_key / p.block_k);
    visible = row >= queries ? 0 : p.causal ? last + 1 : static_cast<int>((keys + p.block_k - 1) / p.block_k);
  }
  __device__ __forceinline__ bool forced(int block) const { return (block >= first - window && block <= last + window) || block < sink; }
};

constexpr unsigned kHighest = 1u << 30;  // bit of a rank

// Scores that are in question as numbers in the same order, from 1; 0 for all others.
__device__ __forceinline__ unsigned rank_of(float score) { return __float_as_uint(fmaxf(score, 0.0f)) + 1; }
__device__ __forceinline__ float score_of(unsigned rank) { return __uint_as_float(rank - 1); }

// Ranks of a thread, in the groups that are seen, that reach a bound of at least 1.
__device__ __forceinline__ int count_of(const unsigned (&ranks)[kEach], int groups, unsigned bound) {
  constexpr int kPiece = 8;
  int n = 0;
#pragma unroll
  for (int first = 0; first < kEach; first += kPiece)
    if (first < groups) {
#pragma unroll
      for (int j = first; j < first + kPiece; j++) n += ranks[j] >= bound;
    }
  return n;
}

template <class X>
__device__ __forceinline__ X sum_of_warp(X x) {
#if __CUDA_ARCH__ >= 800
  if constexpr (sizeof(X) == sizeof(int)) return __reduce_add_sync(~0u, x);
#endif
#pragma unroll
  for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(~0u, x, step);
  return x;
}

// Sums over the warps that share a list; what is in hand is used before the next but one sum overwrites it.
template <int Warps>
struct Team {
  double* line;  // [2, Warps] in shared memory
  int turn = 0;

  template <class X>
  __device__ __forceinline__ X sum(X x) {
    x = sum_of_warp(x);
    if constexpr (Warps > 1) {
      X* to = reinterpret_cast<X*>(line + turn * Warps);
      turn ^= 1;
      if (threadIdx.x % 32 == 0) to[threadIdx.x / 32] = x;
      __syncthreads();
      x = to[0];
#pragma unroll
      for (int w = 1; w < Warps; w++) x += to[w];
    }
    return x;
  }
  // The sum over the warps before this one.
  __device__ __forceinline__ int before(int x) {
    if constexpr (Warps == 1) return 0;
    int* to = reinterpret_cast<int*>(line + turn * Warps);
    turn ^= 1;
    if (threadIdx.x % 32 == 0) to[threadIdx.x / 32] = x;
    __syncthreads();
    int sum = 0;
    for (int w = 0; w < static_cast<int>(threadIdx.x / 32); w++) sum += to[w];
    return sum;
  }
};

// The choice by mass is a kernel of its own, since its sums need registers that the others would lack.
template <int Warps, bool ByMass>
__global__ void __launch_bounds__(kThreads, ByMass ? 2 : 4) select_kernel(const SelectBlocksParams p) {
  __shared__ double line[2 * Warps];
  Team<Warps> team{line};
  const int lane = threadIdx.x % 32;
  const int64_t list = Warps == 1 ? blockIdx.x * int64_t{kThreads / 32} + threadIdx.x / 32 : blockIdx.x;
  if (list >= p.lists) return;
  const int64_t batch = list / p.lists_of_batch;
  const Sight sight(p, batch, list % p.query_blocks);
  const float* scores = p.scores + list * p.key_blocks;
  const int start = (Warps == 1 ? 0 : threadIdx.x / 32 * kOfWarp) + lane, visible = sight.visible;
  // Groups of 32 blocks of this warp that are seen.
  const int groups = min(max((visible - (start - lane) + 31) / 32, 0), kEach);

  // All are asked for before the first is looked at.
  float score[kEach];
#pragma unroll
  for (int j = 0; j < kEach; j++) score[j] = start + 32 * j < visible ? scores[start + 32 * j] : 0.0f;
  unsigned ranks[kEach], forced = 0;  // a bit a group
  double kept_sum = 0.0;
#pragma unroll
  for (int j = 0; j < kEach; j++) {
    const int block = start + 32 * j;
    const bool seen = block < visible, stays = seen && sight.forced(block);
    ranks[j] = seen && !stays ? rank_of(score[j]) : 0;
    forced |= stays ? 1u << j : 0u;
    if (ByMass && stays) kept_sum += score_of(rank_of(score[j]));
  }
  const int forced_count = team.sum(__popc(forced));
  const auto count = [&](unsigned bound) { return team.sum(count_of(ranks, groups, bound)); };

  int target = p.density >= 1.0 ? visible : static_cast<int>(ceil(visible * p.density - 1e-9));
  if (p.bounds != nullptr) {
    const float bound = p.bounds[batch * p.query_blocks + list % p.query_blocks];
    target = forced_count + (bound == INFINITY ? 0 : count(max(rank_of(bound), 2u)));  // a score of 0 never reaches it
  } else if constexpr (ByMass) {
    const auto sum = [&](unsigned bound) {
      double x = 0.0;
#pragma unroll
      for (int j = 0; j < kEach; j++)
        if (j < groups && ranks[j] >= bound) x += static_cast<double>(score_of(ranks[j]));
      return team.sum(x);
    };
    kept_sum = team.sum(kept_sum);
    const double needed = (kept_sum + sum(1)) * p.mass;
    int more = 0;
    if (kept_sum < needed) {
      // The greatest bound whose scores reach what is needed.
      unsigned bound = 0;
      for (unsigned bit = kHighest; bit != 0; bit >>= 1)
        if (kept_sum + sum(bound | bit) >= needed) bound |= bit;
      bound = max(bound, 1u);
      more = count(bound + 1);
      const double above = kept_sum + sum(bound + 1), each = score_of(bound);
      int equal = each > 0.0 ? max(static_cast<int>(ceil((needed - above) / each)), 1) : 1;
      while (equal > 1 && above + (equal - 1) * each >= needed) equal--;
      more += equal;
    }
    target = min(target, max(forced_count + more, 1));
  }
  target = min(min(max(max(target, p.min_blocks), forced_count), visible), static_cast<int>(p.max_blocks));

  // The rank of the last block that is kept; of blocks equal to it the lowest are.
  const int wanted = target - forced_count;
  unsigned bound = 0xFFFFFFFFu;
  int equal = 0;
  if (wanted > 0) {
    bound = 0;
    int reached = visible - forced_count;
    unsigned bit = kHighest;
    if constexpr (Warps == 1) {
      // Bits above the first in which they differ are the same in all.
      unsigned least = ~0u, greatest = 0;
#pragma unroll
      for (int j = 0; j < kEach; j++) greatest = max(greatest, ranks[j]), least = min(least, ranks[j] - 1);
      greatest = __reduce_max_sync(~0u, greatest), least = __reduce_min_sync(~0u, least) + 1;
      bit = greatest == least ? 0 : 1u << (31 - __clz(greatest ^ least));
      bound = bit == 0 ? greatest : greatest & ~(2 * bit - 1);
    }
    for (; bit != 0 && reached != wanted; bit >>= 1) {
      const int n = count(bound | bit);
      if (n >= wanted) bound |= bit, reached = n;
    }
    bound = max(bound, 1u);
    equal = reached == wanted ? static_cast<int>(p.key_blocks) : wanted - count(bound + 1);
  }
  unsigned chosen = forced;
  if (equal >= p.key_blocks) {
#pragma unroll
    for (int j = 0; j < kEach; j++) chosen |= ranks[j] >= bound ? 1u << j : 0u;
  } else if (equal > 0) {
    int equal_here = 0;
#pragma unroll
    for (int j = 0; j < kEach; j++) equal_here += ranks[j] == bound;
    int equals_before = team.before(sum_of_warp(equal_here));
#pragma unroll
    for (int j = 0; j < kEach; j++)
      if (j < groups) {
        const unsigned same = __ballot_sync(~0u, ranks[j] == bound);
        if (ranks[j] > bound || (ranks[j] == bound && equals_before + __popc(same & ((1u << lane) - 1)) < equal)) chosen |= 1u << j;
        equals_before += __popc(same);
      }
  }
  int written = team.before(sum_of_warp(__popc(chosen)));
  int32_t* index = p.block_index + list * p.max_blocks;
  for (int j = 0; j < groups; j++) {
    const bool mine = chosen >> j & 1;
    const unsigned vote = __ballot_sync(~0u, mine);
    if (mine) index[written + __popc(vote & ((1u << lane) - 1))] = start + 32 * j;
    written += __popc(vote);
  }
  const int thread = Warps == 1 ? lane : threadIdx.x;
  if (thread == 0) p.block_count[list] = target;
  for (int64_t i = target + thread; i < p.max_blocks; i += 32 * Warps) index[i] = -1;
}

// The score of the last block within a budget that all heads of a query block share: one thread block each. Parts of 1024 blocks of
// a head are a warp's; where there is one for each warp at most, it stays in registers.
template <bool Stays>
__global__ void __launch_bounds__(kSharedThreads) shared_bounds_kernel(const SelectBlocksParams p, float* bounds) {
  constexpr int kWarps = kSharedThreads / 32;
  __shared__ double line[2 * kWarps];
  Team<kWarps> team{line};
  const int64_t batch = blockIdx.x / p.query_blocks, query_block = blockIdx.x % p.query_blocks, heads = p.lists_of_batch / p.query_blocks;
  const Sight sight(p, batch, query_block);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, parts_of_head = (sight.visible + kOfWarp - 1) / kOfWarp, parts = static_cast<int>(heads) * parts_of_head;
  unsigned ranks[kEach];
  int groups = 0;
  const auto read = [&](int part) {
    const int first = part % parts_of_head * kOfWarp;
    const float* scores = p.scores + (batch * p.lists_of_batch + part / parts_of_head * p.query_blocks + query_block) * p.key_blocks;
    groups = min((sight.visible - first + 31) / 32, kEach);
#pragma unroll
    for (int j = 0; j < kEach; j++) {
      const int block = first + 32 * j + lane;
      ranks[j] = block < sight.visible && !sight.forced(block) ? rank_of(scores[block]) : 0;
    }
  };
  const auto count_here = [&](unsigned bound) { return count_of(ranks, groups, bound); };
  if (Stays && warp < parts) read(warp);
  const auto count = [&](unsigned bound) {
    int n = 0;
    if constexpr (Stays) {
      n = count_here(bound);
    } else {
      for (int part = warp; part < parts; part += kWarps) read(part), n += count_here(bound);
    }
    return team.sum(n);
  };
  int forced = 0;
  for (int block = threadIdx.x; block < sight.visible; block += kSharedThreads) forced += sight.forced(block);
  forced = team.sum(forced);
  const int64_t budget = static_cast<int64_t>(ceil(static_cast<double>(sight.visible) * static_cast<double>(heads) * p.density - 1e-9)) - forced * heads;
  float last = INFINITY;
  if (budget > 0) {
    unsigned bound = 0;
    for (unsigned bit = kHighest; bit != 0; bit >>= 1)
      if (count(bound | bit) >= budget) bound |= bit;
    last = bound > 0 ? score_of(bound) : 0.0f;
  }
  if (threadIdx.x == 0) bounds[blockIdx.x] = last;
}

template <bool ByMass>
int launch(const SelectBlocksParams& p, cudaStream_t stream) {
  if (p.key_blocks <= kOfWarp) {
    constexpr int kLists = kThreads / 32;
    select_kernel<1, ByMass><<<static_cast<unsigned>((p.lists + kLists - 1) / kLists), kThreads, 0, stream>>>(p);
  } else {
    select_kernel<kThreads / 32, ByMass><<<static_cast<unsigned>(p.lists), kThreads, 0, stream>>>(p);
  }
  return cudaGetLastError();
}

}  // namespace

int select_blocks_cuda(const SelectBlocksParams& p, void* stream) {
  return p.bounds == nullptr && p.mass < 1.0 ? launch<true>(p, static_cast<cudaStream_t>(stream)) : launch<false>(p, static_cast<cudaStream_t>(stream));
}

int shared_bounds_cuda(const SelectBlocksParams& p, float* bounds, void* stream_) {
  const auto stream = static_cast<cudaStream_t>(stream_);
  const int64_t heads = p.lists_of_batch / p.query_blocks, parts = heads * ((p.key_blocks + kOfWarp - 1) / kOfWarp);
  const auto grid = static_cast<unsigned>(p.lists / heads);
  if (parts <= kSharedThreads / 32) {
    shared_bounds_kernel<true><<<grid, kSharedThreads, 0, stream>>>(p, bounds);
  } else {
    shared_bounds_kernel<false><<<grid, kSharedThreads, 0, stream>>>(p, bounds);
  }
  return cudaGetLastError();
}

}  // namespace deepseek
