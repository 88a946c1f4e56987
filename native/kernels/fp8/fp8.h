// Casts to eight-bit floats (common/fp8.h) with one scale a tensor, and the range of a tensor against formats.
#pragma once

#include "common/cpu.h"
#include "common/fp8.h"

namespace deepseek {

enum Fp8Format : int { kE4M3 = 0, kE5M2 = 1 };

struct Fp8CastParams {
  int type;    // of x or y: common/types.h
  int format;  // Fp8Format
  int64_t elements;
  const void* x;       // encode: read; decode: null
  void* y;             // decode: written; encode: null
  uint8_t* codes;      // encode: written; decode: read
  const float* scale;  // code = encode(x · scale), y = decode(code) / scale
  float* amax;         // encode: max |x| of all numbers that are finite; on the GPU it must be 0 before
  void* stream;
};

// Counts of non-zero finite elements below `floor[i]` and above `ceiling[i]`.
constexpr int kMostFormats = 4;
struct Fp8RangeParams {
  int type;
  int formats;
  int64_t elements;
  const void* x;
  float floor[kMostFormats];
  float ceiling[kMostFormats];
  double amax, nonzero, broken;  // out: largest finite magnitude, finite elements that are not 0, elements that are not finite
  double below[kMostFormats], above[kMostFormats];  // out
};

DS_CPU_DECLARE(void, fp8_encode_all, (const Fp8CastParams&))
DS_CPU_DECLARE(void, fp8_decode_all, (const Fp8CastParams&))
DS_CPU_DECLARE(void, fp8_range, (Fp8RangeParams&))

// Return a cudaError_t.
int fp8_encode_cuda(const Fp8CastParams& p);
int fp8_decode_cuda(const Fp8CastParams& p);

}  // namespace deepseek
