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

// Delayed scaling: the newest of `steps` maxima takes the oldest one's place, and the scale becomes the largest power of two under
// which the history's largest is at most `largest` / 2^margin; a history of zeros leaves it alone.
struct Fp8RescaleParams {
  float* history;
  int steps;
  float* scale;
  const float* amax;
  float largest;
  int margin;
  void* stream;
};

// What is cast: values as given, GELU of them (tanh form), or values times GELU's slope at `kept`.
enum class Fp8Made : int { kValues, kGelu, kSlope };
constexpr int kFp8Sources = 3;

// Codes of a matrix as it lies and turned, under a scale that then follows the matrix, in one pass over it.
struct Fp8ScaledCastParams {
  int type, format;
  Fp8Made made;
  int64_t rows, columns;
  int64_t part;                     // columns of one source, a multiple of 8: column c is column c % part of source c / part
  const void* source[kFp8Sources];  // [rows, part]
  const void* kept;                 // [rows, columns], of the same type, or null
  float* partial;                   // out: sums of each 128 rows of what is cast, before it is: [(rows + 127) / 128, columns]; or null
  uint8_t* codes;                   // [rows, columns]
  uint8_t* turned;                  // [columns, rows]
  float* used;                      // out: the scale of these codes
  float* inverse;                   // out: 1 / used; cuBLAS wants such numbers on 16 bytes, so that the two are tensors of their own
  float* amax;                      // 0 before and after
  unsigned* ticket;                 // 0 before and after
  float* history;    // as in Fp8RescaleParams
  int steps;
  float* scale;
  float* before;  // null, or the scale of the last cast: read where `again` is set, else written
  bool again;     // repeats a cast: the scale is `before` and nothing follows
  float largest;
  int margin;
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
int fp8_rescale_cuda(const Fp8RescaleParams& p);
int fp8_scaled_cast_cuda(const Fp8ScaledCastParams& p);
// `result` as the operator gives it; `work`: 3 + 2 · kMostFormats words of zeros.
int fp8_range_cuda(const Fp8RangeParams& p, double* result, unsigned long long* work, void* stream);

// sum[c] = the sum of partial[:, c], in a fixed order; `type` is sum's.
int fp8_join_sums_cuda(const float* partial, int64_t partials, int64_t columns, int type, void* sum, void* stream);

// Whether the one-pass cast takes the matrix: sizes in multiples of 16, rows that begin on 16 bytes.
bool fp8_scaled_cast_fits(const Fp8ScaledCastParams& p);

}  // namespace deepseek
