// What the indexer's kernels for Hopper share.
#pragma once

#include "common/tensor_map.cuh"
#include "indexer/indexer.h"

namespace deepseek::hopper {

constexpr int kColumns = 256;  // of a tile: heads of a few queries

// Rows of Dim bytes, swizzled over their whole length; 8 rows are 8 · Dim bytes. 32 elements further are 32 bytes further.
template <int Dim>
__device__ __forceinline__ uint64_t bytes_descriptor(const void* p) {
  static_assert(Dim == 64 || Dim == 128);
  return static_cast<uint64_t>((shared_address(p) & 0x3FFFF) >> 4) | (1ull << 16) | (static_cast<uint64_t>(Dim / 2) << 32) | ((Dim == 128 ? 1ull : 2ull) << 62);
}

__device__ __forceinline__ float relu(float x) {
  float y;
  asm("max.NaN.f32 %0, %1, 0f00000000;" : "=f"(y) : "f"(x));
  return y;
}

// Half of the columns: 128 / Heads queries. Of the logits of a quad's two rows a lane gets every fourth.
template <int Heads>
struct Half {
  static constexpr int kQueries = 128 / Heads, kSums = 2 * kQueries, kOwn = kSums / 4;
  static_assert(kOwn >= 1);
  // The lane's i-th logit belongs to query of(i) / 2 of the half, and to the row of(i) % 2 · 8 behind its first.
  static __device__ __forceinline__ int of(int i) {
    const int lane = threadIdx.x % 4;
    return lane / 2 * (kSums / 2) + lane % 2 * kOwn + i;
  }

  static __device__ __forceinline__ void sum(const float (&d)[64], const float (&weight)[32], float (&own)[kOwn]) {
    float sums[kSums];
#pragma unroll
    for (int i = 0; i < kSums; i++) sums[i] = 0.0f;
#pragma unroll
    for (int j = 0; j < 16; j++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        float& to = sums[j * 8 / Heads * 2 + e / 2];
        to = fmaf(relu(d[4 * j + e]), weight[2 * j + e % 2], to);
      }
    const bool upper = threadIdx.x % 4 / 2 != 0, odd = threadIdx.x % 2 != 0;
    float halves[kSums / 2];
#pragma unroll
    for (int i = 0; i < kSums / 2; i++) {
      const float send = upper ? sums[i] : sums[i + kSums / 2], keep = upper ? sums[i + kSums / 2] : sums[i];
      halves[i] = keep + __shfl_xor_sync(~0u, send, 2);
    }
#pragma unroll
    for (int i = 0; i < kOwn; i++) {
      const float send = odd ? halves[i] : halves[i + kOwn], keep = odd ? halves[i + kOwn] : halves[i];
      own[i] = keep + __shfl_xor_sync(~0u, send, 1);
    }
  }
};

// Rows of bytes [outer, rows, dim] in boxes of box_rows x dim; what lies outside reads as 0.
inline bool byte_map(CUtensorMap* map, const void* data, int64_t outer, int64_t rows, int64_t dim, int64_t outer_stride, int64_t row_stride, int box_rows) {
  const auto encode = tensor_map_encoder();
  if (encode == nullptr) return false;
  const cuuint64_t sizes[4] = {static_cast<cuuint64_t>(dim), static_cast<cuuint64_t>(rows), static_cast<cuuint64_t>(outer), 1};
  const cuuint64_t strides[3] = {static_cast<cuuint64_t>(row_stride), static_cast<cuuint64_t>(outer_stride), static_cast<cuuint64_t>(outer_stride)};
  const cuuint32_t box[4] = {static_cast<cuuint32_t>(dim), static_cast<cuuint32_t>(box_rows), 1, 1};
  const cuuint32_t steps[4] = {1, 1, 1, 1};
  return encode(map, CU_TENSOR_MAP_DATA_TYPE_UINT8, 4, const_cast<void*>(data), sizes, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
                dim == 128 ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_64B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

}  // namespace deepseek::hopper
