// The arithmetic of the backward pass, for a row of which each of kThreads threads holds kVectors groups of 8 columns.
#pragma once

#include "fused_norm/fused_norm_cuda.cuh"

namespace deepseek {
namespace {

// A row as it lies in memory, and what a thread keeps over all its rows.
template <class T, class R, int kVectors>
struct GradientLoads {
  Raw8<T> dy[kVectors];
  Raw8<R> z[kVectors], dz[kVectors];
};

template <int kVectors>
struct Shares {
  float weight[kVectors][8], dweight[kVectors][8], dbias[kVectors][8], dshift[kVectors][8];
};

// First column of a thread's v-th group, where kThreads threads share a row.
template <int kThreads>
__device__ __forceinline__ int64_t column_of(int v) { return (static_cast<int64_t>(v) * kThreads + threadIdx.x % kThreads) * 8; }

// kHeld: the weight stays in registers, for there are many rows; else it is read for every row.
template <int kThreads, bool kHeld, int kVectors>
__device__ __forceinline__ void begin(const NormParams& p, Shares<kVectors>& shares) {
#pragma unroll
  for (int v = 0; v < kVectors; v++) {
    const int64_t c = column_of<kThreads>(v);
#pragma unroll
    for (int i = 0; i < 8; i++) {
      shares.weight[v][i] = 1.0f;
      shares.dweight[v][i] = shares.dbias[v][i] = shares.dshift[v][i] = 0.0f;
    }
    if (kHeld && p.weight != nullptr && c < p.columns) load_vector8(p.weight, p.weight_type, c, shares.weight[v]);
  }
}

// Mean and inverse deviation; asked for a row ahead, for nothing can begin without them.
__device__ __forceinline__ float2 statistics(const NormParams& p, int64_t row) {
  return row < p.rows ? make_float2(p.rms ? 0.0f : __ldg(p.mean + row), __ldg(p.rstd + row)) : make_float2(0.0f, 0.0f);
}

// The row's terms of dweight and dbias, and its two sums; g becomes dy · weight, x the normalised row.
template <class T, class R, int kThreads, bool kHeld, int kVectors>
__device__ __forceinline__ float2 weigh(const NormParams& p, const GradientLoads<T, R, kVectors>& row, float2 statistics, Shares<kVectors>& shares, float (&g)[kVectors][8], float (&x)[kVectors][8]) {
  float2 sums = make_float2(0.0f, 0.0f);
#pragma unroll
  for (int v = 0; v < kVectors; v++) {
    if (column_of<kThreads>(v) >= p.columns) continue;
    unpack(row.dy[v], g[v]);
    unpack(row.z[v], x[v]);
    if (!kHeld && p.weight != nullptr) load_vector8(p.weight, p.weight_type, column_of<kThreads>(v), shares.weight[v]);
#pragma unroll
    for (int i = 0; i < 8; i++) {
      x[v][i] = (x[v][i] - statistics.x) * statistics.y;
      shares.dbias[v][i] += g[v][i];
      shares.dweight[v][i] += g[v][i] * x[v][i];
      g[v][i] *= shares.weight[v][i];
      sums.x += g[v][i];
      sums.y += g[v][i] * x[v][i];
    }
  }
  return sums;
}

// The row's results from its sums.
template <class T, class R, int kThreads, int kVectors, bool kShift>
__device__ __forceinline__ void finish(const NormParams& p, const Mask& mask, int64_t row, float2 sums, float rstd, const Raw8<R> (&dz)[kVectors], Shares<kVectors>& shares, float (&g)[kVectors][8],
                                       const float (&x)[kVectors][8]) {
  const float inverse = 1.0f / static_cast<float>(p.columns), c1 = p.rms ? 0.0f : sums.x * inverse, c2 = sums.y * inverse;
#pragma unroll
  for (int v = 0; v < kVectors; v++) {
    const int64_t c = column_of<kThreads>(v), at = row * p.columns + c;
    if (c >= p.columns) continue;
#pragma unroll
    for (int i = 0; i < 8; i++) g[v][i] = (g[v][i] - c1 - x[v][i] * c2) * rstd;
    if (p.dz != nullptr) {
      float other[8];
      unpack(dz[v], other);
#pragma unroll
      for (int i = 0; i < 8; i++) g[v][i] += other[i];
    }
    if (p.dresidual != nullptr) store8(static_cast<R*>(p.dresidual) + at, pack<R>(g[v]));
    if (mask.threshold != 0 && (p.dx != nullptr || kShift)) drop(mask, row, c / 8, g[v]);
    if (p.dx != nullptr) store8(static_cast<T*>(p.dx) + at, pack<T>(g[v]));
    if (kShift) {
#pragma unroll
      for (int i = 0; i < 8; i++) shares.dshift[v][i] += g[v][i];
    }
  }
}

template <int kThreads, int kVectors, bool kShift>
__device__ __forceinline__ void end(const NormParams& p, const Shares<kVectors>& shares) {
  if (p.partial == nullptr) return;
#pragma unroll
  for (int v = 0; v < kVectors; v++) {
    const int64_t c = column_of<kThreads>(v);
    if (c >= p.columns) continue;
    float* share = p.partial + static_cast<int64_t>(blockIdx.x) * 3 * p.columns;
    store8(share + c, pack<float>(shares.dweight[v]));
    store8(share + p.columns + c, pack<float>(shares.dbias[v]));
    if (kShift) store8(share + 2 * p.columns + c, pack<float>(shares.dshift[v]));
  }
}

template <class T, class R, int kThreads, int kVectors>
__device__ __forceinline__ void fetch(const NormParams& p, int64_t row, GradientLoads<T, R, kVectors>& loads) {
#pragma unroll
  for (int v = 0; v < kVectors; v++) {
    const int64_t c = column_of<kThreads>(v), at = row * p.columns + c;
    if (c >= p.columns || row >= p.rows) continue;
    loads.dy[v] = load_once(static_cast<const T*>(p.dy) + at);
    loads.z[v] = load_once(static_cast<const R*>(p.z) + at);
    if (p.dz != nullptr) loads.dz[v] = load_once(static_cast<const R*>(p.dz) + at);
  }
}

}  // namespace
}  // namespace deepseek
