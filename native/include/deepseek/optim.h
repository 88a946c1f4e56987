// Optimiser steps over many parameters in one call. Parameters without a gradient are passed over. Float32 CPU tensors go
// through one fused loop each, CUDA tensors through one launch for all, everything else through libtorch's operators with the
// same formula. Parameters of half precision have float32 masters, which the step updates and rounds into them.
#pragma once

#include "tensor.h"

// Loshchilov & Hutter, "Decoupled weight decay regularization", arXiv 1711.05101, algorithm 2.
typedef struct ds_adamw {
  uint32_t size;  // sizeof(ds_adamw), set by the caller
  int32_t count;
  int32_t decayed;  // weight decay falls on the first so many parameters
  int32_t unused;
  int64_t step;  // of this step, from 1; with `control` it is counted on the device instead
  double learning_rate;  // with `control`: the one last set by ds_optim_set_rate
  double weight_decay;
  double beta1;
  double beta2;
  double epsilon;
  const ds_tensor* parameters;  // [count]
  const ds_tensor* first;       // [count] float32, running mean of the gradient
  const ds_tensor* second;      // [count] float32, running mean of its square
  const ds_tensor* masters;     // null, or [count] float32 with null entries for parameters that are float32 themselves
  ds_tensor control;            // null, or CUDA float32 [8] from zeros: learning rate, steps, two corrections; weight decay, share, limit and norm of ds_adaptive
  ds_tensor skip;               // null, or float32 [1]: the step is left out where it is not zero
} ds_adamw;

// Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013, as PyTorch words it.
typedef struct ds_sgd {
  uint32_t size;  // sizeof(ds_sgd), set by the caller
  int32_t count;
  int32_t decayed;  // weight decay falls on the first so many parameters
  int32_t nesterov;
  int32_t first_step;  // the momentum buffers hold nothing yet (with `control`: they hold zeros)
  int32_t unused;
  double learning_rate;  // with `control`: the one last set by ds_optim_set_rate
  double weight_decay;
  double momentum;
  const ds_tensor* parameters;  // [count]
  const ds_tensor* buffers;     // [count] float32; null when momentum is 0
  const ds_tensor* masters;     // as in ds_adamw
  ds_tensor control;
  ds_tensor skip;
} ds_sgd;

// Defazio et al., "The road less scheduled", arXiv 2405.15682, algorithm 1, with AdamW's denominator: parameters are at
// y = (1 - interpolation)·z + interpolation·x; z takes the step, x goes so much of the way to it, and y follows.
typedef struct ds_adaptive {
  uint32_t size;  // sizeof(ds_adaptive), set by the caller
  int32_t count;
  int32_t decayed;
  int32_t unused;
  int64_t step;
  double learning_rate;         // with `control`, this, weight_decay and share are those last set by ds_optim_set_adaptive
  double weight_decay;
  double beta2;
  double epsilon;
  double interpolation;
  double share;                 // of the way from x to z
  const ds_tensor* parameters;  // [count], as the others in the manner of ds_adamw
  const ds_tensor* fast;        // z, float32
  const ds_tensor* average;     // x, float32
  const ds_tensor* second;
  const ds_tensor* masters;
  ds_tensor control;
  ds_tensor skip;
} ds_adaptive;

DS_API ds_status ds_optim_adaptive(const ds_adaptive* step) DS_NOEXCEPT;
DS_API ds_status ds_optim_adamw(const ds_adamw* step) DS_NOEXCEPT;
DS_API ds_status ds_optim_sgd(const ds_sgd* step) DS_NOEXCEPT;
// The learning rate of the following steps in a device's control tensor; may be called between replays of a recorded step.
DS_API ds_status ds_optim_set_rate(ds_tensor control, double learning_rate) DS_NOEXCEPT;
// The same with what else a step of ds_adaptive reads there, and the limit of ds_optim_clip_by.
DS_API ds_status ds_optim_set_adaptive(ds_tensor control, double learning_rate, double weight_decay, double share, double limit) DS_NOEXCEPT;
// ds_optim_clip of gradients on a GPU by the limit in the control tensor, whose place for the norm gets it: the call can be recorded.
DS_API ds_status ds_optim_clip_by(const ds_tensor* parameters, int32_t count, ds_tensor control) DS_NOEXCEPT;
// Scales all gradients so that their common L2 norm is at most `limit` (0: only measures); *norm gets it as it was. With a
// null `norm` nothing waits for the device, and the call can be recorded.
DS_API ds_status ds_optim_clip(const ds_tensor* parameters, int32_t count, double limit, double* norm) DS_NOEXCEPT;
// Multiplies all gradients.
DS_API ds_status ds_optim_scale(const ds_tensor* parameters, int32_t count, double factor) DS_NOEXCEPT;
