// Reverse-mode differentiation.
#pragma once

#include "tensor.h"

// Adds d(root)/d(leaf) to the gradient of every leaf; `gradient` may be null for a one-element root.
DS_API ds_status ds_autograd_backward(ds_tensor root, ds_tensor gradient, int32_t keep_graph) DS_NOEXCEPT;
// The same from several roots, each with its gradient.
DS_API ds_status ds_autograd_backward_many(const ds_tensor* roots, const ds_tensor* gradients, int32_t count, int32_t keep_graph) DS_NOEXCEPT;
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

// Callbacks into the caller. They return 0, or a status after ds_autograd_set_callback_error: the backward pass then ends with
// that text, and with DS_OUT_OF_MEMORY where that was the status. They may run on another thread than the one that started the pass. `release` is called once, when nothing needs the
// context any more; it may be null.
typedef void (*ds_release)(void* context);
// A gradient (borrowed); a tensor put into *replacement (given) takes its place.
typedef int32_t (*ds_gradient_hook)(void* context, ds_tensor gradient, ds_tensor* replacement);
// Gradients of the outputs (borrowed, null where none flows) to those of the inputs (given, null for none).
typedef int32_t (*ds_backward)(void* context, const ds_tensor* gradients, int32_t count, ds_tensor* input_gradients, int32_t input_count);

DS_API ds_status ds_autograd_set_callback_error(const char* text) DS_NOEXCEPT;
// Calls the hook with every gradient that reaches this tensor; *id tells hooks of one tensor apart. On failure `release` is not called.
DS_API ds_status ds_autograd_add_hook(ds_tensor tensor, ds_gradient_hook hook, ds_release release, void* context, uint32_t* id) DS_NOEXCEPT;
DS_API ds_status ds_autograd_remove_hook(ds_tensor tensor, uint32_t id) DS_NOEXCEPT;
// Makes `outputs`, computed from `inputs` without recording, results of one step whose backward pass is the callback; the context is
// released behind it unless the graph is kept. On failure `release` is not called.
DS_API ds_status ds_autograd_attach(const ds_tensor* inputs, int32_t input_count, const ds_tensor* outputs, int32_t output_count, ds_backward backward, ds_release release, void* context) DS_NOEXCEPT;
