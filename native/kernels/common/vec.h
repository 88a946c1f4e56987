// Vectors of the instruction set that a *_cpu.cpp is compiled for: `kWidth` floats. Everything sits in the namespace
// DS_ISA, so that no inline function compiled for AVX-512 can stand in for one that another machine runs.
#pragma once

#include "common/types.h"

#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace deepseek {
namespace DS_ISA {

#if defined(__AVX512F__)
constexpr int kWidth = 16;
#elif defined(__AVX2__)
constexpr int kWidth = 8;
#else
constexpr int kWidth = 4;
#endif

typedef float vf __attribute__((vector_size(4 * kWidth)));
typedef int32_t vi __attribute__((vector_size(4 * kWidth)));
typedef uint32_t vu __attribute__((vector_size(4 * kWidth)));
typedef uint16_t vh __attribute__((vector_size(2 * kWidth)));
typedef float vf_any __attribute__((vector_size(4 * kWidth), aligned(4), may_alias));
typedef uint32_t vu_any __attribute__((vector_size(4 * kWidth), aligned(4), may_alias));
typedef uint16_t vh_any __attribute__((vector_size(2 * kWidth), aligned(2), may_alias));

// 16-bit floats as stored.
struct bf16 { uint16_t bits; };
struct f16 { uint16_t bits; };

static inline vf broadcast(float value) { return value - vf{}; }
static inline vi as_int(vf value) { return reinterpret_cast<vi>(value); }
static inline vu as_uint(vf value) { return reinterpret_cast<vu>(value); }
static inline vf as_float(vi value) { return reinterpret_cast<vf>(value); }
static inline vf as_float(vu value) { return reinterpret_cast<vf>(value); }
static inline vf select(vi mask, vf yes, vf no) { return mask ? yes : no; }
static inline vf vmax(vf a, vf b) { return a > b ? a : b; }
static inline vf vmin(vf a, vf b) { return a < b ? a : b; }

static inline vf load(const float* source) { return *reinterpret_cast<const vf_any*>(source); }
static inline void store(float* target, vf value) { *reinterpret_cast<vf_any*>(target) = value; }

static inline vf load(const bf16* source) {
  const vh bits = *reinterpret_cast<const vh_any*>(source);
  return as_float(__builtin_convertvector(bits, vu) << 16);
}

// Rounds to bfloat16, to nearest, ties to even; NaN stays NaN. The result is the upper half of each word, the lower half anything.
static inline vu bf16_words(vf value) {
  const vu bits = as_uint(value);
  return value == value ? bits + 0x7fffu + ((bits >> 16) & 1u) : bits | 0x400000u;
}
static inline void store(bf16* target, vf value) { *reinterpret_cast<vh_any*>(target) = __builtin_convertvector(bf16_words(value) >> 16, vh); }

static inline float half_to_float(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16, exponent = (bits >> 10) & 31u, fraction = bits & 1023u;
  float value;
  if (exponent == 0) {
    value = static_cast<float>(fraction) * 5.9604644775390625e-08f;
    return sign ? -value : value;
  }
  const uint32_t word = exponent == 31 ? sign | 0x7f800000u | (fraction << 13) : sign | ((exponent + 112) << 23) | (fraction << 13);
  std::memcpy(&value, &word, 4);
  return value;
}

static inline uint16_t float_to_half(float value) {
  uint32_t word;
  std::memcpy(&word, &value, 4);
  const uint32_t sign = (word >> 16) & 0x8000u;
  word &= 0x7fffffffu;
  if (word >= 0x47800000u) return static_cast<uint16_t>(sign | (word > 0x7f800000u ? 0x7e00u : 0x7c00u));
  if (word < 0x38800000u) {
    // Below the normal range: adding 0.5 lets the float adder round to a multiple of 2^-24.
    float shifted;
    std::memcpy(&shifted, &word, 4);
    shifted += 0.5f;
    std::memcpy(&word, &shifted, 4);
    return static_cast<uint16_t>(sign | (word - 0x3f000000u));
  }
  return static_cast<uint16_t>(sign | ((word - 0x38000000u + 0xfffu + ((word >> 13) & 1u)) >> 13));
}

static inline vf load(const f16* source) {
#if defined(__AVX512F__)
  return reinterpret_cast<vf>(_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(source))));
#elif defined(__F16C__)
  return reinterpret_cast<vf>(_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(source))));
#else
  vf value;
  for (int i = 0; i < kWidth; i++) value[i] = half_to_float(source[i].bits);
  return value;
#endif
}

static inline void store(f16* target, vf value) {
#if defined(__AVX512F__)
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(target), _mm512_cvtps_ph(reinterpret_cast<__m512>(value), _MM_FROUND_TO_NEAREST_INT));
#elif defined(__F16C__)
  _mm_storeu_si128(reinterpret_cast<__m128i*>(target), _mm256_cvtps_ph(reinterpret_cast<__m256>(value), _MM_FROUND_TO_NEAREST_INT));
#else
  for (int i = 0; i < kWidth; i++) target[i].bits = float_to_half(value[i]);
#endif
}

// The first n elements, the rest zero.
template <class T>
static inline vf load_some(const T* source, int64_t n) {
  T kept[kWidth] = {};
  std::memcpy(kept, source, static_cast<size_t>(n) * sizeof(T));
  return load(kept);
}

template <class T>
static inline void store_some(T* target, vf value, int64_t n) {
  T kept[kWidth];
  store(kept, value);
  std::memcpy(target, kept, static_cast<size_t>(n) * sizeof(T));
}

static inline float sum(vf value) {
#if defined(__AVX512F__)
  return _mm512_reduce_add_ps(reinterpret_cast<__m512>(value));
#else
  float total = 0;
  for (int i = 0; i < kWidth; i++) total += value[i];
  return total;
#endif
}

static inline float highest(vf value) {
#if defined(__AVX512F__)
  return _mm512_reduce_max_ps(reinterpret_cast<__m512>(value));
#else
  float top = value[0];
  for (int i = 1; i < kWidth; i++) top = value[i] > top ? value[i] : top;
  return top;
#endif
}

// e^x to 2 units in the last place; 0 below -87.3, infinity above 88.7, NaN for NaN.
static inline vf exp(vf x) {
  const vf low = broadcast(-87.33654f), high = broadcast(88.72283f);
  const vf bounded = vmin(vmax(x, low), high);
  // Adding 1.5·2^23 rounds to an integer, which then sits in the low bits.
  const vf shifted = bounded * 1.44269504088896341f + 12582912.0f;
  const vf n = shifted - 12582912.0f;
  const vf r = bounded - n * 0.693145751953125f - n * 1.428606765330187e-06f;
  vf p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  // Half the exponent twice: 2^128 alone is no float.
  const vi bits = as_int(shifted) - 0x4b400000;
  const vi half = bits >> 1;
  const vf scaled = p * as_float((half + 127) << 23) * as_float((bits - half + 127) << 23);
  const vf kept = select(x < low, vf{}, select(x > high, broadcast(__builtin_inff()), scaled));
  return select(x != x, x, kept);
}

}  // namespace DS_ISA
}  // namespace deepseek
