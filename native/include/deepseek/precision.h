// Reduced precision: autocast, and the loss scale that keeps float16 gradients in range (Micikevicius et al., "Mixed precision
// training", arXiv 1710.03740, section 3.2).
#pragma once

#include "tensor.h"

// Lets operators of this thread on that type of device choose `dtype` (float16 or bfloat16) where it is safe. Leave in reverse
// order; *previous is to be given back to ds_autocast_leave.
DS_API ds_status ds_autocast_enter(int32_t device_type, int32_t dtype, int32_t* previous) DS_NOEXCEPT;
DS_API ds_status ds_autocast_leave(int32_t device_type, int32_t previous) DS_NOEXCEPT;

// Modes of a thread that decide what an operator computes and records.
typedef struct ds_modes {
  uint32_t size;  // sizeof(ds_modes), set by the caller
  int32_t recording;      // 1: operations are recorded for differentiation
  int32_t cpu_autocast;   // element type on the CPU; -1: off
  int32_t cuda_autocast;  // element type on GPUs; -1: off
  int32_t cache;          // 1: autocast keeps the cast copies of weights and shares them
} ds_modes;
DS_API ds_status ds_modes_get(ds_modes* modes) DS_NOEXCEPT;
DS_API ds_status ds_modes_set(const ds_modes* modes) DS_NOEXCEPT;

// Divides all gradients by *scale (float32, one element) and sets *found (float32, one element) to 1 when one of them is not
// finite, else to 0. Nothing waits for the device.
DS_API ds_status ds_scaler_unscale(const ds_tensor* parameters, int32_t count, ds_tensor scale, ds_tensor found) DS_NOEXCEPT;
// After a step: scale *= backoff when found is set, scale *= growth after `interval` clean steps in a row; *clean counts them
// (int32, one element).
DS_API ds_status ds_scaler_update(ds_tensor scale, ds_tensor clean, ds_tensor found, double growth, double backoff, int64_t interval) DS_NOEXCEPT;
