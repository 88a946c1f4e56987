// Cross entropy of a linear layer's outputs, by chunks of rows: the logits of one chunk exist at a time, and where a gradient
// is wanted they are overwritten by it at once. Here: one chunk's rows.
//   loss = log Σ e^logit − logit[target],   gradient = (softmax − onehot(target)) · scale
#pragma once

#include "common/cpu.h"
#include "common/types.h"

#include <cstdint>

namespace deepseek {

struct CrossEntropyParams {
  int64_t rows = 0, columns = 0;
  int type = kFloat32;
  void* logits = nullptr;  // [rows, columns]; the gradient afterwards where `gradient` is set
  const int64_t* target = nullptr;  // [rows]
  int64_t ignored = -100;           // rows of this target have no loss and no gradient; other targets outside give NaN
  const float* scale = nullptr;     // one float, on the device
  float* loss = nullptr;            // [rows], not scaled
  bool gradient = false;
  void* stream = nullptr;
};

DS_CPU_DECLARE(void, cross_entropy_rows, (const CrossEntropyParams&))

#ifdef DEEPSEEK_CUDA
int cross_entropy_rows_cuda(const CrossEntropyParams& params);  // a cudaError_t
#endif

}  // namespace deepseek
