#include "fp8/fp8.h"

#include "common/cuda_types.cuh"

namespace deepseek {
namespace {

constexpr int kThreads = 256;

template <class T, class F>
__global__ void __launch_bounds__(kThreads) encode_kernel(const __grid_constant__ Fp8CastParams p) {
  const float scale = *p.scale;
  float largest = 0;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < p.elements; i += stride) {
    const float value = to_float(static_cast<const T*>(p.x)[i]);
    p.codes[i] = fp8_encode<F>(value * scale);
    const float magnitude = fabsf(value);
    largest = magnitude < __int_as_float(0x7f800000) ? fmaxf(largest, magnitude) : largest;
  }
  for (int lane = 16; lane > 0; lane /= 2) largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, lane));
  // Magnitudes order as their bits do.
  if (threadIdx.x % 32 == 0) atomicMax(reinterpret_cast<int*>(p.amax), __float_as_int(largest));
}

template <class T, class F>
__global__ void __launch_bounds__(kThreads) decode_kernel(const __grid_constant__ Fp8CastParams p) {
  const float inverse = 1.0f / *p.scale;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < p.elements; i += stride) {
    static_cast<T*>(p.y)[i] = from_float<T>(fp8_decode<F>(p.codes[i]) * inverse);
  }
}

template <class T, class F>
void launch(const Fp8CastParams& p, bool back) {
  const int64_t needed = (p.elements + kThreads * 8 - 1) / (kThreads * 8);
  const auto grid = static_cast<unsigned>(needed < 2048 ? needed : 2048);
  const auto stream = static_cast<cudaStream_t>(p.stream);
  if (back) {
    decode_kernel<T, F><<<grid, kThreads, 0, stream>>>(p);
  } else {
    encode_kernel<T, F><<<grid, kThreads, 0, stream>>>(p);
  }
}

template <class F>
int cast(const Fp8CastParams& p, bool back) {
  if (p.type == kBFloat16) {
    launch<bf16, F>(p, back);
  } else if (p.type == kFloat16) {
    launch<f16, F>(p, back);
  } else {
    launch<float, F>(p, back);
  }
  return cudaGetLastError();
}

}  // namespace

int fp8_encode_cuda(const Fp8CastParams& p) { return p.format == kE4M3 ? cast<E4M3>(p, false) : cast<E5M2>(p, false); }
int fp8_decode_cuda(const Fp8CastParams& p) { return p.format == kE4M3 ? cast<E4M3>(p, true) : cast<E5M2>(p, true); }

}  // namespace deepseek
