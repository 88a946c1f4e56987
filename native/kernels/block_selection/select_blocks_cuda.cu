// The choice of blocks: one query block a thread block; scores are sorted in shared memory, so the choice is exact.
#include <cuda_runtime.h>

#include "block_selection.h"

namespace deepseek {
namespace {

constexpr int kThreads = 256;

__device__ __forceinline__ int64_t floor_zero(int64_t a, int64_t b) { return a < 0 ? 0 : a / b; }

__global__ void __launch_bounds__(kThreads) select_kernel(const SelectBlocksParams p) {
  extern __shared__ unsigned long long ranks[];
  __shared__ int forced_count, kept;
  const int64_t list = blockIdx.x, batch = list / p.lists_of_batch, row = list % p.query_blocks * p.block_q;
  const int64_t queries = p.q_lengths != nullptr ? min(max(static_cast<int64_t>(p.q_lengths[batch]), int64_t{0}), p.queries) : p.queries;
  const int64_t keys = p.k_lengths != nullptr ? min(max(static_cast<int64_t>(p.k_lengths[batch]), int64_t{0}), p.keys) : p.keys, shift = keys - queries;
  const float* scores = p.scores + list * p.key_blocks;
  const int64_t last_key = min(min(row + p.block_q, queries) - 1 + shift, keys - 1);
  const int first = static_cast<int>(floor_zero(min(row + shift, keys - 1), p.block_k)), last = last_key < 0 ? -1 : static_cast<int>(last_key / p.block_k);
  const int visible = row >= queries ? 0 : p.causal ? last + 1 : static_cast<int>((keys + p.block_k - 1) / p.block_k);
  int size = 1;
  while (size < visible) size *= 2;
  if (threadIdx.x == 0) forced_count = 0;
  __syncthreads();
  int mine = 0;
  for (int i = threadIdx.x; i < size; i += kThreads) {
    const bool forced = i < visible && ((i >= first - p.window && i <= last + p.window) || i < p.sink);
    const unsigned rank = forced ? 0xFFFFFFFFu : i < visible ? __float_as_uint(fmaxf(scores[i], 0.0f)) : 0u;
    ranks[i] = i < visible ? static_cast<unsigned long long>(rank) << 32 | (0xFFFFFFFFu - i) : 0ull;
    mine += forced;
  }
  atomicAdd(&forced_count, mine);
  // Bitonic sort, descending; equal scores by lowest block.
  for (int run = 2; run <= size; run *= 2) {
    for (int step = run / 2; step > 0; step /= 2) {
      __syncthreads();
      for (int i = threadIdx.x; i < size; i += kThreads) {
        const int other = i ^ step;
        if (other > i) {
          const auto a = ranks[i], b = ranks[other];
          if ((i & run) == 0 ? a < b : a > b) ranks[i] = b, ranks[other] = a;
        }
      }
    }
  }
  __syncthreads();
  const int lane = threadIdx.x % 32;
  const auto block_at = [&](int i) { return static_cast<int>(0xFFFFFFFFu - static_cast<unsigned>(ranks[i])); };
  if (threadIdx.x < 32) {
    int target = p.density >= 1.0 ? visible : static_cast<int>(ceil(visible * p.density - 1e-9));
    if (p.bounds != nullptr) {
      const float bound = p.bounds[batch * p.query_blocks + list % p.query_blocks];
      int reach = 0;
      for (int i = forced_count + lane; i < visible; i += 32) {
        const float score = scores[block_at(i)];
        reach += score >= bound && score > 0.0f;
      }
      for (int step = 16; step > 0; step /= 2) reach += __shfl_xor_sync(~0u, reach, step);
      target = forced_count + reach;
    } else if (p.mass < 1.0) {
      double total = 0.0, before = 0.0;
      for (int i = lane; i < visible; i += 32) total += fmaxf(scores[i], 0.0f);
      for (int step = 16; step > 0; step /= 2) total += __shfl_xor_sync(~0u, total, step);
      int reached = 0;
      for (int i = lane; i - lane < visible; i += 32) {
        double running = i < visible ? fmaxf(scores[block_at(i)], 0.0f) : 0.0;
        for (int step = 1; step < 32; step *= 2) {
          const double left = __shfl_up_sync(~0u, running, step);
          if (lane >= step) running += left;
        }
        running += before;
        reached += __popc(__ballot_sync(~0u, i < visible && running < total * p.mass));
        before = __shfl_sync(~0u, running, 31);
      }
      target = min(target, reached + 1);
    }
    target = max(max(target, p.min_blocks), forced_count);
    if (lane == 0) kept = min(min(target, visible), static_cast<int>(p.max_blocks));
  }
  __syncthreads();
  // Chosen blocks become flags in what was the sorted part's place, then an ascending list.
  const int count = kept;
  int chosen[32];  // 8192 blocks over 256 threads
#pragma unroll
  for (int n = 0; n < 32; n++) chosen[n] = n * kThreads + static_cast<int>(threadIdx.x) < count ? block_at(n * kThreads + threadIdx.x) : -1;
  __syncthreads();
  auto* flags = reinterpret_cast<unsigned char*>(ranks);
  for (int i = threadIdx.x; i < size; i += kThreads) flags[i] = 0;
  __syncthreads();
#pragma unroll
  for (int n = 0; n < 32; n++)
    if (chosen[n] >= 0) flags[chosen[n]] = 1;
  __syncthreads();
  int32_t* index = p.block_index + list * p.max_blocks;
  if (threadIdx.x < 32) {
    int written = 0;
    for (int i = lane; i - lane < visible; i += 32) {
      const bool flag = i < visible && flags[i] != 0;
      const unsigned vote = __ballot_sync(~0u, flag);
      if (flag) index[written + __popc(vote & ((1u << lane) - 1))] = i;
      written += __popc(vote);
    }
    if (lane == 0) p.block_count[list] = count;
  }
  for (int64_t i = count + threadIdx.x; i < p.max_blocks; i += kThreads) index[i] = -1;
}

}  // namespace

int select_blocks_cuda(const SelectBlocksParams& p, void* stream) {
  int size = 1;
  while (size < p.key_blocks) size *= 2;
  const int bytes = size * static_cast<int>(sizeof(unsigned long long));
  const auto status = cudaFuncSetAttribute(select_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  if (status != cudaSuccess) return status;
  select_kernel<<<static_cast<unsigned>(p.lists), kThreads, bytes, static_cast<cudaStream_t>(stream)>>>(p);
  return cudaGetLastError();
}

}  // namespace deepseek
