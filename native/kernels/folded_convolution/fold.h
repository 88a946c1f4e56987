// Squares of 2 × 2 pixels become pixels of four times the channels, with a border of zeros, in channels-last layout. A convolution
// of stride 2 over few channels becomes one of stride 1 over enough channels for the tensor cores' loads (16 bytes a pixel):
//   y[o] = Σ_i w[i] · x[2·o + i − p]  =  Σ_a Σ_b w[2·a + b − shift] · x[2·(o + a − before) + b],  2·before = p + shift
#pragma once

#include "common/types.h"

#include <cstdint>

namespace deepseek {

struct FoldParams {
  int64_t batch = 0, channels = 0, height = 0, width = 0;  // of x; height and width even
  int64_t strides[4] = {};                                 // of x, in elements: image, channel, row, column
  int before = 0, after = 0;                               // rows and columns of zeros around the squares
  int64_t out_channels = 0;                                // 4 · channels rounded up to 8; channel (2·row + column) · channels + c, then zeros
  int type = kFloat32, out_type = kFloat32;
  const void* x = nullptr;
  void* y = nullptr;  // [batch, before + height / 2 + after, before + width / 2 + after, out_channels]
  void* stream = nullptr;
};

#ifdef DEEPSEEK_CUDA
// y divisible by 16. Returns a cudaError_t.
int fold_cuda(const FoldParams& params);
#endif

}  // namespace deepseek
