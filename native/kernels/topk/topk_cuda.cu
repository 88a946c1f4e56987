// Somewhat more than a row's k greatest are kept in shared memory, in any order, and sorted by counting: an element's place is the
// number of greater ones, so the result is the same each time.
#include "topk/topk_row.cuh"

#include <type_traits>

namespace deepseek {
namespace {

constexpr int kBlocksMost = 8;  // of a cluster
constexpr int64_t kPart = 65536;  // elements of a row that are worth a block

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
#define DS_NO_CLUSTER
#endif

__device__ __forceinline__ uint32_t cluster_blocks() {
  uint32_t value = 1;
#ifndef DS_NO_CLUSTER
  asm("mov.u32 %0, %%cluster_nctaid.x;" : "=r"(value));
#endif
  return value;
}
__device__ __forceinline__ uint32_t cluster_block() {
  uint32_t value = 0;
#ifndef DS_NO_CLUSTER
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(value));
#endif
  return value;
}
// What was written to shared memory before the arrival is seen by all blocks of the cluster behind the wait.
__device__ __forceinline__ void cluster_arrive() {
#ifndef DS_NO_CLUSTER
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
#endif
}
__device__ __forceinline__ void cluster_await() {
#ifndef DS_NO_CLUSTER
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#endif
}
// From the same place in another block's shared memory.
__device__ __forceinline__ uint32_t place_of(const void* here, uint32_t block) {
  uint32_t place = static_cast<uint32_t>(__cvta_generic_to_shared(here));
#ifndef DS_NO_CLUSTER
  asm("mapa.shared::cluster.u32 %0, %0, %1;" : "+r"(place) : "r"(block));
#endif
  return place;
}
__device__ __forceinline__ uint32_t load_of(const uint32_t* here, uint32_t block) {
  uint32_t value = 0;
#ifndef DS_NO_CLUSTER
  asm volatile("ld.shared::cluster.u32 %0, [%1];" : "=r"(value) : "r"(place_of(here, block)) : "memory");
#endif
  return value;
}
__device__ __forceinline__ uint64_t load_of(const uint64_t* here, uint32_t block) {
  uint64_t value = 0;
#ifndef DS_NO_CLUSTER
  asm volatile("ld.shared::cluster.u64 %0, [%1];" : "=l"(value) : "r"(place_of(here, block)) : "memory");
#endif
  return value;
}

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

// Where an element goes, first by its key's place between the least and the greatest that are kept; where keys are few (16-bit
// types, or many equal ones), then by its index. Never further back than an element before it in the result's order.
template <class T>
struct Buckets {
  static constexpr int kUnused = sizeof(T) == 4 ? 0 : std::is_same<T, bf16>::value ? 16 : 13;  // low bits that are the same in all keys
  uint32_t top, scale, share, of_index;

  __device__ Buckets(uint32_t least, uint32_t greatest, int64_t n) : top(greatest >> kUnused) {
    const uint32_t range = top - (least >> kUnused);
    const float most = 4294967040.0f;  // the greatest float under 2^32
    share = range < kDigits ? kDigits / (range + 1) : 0;
    scale = range < kDigits ? 0 : static_cast<uint32_t>(4294967296.0f * kDigits / (static_cast<float>(range) + 1.0f));
    of_index = static_cast<uint32_t>(fminf(4294967296.0f * static_cast<float>(share) / static_cast<float>(n), most));
  }
  __device__ __forceinline__ uint32_t of(uint64_t element) const {
    const uint32_t below = top - (static_cast<uint32_t>(element >> 32) >> kUnused);
    const uint32_t bucket = share == 0 ? __umulhi(below, scale) : below * share + __umulhi(0xffffffffu - static_cast<uint32_t>(element), of_index);
    return min(bucket, static_cast<uint32_t>(kDigits - 1));
  }
};

// The result at its place. The value is in the key but for zero's sign and NaN's bits.
template <class T>
__device__ __forceinline__ void write(const TopkParams& p, const T* x, int64_t row, uint32_t place, uint64_t element) {
  const uint32_t index = 0xffffffffu - static_cast<uint32_t>(element);
  const float value = float_of(static_cast<uint32_t>(element >> 32), p.largest);
  static_cast<T*>(p.values)[row * p.k + place] = value == 0.0f || value != value ? x[index] : from_float<T>(value);
  p.indices[row * p.k + place] = index;
}

// A row is taken by a block, or by the blocks of a cluster: each reads a part of it, takes all that the others kept, and writes
// a part of the result.
template <class T, int kThreads, bool kCluster>
__global__ void __launch_bounds__(kThreads, kThreads == 512 ? 3 : 1) topk_kernel(const __grid_constant__ TopkParams p) {
  constexpr int kEach = kRoom / kThreads;
  constexpr uint32_t kCrowd = 256;  // elements of a bucket, each of which is compared with all
  __shared__ Shared shared;
  const uint32_t blocks = kCluster ? cluster_blocks() : 1, block = kCluster ? cluster_block() : 0;
  const int64_t n = p.columns, row = blockIdx.x / blocks;
  const auto k = static_cast<uint32_t>(p.k);
  const T* x = static_cast<const T*>(p.x) + row * n;
  const int64_t part = kCluster ? (n / blocks + 8) / 8 * 8 : n, begin = min(n, part * block), end = min(n, begin + part);
  clear<kThreads>(shared);
  uint32_t bound = 0;
  if (n > kRoom) bound = sampled_bound<T, kThreads>(x, n, k, p.largest, shared);
  if (threadIdx.x == 0) shared.bound = bound;
  uint32_t count = keep_reaching<T, kThreads>(x, begin, end, bound, n <= kRoom, p.largest, shared);
  uint64_t own[kEach];
  bool good;
  if (kCluster) {
    cluster_arrive();
    cluster_await();
    uint32_t before[kBlocksMost + 1] = {};
#pragma unroll
    for (int b = 0; b < kBlocksMost; b++) before[b + 1] = before[b] + (b < blocks ? load_of(&shared.count, b) : 0);
    count = before[kBlocksMost];
    good = count >= k && count <= kRoom;
#pragma unroll
    for (int e = 0; e < kEach; e++) {
      const uint32_t place = e * kThreads + threadIdx.x;
      uint32_t from = 0, start = 0;
#pragma unroll
      for (int b = 1; b < kBlocksMost; b++) {
        if (place >= before[b]) from = b, start = before[b];
      }
      own[e] = good && place < count ? load_of(&shared.kept[place - start], from) : 0;
    }
    cluster_arrive();
  } else {
    good = count >= k && count <= kRoom;
    take_share<kThreads>(own, good ? count : 0, shared);
  }
  if (!good) {
    if (kCluster) cluster_await();
    if (block != 0) return;
    __syncthreads();
    keep_exactly<T, kThreads>(x, n, k, p.largest, shared);
    count = k;
    take_share<kThreads>(own, count, shared);
  }

  // Sorted by counting: a bucket's elements lie together, and within it each counts those before it.
  uint32_t greatest = 0, least = 0xffffffffu;
#pragma unroll
  for (int e = 0; e < kEach; e++) {
    greatest = max(greatest, static_cast<uint32_t>(own[e] >> 32));
    if (own[e] != 0) least = min(least, static_cast<uint32_t>(own[e] >> 32));
  }
  const int lane = threadIdx.x % 32;
  greatest = __reduce_max_sync(0xffffffffu, greatest), least = __reduce_min_sync(0xffffffffu, least);
  if (lane == 0) shared.warps[0][threadIdx.x / 32] = make_uint2(greatest, least);
  __syncthreads();
  const uint2 of_warp = shared.warps[0][lane % (kThreads / 32)];
  const Buckets<T> buckets(__reduce_min_sync(0xffffffffu, of_warp.y), __reduce_max_sync(0xffffffffu, of_warp.x), n);
  uint32_t at[kEach];
#pragma unroll
  for (int e = 0; e < kEach; e++) {
    const uint32_t bucket = buckets.of(own[e]);
    at[e] = own[e] == 0 ? 0 : bucket | atomicAdd(&shared.counts[bucket], 1u) * kDigits;
  }
  __syncthreads();
  constexpr int kCounters = kDigits / kThreads;
  uint32_t counter[kCounters], sum = 0, crowd = 0, all;
#pragma unroll
  for (int e = 0; e < kCounters; e++) {
    counter[e] = shared.counts[threadIdx.x * kCounters + e];
    sum += counter[e];
    crowd = max(crowd, counter[e]);
  }
  uint32_t start = sum_before<kThreads>(sum, shared.warps[1], all);
#pragma unroll
  for (int e = 0; e < kCounters; e++) {
    shared.counts[threadIdx.x * kCounters + e] = start;
    start += counter[e];
  }
  if (kCluster && good) cluster_await();  // the others have taken what is written over now
  if (__syncthreads_or(crowd > kCrowd) == 0) {
#pragma unroll
    for (int e = 0; e < kEach; e++) {
      if (own[e] != 0) shared.kept[shared.counts[at[e] % kDigits] + at[e] / kDigits] = own[e];
    }
    __syncthreads();
    // The blocks share by where buckets begin: within one, the order here is chance.
    const uint32_t sharing = good ? blocks : 1;
    for (uint32_t i = threadIdx.x; i < count; i += kThreads) {
      const uint64_t element = shared.kept[i];
      const uint32_t bucket = buckets.of(element), from = shared.counts[bucket], to = bucket + 1 < kDigits ? shared.counts[bucket + 1] : count;
      uint32_t place = from;
      if (place >= k || place / 32 % sharing != block) continue;
      for (uint32_t j = from; j < to; j++) place += shared.kept[j] > element;
      if (place < k) write<T>(p, x, row, place, element);
    }
    return;
  }

  // Crowded buckets: the k-th is found, and what reaches it sorted.
  if (block != 0) return;
  if (count > k) {
    const uint64_t least_kept = greatest_rank<kThreads>(own, k, shared);
    if (threadIdx.x == 0) shared.count = 0;
    __syncthreads();
#pragma unroll
    for (int e = 0; e < kEach; e++) {
      if (own[e] >= least_kept) shared.kept[atomicAdd(&shared.count, 1u)] = own[e];
    }
  } else {
#pragma unroll
    for (int e = 0; e < kEach; e++) {
      if (own[e] != 0) shared.kept[e * kThreads + threadIdx.x] = own[e];
    }
  }
  __syncthreads();
  // k is 2048 at most.
  if (k <= kThreads) {
    sort<kThreads, 1>(shared.kept, k);
  } else if (kThreads == 1024 || k <= 2 * kThreads) {
    sort<kThreads, 2>(shared.kept, k);
  } else {
    sort<kThreads, kThreads == 1024 ? 2 : 4>(shared.kept, k);
  }
  for (uint32_t i = threadIdx.x; i < k; i += kThreads) write<T>(p, x, row, i, shared.kept[i]);
}

template <class T>
int launch(const TopkParams& p) {
  const auto stream = static_cast<cudaStream_t>(p.stream);
  const auto rows = static_cast<unsigned>(p.rows);
  if (p.rows > multiprocessors()) {
    topk_kernel<T, 512, false><<<rows, 512, 0, stream>>>(p);
    return cudaGetLastError();
  }
  unsigned blocks = 1;
  if (on_hopper()) {
    // Not beyond half of the device: 64 rows of 131072 are faster with a block each.
    while (blocks < kBlocksMost && 4 * blocks * p.rows <= multiprocessors() && p.columns >= blocks * 2 * kPart) blocks *= 2;
  }
  if (blocks == 1) {
    topk_kernel<T, 1024, false><<<rows, 1024, 0, stream>>>(p);
    return cudaGetLastError();
  }
  cudaLaunchConfig_t config{};
  cudaLaunchAttribute cluster{};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim = {blocks, 1, 1};
  config.gridDim = dim3(rows * blocks);
  config.blockDim = dim3(1024);
  config.stream = stream;
  config.attrs = &cluster;
  config.numAttrs = 1;
  return cudaLaunchKernelEx(&config, topk_kernel<T, 1024, true>, p);
}

}  // namespace

int topk_cuda(const TopkParams& p) {
  if (p.k > kTopkCudaMaximum || p.rows > 0x7fffffff) return cudaErrorInvalidValue;
  return p.type == kBFloat16 ? launch<bf16>(p) : p.type == kFloat16 ? launch<f16>(p) : launch<float>(p);
}

}  // namespace deepseek
