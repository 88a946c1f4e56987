// Batch normalisation (Ioffe & Szegedy, arXiv 1502.03167) of a matrix [rows, columns] whose columns are the channels (an image
// in channels-last layout is one), with addition and ReLU in the same pass:  y = relu((x − mean) · rstd · weight + bias [+ residual]).
//
// Statistics. Every share (the rows of one block of threads) sums x − k and (x − k)² in float32, k being the channel's value in
// the share's first row, so that what is squared has the size of the spread and not of the mean; a share's sums become its
// mean and sum of squared deviations, and the shares are put together in float64, always in the same order. A value of a million
// deviations costs precision only in the share that starts with it.
//
// The backward pass recomputes ReLU's mask from x; only where a residual was added is it kept, as one bit an element.
#pragma once

#include "common/cpu.h"
#include "common/types.h"

#include <cstdint>

namespace deepseek {

struct BatchNormParams {
  int64_t rows = 0, columns = 0;
  int type = kFloat32;  // of x, residual, y, dy, other, dx, dresidual; everything else is float32
  bool relu = false;
  bool training = false;  // statistics of the batch; otherwise the running ones are given
  double momentum = 0.1, epsilon = 1e-5;

  const void* x = nullptr;
  const void* residual = nullptr;  // or null
  const float* weight = nullptr;   // [columns]
  const float* bias = nullptr;     // [columns]
  void* y = nullptr;
  uint8_t* mask = nullptr;  // residual and relu: [rows, (columns + 7) / 8], bit i of a byte set where channel 8·byte + i is above 0

  // Training: written by the forward pass. Otherwise running mean and variance, only read.
  float* mean = nullptr;
  float* spread = nullptr;           // 1 / sqrt(variance + epsilon); the variance itself when not training
  float* running_mean = nullptr;     // or null; followed in training: (1 − momentum) · old + momentum · new
  float* running_variance = nullptr;  // the same with the unbiased variance

  // Backward: x, weight, bias, mean, spread and mask as above.
  const void* dy = nullptr;
  const void* other = nullptr;  // a second gradient of y, to be added to dy, or null; only with a residual and relu
  void* dx = nullptr;           // or null
  void* dresidual = nullptr;    // with a residual and relu: the masked gradient, always written; then dx is made from it
  float* dweight = nullptr;
  float* dbias = nullptr;

  float* partial = nullptr;       // CUDA: [partials, 2, columns]
  float* coefficients = nullptr;  // CUDA, backward: [2, columns]
  int64_t partials = 0;
  void* stream = nullptr;
};

DS_CPU_DECLARE(void, batch_norm_forward, (const BatchNormParams&))
DS_CPU_DECLARE(void, batch_norm_backward, (const BatchNormParams&))

#ifdef DEEPSEEK_CUDA
// For columns divisible by 8 and pointers divisible by 16. Return a cudaError_t.
int batch_norm_forward_cuda(const BatchNormParams& params);
int batch_norm_backward_cuda(const BatchNormParams& params);
// Shares that the statistics and the sums of the backward pass are made of.
int64_t batch_norm_partials_cuda(const BatchNormParams& params);
int64_t batch_norm_gradient_partials_cuda(const BatchNormParams& params);
#endif

}  // namespace deepseek
