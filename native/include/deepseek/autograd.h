// Reverse-mode differentiation.
#pragma once

#include "tensor.h"

// Adds d(root)/d(leaf) to the gradient of every leaf; `gradient` may be null for a one-element root.
DS_API ds_status ds_autograd_backward(ds_tensor root, ds_tensor gradient, int32_t keep_graph) DS_NOEXCEPT;
DS_API ds_status ds_autograd_set_requires_grad(ds_tensor tensor, int32_t required) DS_NOEXCEPT;
// The leaf's gradient, or null in *out when it has none.
DS_API ds_status ds_autograd_grad(ds_tensor tensor, ds_tensor* out) DS_NOEXCEPT;
// Drops the gradients of `count` leaves.
DS_API ds_status ds_autograd_clear_grads(const ds_tensor* tensors, int32_t count) DS_NOEXCEPT;
// Whether this thread records operations; *previous gets the former setting.
DS_API ds_status ds_autograd_set_recording(int32_t enabled, int32_t* previous) DS_NOEXCEPT;
// Inference mode of this thread: no recording, no version counting. Leave in reverse order of entering, on the same thread.
DS_API ds_status ds_autograd_enter_inference(void** guard) DS_NOEXCEPT;
DS_API ds_status ds_autograd_leave_inference(void* guard) DS_NOEXCEPT;
