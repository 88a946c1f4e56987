// How the kernels walk over the matrix. A block covers a band of at most 256 vectors of 8 channels, tx of them, with ty rows beside
// each other, so that its threads read memory in one line; kUnroll such groups of rows are a tile, whose loads are all
// in flight together. Blocks stay on the device and take every gridDim.x-th tile. Reading passes start at the end, which the
// operator before has written last, and writing passes at the beginning, which the reading pass has read last: what the
// second-level cache still holds is used first.
#pragma once

#include "batch_norm/batch_norm.h"

#include "common/cuda_types.cuh"

namespace deepseek {
namespace {

constexpr int kThreads = 256;

// Groups of rows in flight: float32 takes twice the registers.
template <class T> constexpr int unrolled(int groups) { return sizeof(T) == 4 ? groups / 2 : groups; }

struct Walk {
  int tx, ty, bands;
  int64_t tiles;
  unsigned blocks;
  unsigned threads() const { return static_cast<unsigned>((tx * ty + 31) / 32 * 32); }
  dim3 grid() const { return dim3(blocks, static_cast<unsigned>(bands)); }
};

Walk walk_of(int64_t rows, int64_t columns, int unroll, int blocks_of_256) {
  const int64_t vectors = columns / 8;
  Walk walk;
  walk.bands = static_cast<int>((vectors + kThreads - 1) / kThreads);
  walk.tx = static_cast<int>((vectors + walk.bands - 1) / walk.bands);
  walk.ty = kThreads / walk.tx;
  walk.tiles = (rows + walk.ty * unroll - 1) / (walk.ty * unroll);
  const int64_t resident = static_cast<int64_t>(multiprocessors()) * blocks_of_256 * kThreads / walk.threads() / walk.bands;
  walk.blocks = static_cast<unsigned>(walk.tiles < resident ? walk.tiles : resident > 0 ? resident : 1);
  return walk;
}

// This thread's vector of channels and row within a group; `active` is false for threads beyond the band.
struct Place {
  int64_t column;
  int row;
  bool active;
};

__device__ __forceinline__ Place place_of(const BatchNormParams& p, int tx, int ty) {
  const int lane = static_cast<int>(threadIdx.x) % tx, row = static_cast<int>(threadIdx.x) / tx;
  const int64_t column = (static_cast<int64_t>(blockIdx.y) * tx + lane) * 8;
  return {column, row, row < ty && column < p.columns};
}

template <class T>
__device__ __forceinline__ Raw8<T> load_last(const T* source) {
  Raw8<T> raw;
#pragma unroll
  for (int i = 0; i < static_cast<int>(sizeof(T)) / 2; i++) raw.part[i] = __ldcs(reinterpret_cast<const uint4*>(source) + i);
  return raw;
}

__device__ __forceinline__ void load_floats(const float* source, float (&value)[8]) { unpack(load_kept(source), value); }

// Mean, and what multiplies the deviation from it.
__device__ __forceinline__ void load_scale(const BatchNormParams& p, int64_t column, float (&mean)[8], float (&scale)[8]) {
  float weight[8];
  load_floats(p.mean + column, mean);
  load_floats(p.spread + column, scale);
  load_floats(p.weight + column, weight);
#pragma unroll
  for (int i = 0; i < 8; i++) scale[i] = (p.training ? scale[i] : 1.0f / sqrtf(scale[i] + static_cast<float>(p.epsilon))) * weight[i];
}

// Adds the sixteen sums of every row group of a block; finish(which, vector, total) takes the two sums of 8 channels.
template <class Finish>
__device__ __forceinline__ void reduce_block(const float (&first)[8], const float (&second)[8], int tx, int ty, Finish finish) {
  __shared__ float sums[16][kThreads + 1];
#pragma unroll
  for (int i = 0; i < 8; i++) {
    sums[i][threadIdx.x] = first[i];
    sums[8 + i][threadIdx.x] = second[i];
  }
  __syncthreads();
  for (int out = threadIdx.x; out < 8 * tx; out += blockDim.x) {
    const int i = out % 8, vector = out / 8;
    float a = 0.0f, b = 0.0f;
    for (int row = 0; row < ty; row++) {
      a += sums[i][row * tx + vector];
      b += sums[8 + i][row * tx + vector];
    }
    finish(vector, i, a, b);
  }
}

inline cudaStream_t stream_of(const BatchNormParams& p) { return static_cast<cudaStream_t>(p.stream); }

}  // namespace
}  // namespace deepseek
