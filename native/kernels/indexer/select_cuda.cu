// The lists of the indexer's choice: of each row of logits the k greatest that the query sees, ties by the lowest key, ascending.
// Candidates are kept as in the operator `topk`; nothing is sorted: the k-th greatest is found by halving its range over
// candidates in registers, and a map with one bit a key brings the chosen into order.
#include "indexer/indexer.h"
#include "topk/topk_row.cuh"

namespace deepseek {
namespace {

constexpr int kThreads = 512;
constexpr uint32_t kWindow = kRoom * 64;  // keys whose bits fit where the candidates were

__global__ void __launch_bounds__(kThreads, 2) lists_kernel(const __grid_constant__ IndexerParams p, const float* logits, int64_t first, int64_t here) {
  __shared__ Shared shared;
  const int64_t b = blockIdx.x / here, t = first + blockIdx.x % here;
  const int64_t length = p.lengths == nullptr ? p.keys : min(max(static_cast<int64_t>(p.lengths[b]), int64_t{0}), p.keys);
  const int64_t seen = p.causal == 0 ? length : min(max(t + 1 + length - p.queries, int64_t{0}), length);
  const auto k = static_cast<uint32_t>(min(p.select, seen));
  int32_t* const list = p.index + (b * p.queries + t) * p.select;
  if (threadIdx.x == 0) p.count[b * p.queries + t] = static_cast<int32_t>(k);
  for (int64_t i = k + threadIdx.x; i < p.select; i += kThreads) list[i] = static_cast<int32_t>(p.keys);
  if (k == seen) {
    for (uint32_t i = threadIdx.x; i < k; i += kThreads) list[i] = static_cast<int32_t>(i);
    return;
  }
  const uint32_t count = keep_greatest<float, kThreads>(logits + blockIdx.x * p.keys, seen, k, true, shared);
  __syncthreads();
  uint64_t own[kRoom / kThreads];
  take_share<kThreads>(own, count, shared);
  const uint64_t least = count == k ? 1 : greatest_rank<kThreads>(own, k, shared);
  auto* const bits = reinterpret_cast<uint32_t*>(shared.kept);
  uint32_t written = 0;
  for (int64_t start = 0; start < seen; start += kWindow) {
    const auto words = static_cast<uint32_t>((min(seen - start, static_cast<int64_t>(kWindow)) + 31) / 32), each = (words + kThreads - 1) / kThreads;
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < words; i += kThreads) bits[i] = 0;
    __syncthreads();
#pragma unroll
    for (int e = 0; e < kRoom / kThreads; e++) {
      const int64_t key = static_cast<int64_t>(0xffffffffu - static_cast<uint32_t>(own[e])) - start;
      if (own[e] >= least && key >= 0 && key < kWindow) atomicOr(&bits[key / 32], 1u << key % 32);
    }
    __syncthreads();
    uint32_t mine = 0;
    for (uint32_t i = 0; i < each && threadIdx.x * each + i < words; i++) mine += __popc(bits[threadIdx.x * each + i]);
    // Sum over the threads before this one.
    uint32_t before = mine;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
    for (int step = 1; step < 32; step *= 2) {
      const uint32_t other = __shfl_up_sync(0xffffffffu, before, step);
      if (lane >= step) before += other;
    }
    if (lane == 31) shared.counts[warp] = before;
    __syncthreads();
    const uint32_t of_warp = lane < kThreads / 32 ? shared.counts[lane] : 0u;
    uint32_t place = written + before - mine + __reduce_add_sync(0xffffffffu, lane < warp ? of_warp : 0u);
    written += __reduce_add_sync(0xffffffffu, of_warp);
    for (uint32_t i = 0; i < each && threadIdx.x * each + i < words; i++) {
      const uint32_t word = threadIdx.x * each + i;
      for (uint32_t left = bits[word]; left != 0; left &= left - 1) list[place++] = static_cast<int32_t>(start + word * 32 + __ffs(static_cast<int>(left)) - 1);
    }
  }
}

}  // namespace

int indexer_lists_cuda(const IndexerParams& p, const float* logits, int64_t first, int64_t count) {
  if ((p.select < p.keys ? p.select : p.keys) > kTopkCudaMaximum) return cudaErrorInvalidValue;
  lists_kernel<<<static_cast<unsigned>(p.batch * count), kThreads, 0, static_cast<cudaStream_t>(p.stream)>>>(p, logits, first, count);
  return cudaGetLastError();
}

}  // namespace deepseek
