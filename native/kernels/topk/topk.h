// The k greatest (or least) elements of each row, exactly: in order of value, equal values in order of index. NaN counts as
// greater than every number, and −0 equals +0. The same input gives the same output, bit for bit.
#pragma once

#include "common/cpu.h"
#include "common/types.h"

#include <cstdint>
#include <cstring>

namespace deepseek {

struct TopkParams {
  int64_t rows = 0, columns = 0;
  int64_t k = 0;  // 1 … columns
  int type = kFloat32;
  bool largest = true;
  const void* x = nullptr;     // [rows, columns]
  void* values = nullptr;      // [rows, k]
  int64_t* indices = nullptr;  // [rows, k]
  void* stream = nullptr;
};

DS_CPU_DECLARE(void, topk, (const TopkParams&))

#ifdef DEEPSEEK_CUDA
constexpr int64_t kTopkCudaMaximum = 2048;
int topk_cuda(const TopkParams& params);  // a cudaError_t; k at most kTopkCudaMaximum
#endif

}  // namespace deepseek
