// Eight-bit floats, one value at a time, on the CPU and in CUDA kernels.
//   E4M3 (1-4-3, bias 7): largest 448, least subnormal 2^-9, no infinity, NaN 0x7f and 0xff
//   E5M2 (1-5-2, bias 15): largest 57344, least subnormal 2^-16, infinity 0x7c, NaN above
// Micikevicius et al., "FP8 formats for deep learning", arXiv 2209.05433, table 1. Casts round to nearest, ties to even, and
// saturate: what is larger than the largest number, infinity included, becomes it; NaN stays NaN.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#define DS_FP8 static __host__ __device__ __forceinline__
#else
#define DS_FP8 static inline
#endif

namespace deepseek {

// By the pattern's fields: `kFraction` bits of fraction, the exponent's bias.
template <int kFraction, int kBias, uint32_t kLargest, uint32_t kNan>
struct Fp8 {
  static constexpr int kShift = 23 - kFraction;
  static constexpr uint32_t kLeastNormal = static_cast<uint32_t>(127 + 1 - kBias) << 23;
  // A float whose last place is worth the least subnormal: adding it rounds to a multiple of that.
  static constexpr uint32_t kMagic = static_cast<uint32_t>(127 + 1 - kBias - kFraction + 23) << 23;
  static constexpr uint32_t kLargestBits = kLargest;
  static constexpr uint32_t kNanCode = kNan;
};
using E4M3 = Fp8<3, 7, 0x43e00000u, 0x7f>;   // 448
constexpr float kE4m3Greatest = 448.0f;
using E5M2 = Fp8<2, 15, 0x47600000u, 0x7e>;  // 57344

DS_FP8 float fp8_float(uint32_t bits) {
#if defined(__CUDA_ARCH__)
  return __uint_as_float(bits);
#else
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
#endif
}

DS_FP8 uint32_t fp8_bits(float value) {
#if defined(__CUDA_ARCH__)
  return __float_as_uint(value);
#else
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return bits;
#endif
}

// Without branches, so that a loop of it becomes vectors.
template <class F>
DS_FP8 uint8_t fp8_encode(float value) {
  const uint32_t bits = fp8_bits(value), sign = (bits >> 24) & 0x80u, magnitude = bits & 0x7fffffffu;
  const uint32_t held = magnitude > F::kLargestBits ? F::kLargestBits : magnitude;
  const uint32_t normal = ((held + ((1u << (F::kShift - 1)) - 1) + ((held >> F::kShift) & 1u)) >> F::kShift) - ((F::kLeastNormal >> F::kShift) - (1u << (23 - F::kShift)));
  const uint32_t subnormal = fp8_bits(fp8_float(held) + fp8_float(F::kMagic)) - F::kMagic;
  const uint32_t code = held < F::kLeastNormal ? subnormal : normal;
  return static_cast<uint8_t>(sign | (magnitude > 0x7f800000u ? F::kNanCode : code));
}

template <class F>
DS_FP8 float fp8_decode(uint8_t code) {
  const uint32_t sign = static_cast<uint32_t>(code & 0x80u) << 24, rest = code & 0x7fu, fraction = 23 - F::kShift;
  const bool nan = F::kNanCode == 0x7f ? rest == 0x7f : rest > 0x7c, infinite = F::kNanCode != 0x7f && rest == 0x7c;
  if (nan) return fp8_float(sign | 0x7fc00000u);
  if (infinite) return fp8_float(sign | 0x7f800000u);
  if (rest >> fraction) return fp8_float(sign | ((rest << F::kShift) + (F::kLeastNormal - (1u << 23))));
  // A subnormal: so many times the least one.
  const float least = fp8_float(F::kMagic - (static_cast<uint32_t>(23) << 23));
  const float value = static_cast<float>(rest) * least;
  return fp8_float(sign | fp8_bits(value));
}

// The largest power of two under which `most` stays at or below `largest` / 2^margin; far from the ends of float32, so that its
// inverse is exact too.
DS_FP8 float fp8_scale(float most, float largest, int margin) {
  const int power = static_cast<int>(fp8_bits(largest / most) >> 23) - 127 - margin;
  const int held = power > 100 ? 100 : power < -100 ? -100 : power;
  return fp8_float(static_cast<uint32_t>(held + 127) << 23);
}

}  // namespace deepseek
