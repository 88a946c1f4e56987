// What the Hopper kernels of block-sparse attention share.
#pragma once

#include "tensor_map.cuh"

#include "common/by_type.cuh"

namespace deepseek::hopper {

constexpr float kLn2 = 0.69314718055994530942f;
constexpr float kLog2e = 1.44269504088896340736f;

__device__ __forceinline__ int length_or(const int32_t* lengths, int batch, int64_t all) {
  return lengths == nullptr ? static_cast<int>(all) : min(max(lengths[batch], 0), static_cast<int>(all));
}

// A word of shared memory that the copying warp writes anew, read by the lane that gives the place back and handed to the rest of its warp.
__device__ __forceinline__ int read_once(const int& word) {
  int value = 0;
  if (threadIdx.x % 32 == 0) value = word;
  return __shfl_sync(~0u, value, 0);
}

// The n-th query tile: key heads outermost, so that neighbours read the same keys; late rows first, since they see most.
template <int Rows>
struct QueryTile {
  int batch, head, kv_head, row;
  __device__ QueryTile(const SparseAttentionParams& p, int number) {
    const int group = static_cast<int>(p.heads / p.kv_heads), tiles = static_cast<int>((p.queries + Rows - 1) / Rows);
    const int pair = number / (tiles * group), rest = number % (tiles * group);
    batch = pair / static_cast<int>(p.kv_heads);
    kv_head = pair % static_cast<int>(p.kv_heads);
    head = kv_head * group + rest % group;
    row = (tiles - 1 - rest / group) * Rows;
  }
  __device__ int64_t list(const SparseAttentionParams& p) const {
    return (batch * p.index_heads + head / (p.heads / p.index_heads)) * p.query_blocks + row / p.block_q;
  }
};

// Walks a tile's list of key blocks in pieces of Keys; called by a whole warp.
template <int Keys>
class KeyBlocks {
 public:
  __device__ KeyBlocks(const SparseAttentionParams& p, int64_t list, bool any)
      : p_(p), index_(p.block_index + list * p.max_blocks), pieces_(static_cast<int>(p.block_k) / Keys),
        count_(any ? min(max(p.block_count[list], 0), static_cast<int>(p.max_blocks)) : 0) {}
  __device__ int steps() const { return count_ * pieces_; }
  // First key of a step; steps are asked for in order. An entry that names no block gives keys that do not exist.
  __device__ int column(int step) {
    const int entry = step / pieces_, piece = step - entry * pieces_, lane = threadIdx.x % 32;
    if (entry % 32 == 0 && piece == 0) entries_ = entry + lane < count_ ? index_[entry + lane] : 0;
    const int block = __shfl_sync(~0u, entries_, entry % 32);
    return block >= 0 && block < p_.key_blocks ? block * static_cast<int>(p_.block_k) + piece * Keys : static_cast<int>(p_.keys);
  }

 private:
  const SparseAttentionParams& p_;
  const int32_t* index_;
  int pieces_, count_, entries_ = 0;
};

// Rows of a panelled tile from `kept` on become 0 (by one warpgroup): what stands behind a sequence's end must not count,
// and 0 times NaN is NaN. Two warpgroups may do it at once, since both write zeros.
template <int Rows, int Panels>
__device__ __forceinline__ void clear_rows(uint8_t* tile, int kept) {
  for (int panel = 0; panel < Panels; panel++)
    for (int at = max(kept, 0) * 128 + threadIdx.x % 128 * 16; at < Rows * 128; at += 128 * 16)
      *reinterpret_cast<uint4*>(tile + panel * Rows * 128 + at) = make_uint4(0, 0, 0, 0);
}
__device__ __forceinline__ void rows_cleared(int group) {
  async_proxy_fence();
  named_sync(4 + group, 128);
}

// By one thread: a tile of Panels panels at (row, head, batch).
template <int Panels>
__device__ __forceinline__ void copy_tile(uint8_t* to, int panel_bytes, const CUtensorMap* map, uint64_t* bar, int row, int head, int batch) {
#pragma unroll
  for (int panel = 0; panel < Panels; panel++) copy_box(to + panel * panel_bytes, map, bar, panel * 64, row, head, batch);
}

// d[64 x N] (+)= a[64 x Dim] * b[N x Dim]^T, both in shared memory. Issued, not awaited.
template <class T, int N, int Dim>
__device__ __forceinline__ void multiply_rows(float (&d)[N / 2], uint64_t a, int a_panel, uint64_t b, int b_panel) {
#pragma unroll
  for (int i = 0; i < Dim / 16; i++) {
    const int panel = i / 4, inner = i % 4 * 2;
    Product<T, N, false>::shared(d, a + panel * (a_panel >> 4) + inner, b + panel * (b_panel >> 4) + inner, i == 0);
  }
}
// d[64 x Dim] += a[64 x Depth] * b[Depth x Dim], a in registers.
template <class T, int Depth, int Dim>
__device__ __forceinline__ void multiply_columns(float (&d)[Dim / 2], const uint32_t (&a)[Depth / 4], uint64_t b) {
#pragma unroll
  for (int i = 0; i < Depth / 16; i++) Product<T, Dim, true>::registers(d, a + i * 4, b + i * (2048 >> 4), false);
}

// A thread's two rows (8 apart) of a 64 x Dim accumulator, times `factor`, to global memory; rows that do not exist give 0.
template <class T, int Dim>
__device__ __forceinline__ void store_rows(const AttentionTensor& t, int batch, int head, int row, int rows, int existing, const float (&d)[Dim / 2], const float (&factor)[2]) {
  T* base = static_cast<T*>(t.data) + batch * t.batch_stride + head * t.head_stride + threadIdx.x % 4 * 2;
#pragma unroll
  for (int r = 0; r < 2; r++) {
    const int at = row + 8 * r;
    if (at >= rows) continue;
    T* line = base + at * t.row_stride;
    const bool exists = at < existing;
#pragma unroll
    for (int j = 0; j < Dim / 8; j++)
      *reinterpret_cast<uint32_t*>(line + j * 8) = exists ? pack<T>(d[4 * j + 2 * r] * factor[r], d[4 * j + 2 * r + 1] * factor[r]) : 0u;
  }
}

// Running maximum and sum of the two rows that a thread holds of an accumulator.
struct Softmax {
  float maximum[2], sum[2];

  // Scores to probabilities relative to the running maximum; returns the factors of what was summed before.
  template <int N>
  __device__ __forceinline__ void step(float (&s)[N], float scale, float (&factor)[2]) {
#pragma unroll
    for (int r = 0; r < 2; r++) {
      float m = maximum[r];
#pragma unroll
      for (int j = 0; j < N; j += 4) m = fmaxf(m, fmaxf(s[j + 2 * r], s[j + 2 * r + 1]));
      m = fmaxf(m, __shfl_xor_sync(~0u, m, 1));
      m = fmaxf(m, __shfl_xor_sync(~0u, m, 2));
      const float shift = m == -INFINITY ? 0.0f : m * scale;  // nothing seen yet: exp(-inf) and not exp(-inf + inf)
      factor[r] = exp2_fast(maximum[r] * scale - shift);
      maximum[r] = m;
      sum[r] = sum[r] * factor[r] + exponentials(s, scale, shift, r);
    }
  }

  // The same, but a maximum that grows by less than 2^8 is left as it is: sums stay far inside float32, probabilities keep their relative
  // precision, and what was summed before needs no factor. Says whether a row of the warp has one.
  template <int N>
  __device__ __forceinline__ bool lazy_step(float (&s)[N], float scale, float (&factor)[2]) {
    bool grown[2];
    float m[2];
#pragma unroll
    for (int r = 0; r < 2; r++) {
      m[r] = maximum[r];
#pragma unroll
      for (int j = 0; j < N; j += 4) m[r] = fmaxf(m[r], fmaxf(s[j + 2 * r], s[j + 2 * r + 1]));
      m[r] = fmaxf(m[r], __shfl_xor_sync(~0u, m[r], 1));
      m[r] = fmaxf(m[r], __shfl_xor_sync(~0u, m[r], 2));
      grown[r] = (m[r] - maximum[r]) * scale > 8.0f;
    }
    const bool any = __any_sync(~0u, grown[0] || grown[1]);
    if (any) {
#pragma unroll
      for (int r = 0; r < 2; r++) {
        factor[r] = grown[r] ? exp2_fast(maximum[r] * scale - m[r] * scale) : 1.0f;
        maximum[r] = grown[r] ? m[r] : maximum[r];
        sum[r] *= factor[r];
      }
    }
#pragma unroll
    for (int r = 0; r < 2; r++) {
      const float shift = maximum[r] == -INFINITY ? 0.0f : maximum[r] * scale;  // nothing seen yet: exp(-inf) and not exp(-inf + inf)
      sum[r] += exponentials(s, scale, shift, r);
    }
    return any;
  }

 private:
  // Scores of row r to exponentials relative to its shift; their sum.
  template <int N>
  __device__ __forceinline__ float exponentials(float (&s)[N], float scale, float shift, int r) {
    float total = 0.0f;
#pragma unroll
    for (int j = 0; j < N; j += 4) {
      s[j + 2 * r] = exp2_fast(fmaf(s[j + 2 * r], scale, -shift));
      s[j + 2 * r + 1] = exp2_fast(fmaf(s[j + 2 * r + 1], scale, -shift));
      total += s[j + 2 * r] + s[j + 2 * r + 1];
    }
    return total;
  }
};

template <class Kernel>
int launch_persistent(Kernel kernel, int tiles, int per_processor, int threads, int bytes, int32_t* counter, cudaStream_t stream, void** arguments) {
  int device = 0, processors = 0;
  auto status = cudaGetDevice(&device);
  if (status == cudaSuccess) status = cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
  if (status == cudaSuccess) status = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  if (status == cudaSuccess) status = cudaMemsetAsync(counter, 0, sizeof(int32_t), stream);
  if (status != cudaSuccess) return status;
  const int blocks = processors * per_processor;
  return cudaLaunchKernel(reinterpret_cast<const void*>(kernel), dim3(tiles < blocks ? tiles : blocks), dim3(threads), arguments, bytes, stream);
}

}  // namespace deepseek::hopper
