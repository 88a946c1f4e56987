// Elementwise activations with what surrounds them, forward and backward, in one pass:
//   bias+GELU (Hendrycks & Gimpel, arXiv 1606.08415):  y = GELU(x + bias), with the normal distribution or its tanh form
//   SwiGLU (Shazeer, arXiv 2002.05202):                y = x · sigmoid(x) · gate
#pragma once

#include "common/cpu.h"
#include "common/types.h"

#include <cstdint>

namespace deepseek {

enum Activation : int { kGelu = 0, kGeluTanh = 1, kSwiGlu = 2 };

struct ActivationParams {
  int64_t rows = 0, columns = 0;
  int type = kFloat32;  // of x, gate, y, dy, dx, dgate
  int bias_type = kFloat32;
  int activation = kGelu;
  const void* x = nullptr;
  const void* bias = nullptr;  // [columns] or null (GELU)
  const void* gate = nullptr;  // SwiGLU's second factor
  void* y = nullptr;
  const void* dy = nullptr;  // backward: dx, and for SwiGLU dgate, are written
  void* dx = nullptr;
  void* dgate = nullptr;
  void* stream = nullptr;
};

DS_CPU_DECLARE(void, activation_forward, (const ActivationParams&))
DS_CPU_DECLARE(void, activation_backward, (const ActivationParams&))

#ifdef DEEPSEEK_CUDA
int activation_forward_cuda(const ActivationParams& params);  // a cudaError_t
int activation_backward_cuda(const ActivationParams& params);
#endif

}  // namespace deepseek
