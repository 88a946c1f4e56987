// Optimiser steps over many parameters in one call. Parameters without a gradient are passed over. Float32 CPU tensors go
// through one fused loop each, everything else through libtorch's operators with the same formula.
#pragma once

#include "tensor.h"

// Loshchilov & Hutter, "Decoupled weight decay regularization", arXiv 1711.05101, algorithm 2.
typedef struct ds_adamw {
  uint32_t size;  // sizeof(ds_adamw), set by the caller
  int32_t count;
  int64_t step;  // of this step, from 1
  double learning_rate;
  double weight_decay;
  double beta1;
  double beta2;
  double epsilon;
  const ds_tensor* parameters;  // [count]
  const ds_tensor* first;       // [count] running mean of the gradient
  const ds_tensor* second;      // [count] running mean of its square
} ds_adamw;

// Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013, as PyTorch words it.
typedef struct ds_sgd {
  uint32_t size;  // sizeof(ds_sgd), set by the caller
  int32_t count;
  int32_t nesterov;
  int32_t first_step;  // the momentum buffers hold nothing yet
  double learning_rate;
  double weight_decay;
  double momentum;
  const ds_tensor* parameters;  // [count]
  const ds_tensor* buffers;     // [count]; null when momentum is 0
} ds_sgd;

DS_API ds_status ds_optim_adamw(const ds_adamw* step) DS_NOEXCEPT;
DS_API ds_status ds_optim_sgd(const ds_sgd* step) DS_NOEXCEPT;
// Scales all gradients so that their common L2 norm is at most `limit` (0: only measures); *norm gets it as it was.
DS_API ds_status ds_optim_clip(const ds_tensor* parameters, int32_t count, double limit, double* norm) DS_NOEXCEPT;
// Multiplies all gradients.
DS_API ds_status ds_optim_scale(const ds_tensor* parameters, int32_t count, double factor) DS_NOEXCEPT;
