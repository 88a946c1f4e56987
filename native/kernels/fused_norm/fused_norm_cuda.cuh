// What the forward and backward kernels share.
#pragma once

#include "fused_norm/fused_norm.h"

#include "common/cuda_types.cuh"
#include "common/philox.h"

namespace deepseek {
namespace {

struct Mask {
  uint64_t seed, offset, blocks_of_row;
  uint32_t threshold;
  float scale;
};

__device__ __forceinline__ Mask mask_of(const NormParams& p, uint32_t threshold, float scale) {
  Mask mask{p.seed, p.offset, static_cast<uint64_t>((p.columns + 7) / 8), threshold, scale};
  if (p.rng != nullptr) {
    mask.seed += static_cast<uint64_t>(p.rng[0]);
    mask.offset += static_cast<uint64_t>(p.rng[1]);
  }
  return mask;
}

__device__ __forceinline__ PhiloxBlock random_of(const Mask& mask, int64_t row, int64_t block) {
  return philox(mask.seed, mask.offset, static_cast<uint64_t>(row) * mask.blocks_of_row + static_cast<uint64_t>(block));
}
__device__ __forceinline__ void drop(const Mask& mask, const PhiloxBlock& random, float (&value)[8]) {
#pragma unroll
  for (int i = 0; i < 8; i++) {
    const uint32_t bits = i % 2 == 0 ? random.word[i / 2] & 0xffffu : random.word[i / 2] >> 16;
    value[i] = bits >= mask.threshold ? value[i] * mask.scale : 0.0f;
  }
}
__device__ __forceinline__ void drop(const Mask& mask, int64_t row, int64_t block, float (&value)[8]) { drop(mask, random_of(mask, row, block), value); }

cudaStream_t stream_of(const NormParams& p) { return static_cast<cudaStream_t>(p.stream); }

bool vectorised(const NormParams& p) {
  const void* const pointers[] = {p.x, p.shift, p.residual, p.weight, p.bias, p.y, p.z, p.dy, p.dz, p.dx, p.dresidual};
  for (const void* pointer : pointers) {
    if (!aligned16(pointer)) return false;
  }
  return p.columns % 8 == 0;
}

}  // namespace
}  // namespace deepseek
