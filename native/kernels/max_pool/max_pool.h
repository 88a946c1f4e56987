// Greatest element of each window of an image whose channels lie beside each other: [batch, height, width, channels] in memory.
// The place inside the window goes beside it as one byte, an eighth of libtorch's index, and the backward pass gathers: every
// input element adds the gradients of the windows that took it, in their order, so no atomics and no filling with zeros.
#pragma once

#include "common/types.h"

#include <cstdint>

namespace deepseek {

struct MaxPoolParams {
  int64_t batch = 0, height = 0, width = 0, channels = 0;  // channels divisible by 8
  int64_t out_height = 0, out_width = 0;
  int kernel[2] = {1, 1}, stride[2] = {1, 1}, padding[2] = {0, 0};  // at most 256 places in a window
  int type = kFloat32;
  const void* x = nullptr;   // forward: input; backward: the output's gradient
  void* y = nullptr;         // forward: output; backward: the input's gradient
  uint8_t* place = nullptr;  // as the output; forward: may be null
  void* stream = nullptr;
};

#ifdef DEEPSEEK_CUDA
// Pointers divisible by 16. Return a cudaError_t.
int max_pool_forward_cuda(const MaxPoolParams& params);
int max_pool_backward_cuda(const MaxPoolParams& params);
#endif

}  // namespace deepseek
