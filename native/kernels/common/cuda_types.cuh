// Loads and stores of the kernels' element types on the GPU: eight at a time, or one, as floats.
#pragma once

#include "common/types.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace deepseek {
namespace {

using bf16 = __nv_bfloat16;
using f16 = __half;

__device__ __forceinline__ float to_float(float value) { return value; }
__device__ __forceinline__ float to_float(bf16 value) { return __bfloat162float(value); }
__device__ __forceinline__ float to_float(f16 value) { return __half2float(value); }
template <class T> __device__ __forceinline__ T from_float(float value);
template <> __device__ __forceinline__ float from_float<float>(float value) { return value; }
template <> __device__ __forceinline__ bf16 from_float<bf16>(float value) { return __float2bfloat16_rn(value); }
template <> __device__ __forceinline__ f16 from_float<f16>(float value) { return __float2half_rn(value); }

// Eight elements as they lie in memory: 16 or 32 bytes.
template <class T> struct Raw8 { uint4 part[sizeof(T) / 2]; };

// Read once: past the first-level cache, which is left to what many rows share.
template <class T>
__device__ __forceinline__ Raw8<T> load_once(const T* source) {
  Raw8<T> raw;
#pragma unroll
  for (int i = 0; i < static_cast<int>(sizeof(T)) / 2; i++) {
    asm volatile("ld.global.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(raw.part[i].x), "=r"(raw.part[i].y), "=r"(raw.part[i].z), "=r"(raw.part[i].w)
                 : "l"(reinterpret_cast<const uint4*>(source) + i));
  }
  return raw;
}

template <class T>
__device__ __forceinline__ Raw8<T> load_kept(const T* source) {
  Raw8<T> raw;
#pragma unroll
  for (int i = 0; i < static_cast<int>(sizeof(T)) / 2; i++) raw.part[i] = __ldg(reinterpret_cast<const uint4*>(source) + i);
  return raw;
}

// For memory that the same kernel also writes.
template <class T>
__device__ __forceinline__ Raw8<T> load_own(const T* source) {
  Raw8<T> raw;
#pragma unroll
  for (int i = 0; i < static_cast<int>(sizeof(T)) / 2; i++) raw.part[i] = reinterpret_cast<const uint4*>(source)[i];
  return raw;
}

template <class T>
__device__ __forceinline__ void store8(T* target, const Raw8<T>& raw) {
#pragma unroll
  for (int i = 0; i < static_cast<int>(sizeof(T)) / 2; i++) reinterpret_cast<uint4*>(target)[i] = raw.part[i];
}

__device__ __forceinline__ float2 pair_of(uint32_t word, bf16) { return make_float2(__uint_as_float(word << 16), __uint_as_float(word & 0xffff0000u)); }
__device__ __forceinline__ float2 pair_of(uint32_t word, f16) { return __half22float2(*reinterpret_cast<__half2*>(&word)); }
__device__ __forceinline__ uint32_t word_of(float low, float high, bf16) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}
__device__ __forceinline__ uint32_t word_of(float low, float high, f16) {
  const __half2 pair = __floats2half2_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}

template <class T>
__device__ __forceinline__ void unpack(const Raw8<T>& raw, float (&value)[8]) {
  const uint32_t words[4] = {raw.part[0].x, raw.part[0].y, raw.part[0].z, raw.part[0].w};
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const float2 pair = pair_of(words[i], T());
    value[2 * i] = pair.x;
    value[2 * i + 1] = pair.y;
  }
}
template <>
__device__ __forceinline__ void unpack<float>(const Raw8<float>& raw, float (&value)[8]) {
#pragma unroll
  for (int i = 0; i < 2; i++) {
    value[4 * i] = __uint_as_float(raw.part[i].x);
    value[4 * i + 1] = __uint_as_float(raw.part[i].y);
    value[4 * i + 2] = __uint_as_float(raw.part[i].z);
    value[4 * i + 3] = __uint_as_float(raw.part[i].w);
  }
}

template <class T>
__device__ __forceinline__ Raw8<T> pack(const float (&value)[8]) {
  Raw8<T> raw;
  raw.part[0] = make_uint4(word_of(value[0], value[1], T()), word_of(value[2], value[3], T()), word_of(value[4], value[5], T()), word_of(value[6], value[7], T()));
  return raw;
}
template <>
__device__ __forceinline__ Raw8<float> pack<float>(const float (&value)[8]) {
  Raw8<float> raw;
#pragma unroll
  for (int i = 0; i < 2; i++) {
    raw.part[i] = make_uint4(__float_as_uint(value[4 * i]), __float_as_uint(value[4 * i + 1]), __float_as_uint(value[4 * i + 2]), __float_as_uint(value[4 * i + 3]));
  }
  return raw;
}

// Eight elements of a vector that every row uses, whose type is known at run time.
__device__ __forceinline__ void load_vector8(const void* vector, int type, int64_t at, float (&value)[8]) {
  if (type == kFloat32) {
    unpack(load_kept(static_cast<const float*>(vector) + at), value);
  } else if (type == kBFloat16) {
    unpack(load_kept(static_cast<const bf16*>(vector) + at), value);
  } else {
    unpack(load_kept(static_cast<const f16*>(vector) + at), value);
  }
}
// The same in two parts, so that the loads can be in flight early.
struct RawVector8 { uint4 part[2]; };
__device__ __forceinline__ RawVector8 ask_vector8(const void* vector, int type, int64_t at) {
  const uint4* from = reinterpret_cast<const uint4*>(static_cast<const char*>(vector) + at * (type == kFloat32 ? 4 : 2));
  RawVector8 raw;
  raw.part[0] = __ldg(from);
  if (type == kFloat32) raw.part[1] = __ldg(from + 1);
  return raw;
}
__device__ __forceinline__ void take_vector8(const RawVector8& raw, int type, float (&value)[8]) {
  if (type == kFloat32) {
    unpack(Raw8<float>{{raw.part[0], raw.part[1]}}, value);
  } else if (type == kBFloat16) {
    unpack(Raw8<bf16>{{raw.part[0]}}, value);
  } else {
    unpack(Raw8<f16>{{raw.part[0]}}, value);
  }
}
__device__ __forceinline__ float load_vector1(const void* vector, int type, int64_t at) {
  if (type == kFloat32) return static_cast<const float*>(vector)[at];
  return type == kBFloat16 ? to_float(static_cast<const bf16*>(vector)[at]) : to_float(static_cast<const f16*>(vector)[at]);
}
__device__ __forceinline__ void store_vector1(void* vector, int type, int64_t at, float value) {
  if (type == kFloat32) {
    static_cast<float*>(vector)[at] = value;
  } else if (type == kBFloat16) {
    static_cast<bf16*>(vector)[at] = from_float<bf16>(value);
  } else {
    static_cast<f16*>(vector)[at] = from_float<f16>(value);
  }
}

// Sum over the threads of a block (a power of two of warps at most 32), the same in every thread. `scratch` holds a float a
// warp; calls that follow one another need different scratch.
template <int kWarps>
__device__ __forceinline__ float2 block_sum(float2 value, float2* scratch) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    value.x += __shfl_xor_sync(0xffffffffu, value.x, step);
    value.y += __shfl_xor_sync(0xffffffffu, value.y, step);
  }
  if (kWarps == 1) return value;
  const int lane = threadIdx.x % 32;
  if (lane == 0) scratch[threadIdx.x / 32] = value;
  __syncthreads();
  value = lane < kWarps ? scratch[lane] : make_float2(0.0f, 0.0f);
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    value.x += __shfl_xor_sync(0xffffffffu, value.x, step);
    value.y += __shfl_xor_sync(0xffffffffu, value.y, step);
  }
  return value;
}

inline int multiprocessors() {
  static const int count = [] {
    int device = 0, value = 0;
    cudaGetDevice(&device);
    cudaDeviceGetAttribute(&value, cudaDevAttrMultiProcessorCount, device);
    return value > 0 ? value : 1;
  }();
  return count;
}

inline bool on_hopper() {
  static const bool found = [] {
    int device = 0, major = 0;
    return cudaGetDevice(&device) == cudaSuccess && cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess && major == 9;
  }();
  return found;
}

inline bool aligned16(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

}  // namespace
}  // namespace deepseek
