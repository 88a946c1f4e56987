#include "head_loss/head_loss.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

namespace deepseek::head_loss {
namespace {

constexpr int kThreads = 1024;  // two blocks a multiprocessor: 264 rows of 100 KB in flight fit the cache between their two passes
constexpr unsigned kAll = 0xffffffffu;

__device__ float widen(float x) { return x; }
__device__ float widen(__half x) { return __half2float(x); }
__device__ float widen(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ void narrow(float x, float& to) { to = x; }
__device__ void narrow(float x, __half& to) { to = __float2half_rn(x); }
__device__ void narrow(float x, __nv_bfloat16& to) { to = __float2bfloat16_rn(x); }

template <class T> union Pack {
  static constexpr int kLanes = 16 / sizeof(T);
  uint4 bits;
  T lane[kLanes];
  __device__ Pack() {}
};

// The greatest value seen and the sum of exponentials relative to it.
struct Sum {
  float most, sum;
};

__device__ Sum join(Sum a, Sum b) {
  const float most = fmaxf(a.most, b.most);
  if (most == -INFINITY) return {most, 0};
  return {most, a.sum * __expf(a.most - most) + b.sum * __expf(b.most - most)};
}

template <class T>
__global__ void __launch_bounds__(kThreads, 2) rows_kernel(T* logits, const int64_t* targets, float* losses, const float* scale, int64_t columns) {
  __shared__ Sum parts[kThreads / 32];
  const int64_t row = blockIdx.x;
  T* const x = logits + row * columns;
  const int64_t target = targets[row];
  const int vectors = static_cast<int>(columns / Pack<T>::kLanes);
  const auto* const packs = reinterpret_cast<const uint4*>(x);
  const float wanted = target >= 0 && target < columns ? widen(x[target]) : NAN;

  Sum mine{-INFINITY, 0};
  for (int i = threadIdx.x; i < vectors; i += kThreads) {
    Pack<T> p;
    p.bits = packs[i];
    float most = mine.most;
#pragma unroll
    for (int l = 0; l < Pack<T>::kLanes; l++) most = fmaxf(most, widen(p.lane[l]));
    float sum = most == -INFINITY ? 0 : mine.sum * __expf(mine.most - most);
#pragma unroll
    for (int l = 0; l < Pack<T>::kLanes; l++) sum += __expf(widen(p.lane[l]) - (most == -INFINITY ? 0 : most));
    mine = {most, sum};
  }
#pragma unroll
  for (int step = 16; step > 0; step /= 2) mine = join(mine, {__shfl_xor_sync(kAll, mine.most, step), __shfl_xor_sync(kAll, mine.sum, step)});
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = mine;
  __syncthreads();  // also: every thread has read the target's logit before any of them is overwritten
  mine = parts[threadIdx.x % 32];
#pragma unroll
  for (int step = 16; step > 0; step /= 2) mine = join(mine, {__shfl_xor_sync(kAll, mine.most, step), __shfl_xor_sync(kAll, mine.sum, step)});

  const float factor = target < 0 ? 0 : *scale;
  const float inverse = factor / mine.sum;
  for (int i = threadIdx.x; i < vectors; i += kThreads) {
    Pack<T> p;
    p.bits = packs[i];
#pragma unroll
    for (int l = 0; l < Pack<T>::kLanes; l++) {
      float g = target < 0 ? 0 : __expf(widen(p.lane[l]) - mine.most) * inverse;
      if (static_cast<int64_t>(i) * Pack<T>::kLanes + l == target) g -= factor;
      narrow(g, p.lane[l]);
    }
    reinterpret_cast<uint4*>(x)[i] = p.bits;
  }
  if (threadIdx.x == 0) losses[row] = target < 0 ? 0 : logf(mine.sum) + mine.most - wanted;
}

template <class T>
int launch(void* logits, const int64_t* targets, float* loss, const float* scale, int64_t rows, int64_t columns, cudaStream_t stream) {
  if (rows > 0) rows_kernel<T><<<static_cast<unsigned>(rows), kThreads, 0, stream>>>(static_cast<T*>(logits), targets, loss, scale, columns);
  return cudaGetLastError();
}

}  // namespace

int cuda(void* logits, const int64_t* targets, float* loss, const float* scale, int64_t rows, int64_t columns, int type, void* stream) {
  const auto on = static_cast<cudaStream_t>(stream);
  switch (type) {
    case 0: return launch<float>(logits, targets, loss, scale, rows, columns, on);
    case 1: return launch<__nv_bfloat16>(logits, targets, loss, scale, rows, columns, on);
    default: return launch<__half>(logits, targets, loss, scale, rows, columns, on);
  }
}

}  // namespace deepseek::head_loss
