// A block takes a row, keeps somewhat more than its k greatest, finds the k-th of these and sorts what reaches it: shared memory
// fills in any order, the sort makes the result the same each time.
#include "topk/topk_row.cuh"

namespace deepseek {
namespace {

__device__ __forceinline__ void exchange(uint64_t& mine, uint64_t other, bool greater) { mine = (mine > other) == greater ? mine : other; }

// Bitonic, greatest first, over kEach · kThreads elements: element t · kEach + e is register e of thread t, so that most
// exchanges stay within a thread or a warp; the others go through shared memory, laid out so that banks do not clash.
template <int kThreads, int kEach>
__device__ void sort(uint64_t* kept, uint32_t count) {
  static_assert(2 * kEach * kThreads <= kRoom);
  uint64_t value[kEach], *room = kept;
  const uint32_t first = threadIdx.x * kEach;
#pragma unroll
  for (int e = 0; e < kEach; e++) value[e] = first + e < count ? kept[first + e] : 0;
#pragma unroll 1
  for (uint32_t size = 2; size <= kEach * kThreads; size *= 2) {
#pragma unroll 1
    for (uint32_t stride = size / 2; stride >= 32 * kEach; stride /= 2) {
      // Two places in turn: what is read now is written again only behind the next barrier.
      room = room == kept ? kept + kEach * kThreads : kept;
#pragma unroll
      for (int e = 0; e < kEach; e++) room[e * kThreads + threadIdx.x] = value[e];
      __syncthreads();
      const bool greater = ((first & stride) == 0) == ((first & size) == 0);
#pragma unroll
      for (int e = 0; e < kEach; e++) exchange(value[e], room[e * kThreads + (threadIdx.x ^ (stride / kEach))], greater);
    }
#pragma unroll
    for (uint32_t stride = 16 * kEach; stride >= kEach; stride /= 2) {
      if (stride >= size) continue;
      const bool greater = ((first & stride) == 0) == ((first & size) == 0);
#pragma unroll
      for (int e = 0; e < kEach; e++) exchange(value[e], __shfl_xor_sync(0xffffffffu, value[e], stride / kEach), greater);
    }
#pragma unroll
    for (int stride = kEach / 2; stride > 0; stride /= 2) {
      if (stride >= static_cast<int>(size)) continue;
#pragma unroll
      for (int e = 0; e < kEach; e++) {
        if ((e & stride) != 0) continue;
        const bool descending = ((first + e) & size) == 0;
        const uint64_t low = value[e], high = value[e + stride];
        const bool swap = (low < high) == descending;
        value[e] = swap ? high : low;
        value[e + stride] = swap ? low : high;
      }
    }
  }
  __syncthreads();
#pragma unroll
  for (int e = 0; e < kEach; e++) kept[first + e] = value[e];
  __syncthreads();
}

template <class T, int kThreads>
__global__ void __launch_bounds__(kThreads, kThreads == 512 ? 3 : 1) topk_kernel(const __grid_constant__ TopkParams p) {
  __shared__ Shared shared;
  const int64_t n = p.columns, row = blockIdx.x;
  const auto k = static_cast<uint32_t>(p.k);
  const T* x = static_cast<const T*>(p.x) + row * n;
  const uint32_t count = keep_greatest<T, kThreads>(x, n, k, p.largest, shared);
  __syncthreads();
  if (count > k) {
    uint64_t own[kRoom / kThreads];
    take_share<kThreads>(own, count, shared);
    const uint64_t least = greatest_rank<kThreads>(own, k, shared);
    if (threadIdx.x == 0) shared.count = 0;
    __syncthreads();
#pragma unroll
    for (int e = 0; e < kRoom / kThreads; e++) {
      if (own[e] >= least) shared.kept[atomicAdd(&shared.count, 1u)] = own[e];
    }
    __syncthreads();
  }
  // k is 2048 at most.
  if (k <= kThreads) {
    sort<kThreads, 1>(shared.kept, k);
  } else if (kThreads == 1024 || k <= 2 * kThreads) {
    sort<kThreads, 2>(shared.kept, k);
  } else {
    sort<kThreads, kThreads == 1024 ? 2 : 4>(shared.kept, k);
  }
  for (uint32_t i = threadIdx.x; i < k; i += kThreads) {
    const uint32_t index = 0xffffffffu - static_cast<uint32_t>(shared.kept[i]);
    static_cast<T*>(p.values)[row * p.k + i] = x[index];
    p.indices[row * p.k + i] = index;
  }
}

template <class T>
void launch(const TopkParams& p) {
  const auto stream = static_cast<cudaStream_t>(p.stream);
  const auto rows = static_cast<unsigned>(p.rows);
  if (p.rows <= multiprocessors()) {
    topk_kernel<T, 1024><<<rows, 1024, 0, stream>>>(p);
  } else {
    topk_kernel<T, 512><<<rows, 512, 0, stream>>>(p);
  }
}

}  // namespace

int topk_cuda(const TopkParams& p) {
  if (p.k > kTopkCudaMaximum || p.rows > 0x7fffffff) return cudaErrorInvalidValue;
  if (p.type == kBFloat16) {
    launch<bf16>(p);
  } else if (p.type == kFloat16) {
    launch<f16>(p);
  } else {
    launch<float>(p);
  }
  return cudaGetLastError();
}

}  // namespace deepseek
