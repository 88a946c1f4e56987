// FP8 E4M3 (finite, no infinity; Micikevicius et al., arXiv 2209.05433, table 1): a sign, 4 bits of exponent with bias 7,
// 3 bits of fraction; 0x7f and 0xff are NaN, the greatest number is 448.
#pragma once

#include "common/row.h"

namespace deepseek {
namespace DS_ISA {

struct e4m3 { uint8_t bits; };

constexpr float kE4m3Greatest = 448.0f;

typedef uint8_t vb __attribute__((vector_size(kWidth)));
typedef uint8_t vb_any __attribute__((vector_size(kWidth), aligned(1), may_alias));

// The bits moved up by seven are a half of 2^-8 the value, subnormal numbers included.
static inline vf load(const e4m3* source) {
  const vb bits = *reinterpret_cast<const vb_any*>(source);
  const vh wide = __builtin_convertvector(bits, vh);
  f16 halves[kWidth];
  *reinterpret_cast<vh_any*>(halves) = ((wide & 0x80) << 8) | ((wide & 0x7f) << 7);
  const vu code = __builtin_convertvector(bits, vu) & 0x7fu;
  return select(reinterpret_cast<vi>(code == 0x7fu), broadcast(__builtin_nanf("")), load(halves) * 256.0f);
}

// Nearest, ties to even; beyond 448 it is 448, NaN stays NaN.
static inline uint8_t to_e4m3(float value) {
  uint32_t word;
  std::memcpy(&word, &value, 4);
  const uint32_t sign = (word >> 24) & 0x80u;
  word &= 0x7fffffffu;
  if (word > 0x7f800000u) return static_cast<uint8_t>(sign | 0x7fu);
  if (word >= 0x43e00000u) return static_cast<uint8_t>(sign | 0x7eu);
  if (word < 0x3c800000u) {
    // Below 2^-6: a multiple of 2^-9, rounded by the float adder (2^14 has that as its last bit).
    float shifted;
    std::memcpy(&shifted, &word, 4);
    shifted += 16384.0f;
    std::memcpy(&word, &shifted, 4);
    return static_cast<uint8_t>(sign | (word - 0x46800000u));
  }
  const uint32_t rounded = word + 0x7ffffu + ((word >> 20) & 1u);
  const uint32_t code = (rounded >> 20) - (120u << 3);
  return static_cast<uint8_t>(sign | (code > 0x7eu ? 0x7eu : code));
}

}  // namespace DS_ISA
}  // namespace deepseek
