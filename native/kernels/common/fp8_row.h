// Rows of FP8 E4M3 as vectors of float32.
#pragma once

#include "common/row.h"

namespace deepseek {
namespace DS_ISA {

struct e4m3 { uint8_t bits; };

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

}  // namespace DS_ISA
}  // namespace deepseek
