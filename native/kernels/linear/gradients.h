// Sums over rows made in the same pass that writes what is summed: the gradients of biases.
#pragma once

#include "common/types.h"

#include <cstdint>

namespace deepseek::linear {

constexpr int kParts = 3;

// One or more sources of equal width stand side by side: column c is column c % part of source c / part.
struct ColumnSums {
  int64_t rows = 0, columns = 0, part = 0;  // part: columns of one source, a multiple of 8
  int type = kFloat32;                      // of all but `partial`
  const void* source[kParts] = {};          // [rows, part], 16-byte aligned
  const void* kept = nullptr;               // [rows, columns] or null: each value is multiplied by GELU'(kept), in GELU's tanh form
  void* out = nullptr;                      // [rows, columns] or null: the values
  void* sum = nullptr;                      // [columns]: their sums over rows
  float* partial = nullptr;                 // [partials, columns]
  int64_t partials = 0;
  void* stream = nullptr;
};

#ifdef DEEPSEEK_CUDA
int64_t column_partials_cuda(int64_t rows, int64_t columns);
int column_sums_cuda(const ColumnSums& params);  // a cudaError_t
#endif

}  // namespace deepseek::linear
