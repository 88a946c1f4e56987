// A block takes a row. One pass finds the greatest logit and the sum of exponentials together, a second writes the gradient;
// a chunk is small enough that the second pass reads from the second-level cache.
#include "cross_entropy/cross_entropy.h"

#include "common/cuda_types.cuh"

#include <cmath>

namespace deepseek {
namespace {

constexpr int kThreads = 512;

// (greatest, sum of e^(x − greatest)) of two sets together; a greatest of −∞ is an empty set.
__device__ __forceinline__ float2 join(float2 a, float2 b) {
  const float top = fmaxf(a.x, b.x);
  if (top == -INFINITY) return make_float2(top, 0.0f);
  return make_float2(top, a.y * __expf(a.x - top) + b.y * __expf(b.x - top));
}

template <class T, bool kWide>
__global__ void __launch_bounds__(kThreads) rows_kernel(const __grid_constant__ CrossEntropyParams p) {
  __shared__ float2 scratch[kThreads / 32];
  const int64_t n = p.columns, row = blockIdx.x, target = p.target[row];
  T* logits = static_cast<T*>(p.logits) + row * n;
  const bool inside = target >= 0 && target < n, counts = inside && target != p.ignored;
  constexpr int kStep = kWide ? 8 : 1;
  float2 both = make_float2(-INFINITY, 0.0f);
  if (counts) {
    for (int64_t c = threadIdx.x * kStep; c < n; c += kThreads * kStep) {
      float value[8];
      if (kWide) {
        unpack(load_own(logits + c), value);
      } else {
        value[0] = to_float(logits[c]);
      }
      float top = both.x;
#pragma unroll
      for (int i = 0; i < kStep; i++) top = fmaxf(top, value[i]);
      if (top == -INFINITY) continue;
      float total = both.y * __expf(both.x - top);
#pragma unroll
      for (int i = 0; i < kStep; i++) total += __expf(value[i] - top);
      both = make_float2(top, total);
    }
  }
  const float chosen = counts ? to_float(logits[target]) : 0.0f;
#pragma unroll
  for (int step = 16; step > 0; step /= 2) both = join(both, make_float2(__shfl_xor_sync(0xffffffffu, both.x, step), __shfl_xor_sync(0xffffffffu, both.y, step)));
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = both;
  __syncthreads();
  both = scratch[threadIdx.x % (kThreads / 32)];
#pragma unroll
  for (int step = kThreads / 64; step > 0; step /= 2) both = join(both, make_float2(__shfl_xor_sync(0xffffffffu, both.x, step), __shfl_xor_sync(0xffffffffu, both.y, step)));
  const float nothing = target == p.ignored ? 0.0f : __int_as_float(0x7fc00000);
  if (threadIdx.x == 0) p.loss[row] = counts ? logf(both.y) + both.x - chosen : nothing;
  if (!p.gradient) return;
  const float scale = *p.scale, factor = scale / both.y;
  for (int64_t c = threadIdx.x * kStep; c < n; c += kThreads * kStep) {
    float value[8];
    if (kWide) {
      unpack(load_own(logits + c), value);
    } else {
      value[0] = to_float(logits[c]);
    }
#pragma unroll
    for (int i = 0; i < kStep; i++) {
      const float share = __expf(value[i] - both.x) * factor;
      value[i] = !counts ? nothing : c + i == target ? share - scale : share;
    }
    if (kWide) {
      store8(logits + c, pack<T>(value));
    } else {
      logits[c] = from_float<T>(value[0]);
    }
  }
}

template <class T>
void launch(const CrossEntropyParams& p) {
  const auto stream = static_cast<cudaStream_t>(p.stream);
  if (p.columns % 8 == 0 && aligned16(p.logits)) {
    rows_kernel<T, true><<<static_cast<unsigned>(p.rows), kThreads, 0, stream>>>(p);
  } else {
    rows_kernel<T, false><<<static_cast<unsigned>(p.rows), kThreads, 0, stream>>>(p);
  }
}

}  // namespace

int cross_entropy_rows_cuda(const CrossEntropyParams& p) {
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
