#include "deepseek/autograd.h"

#include "guard.h"

#include <torch/csrc/autograd/autograd.h>

using deepseek::borrow;
using deepseek::guard;
using deepseek::require;

ds_status ds_autograd_backward(ds_tensor root, ds_tensor gradient, int32_t keep_graph) noexcept {
  return guard("ds_autograd_backward", [&] {
    const auto value = borrow(root);
    require(value.requires_grad(), "the root depends on no tensor that requires a gradient");
    require(gradient != nullptr || value.numel() == 1, "a root of several elements needs a gradient");
    value.backward(gradient == nullptr ? at::Tensor() : borrow(gradient), keep_graph != 0, false);
  });
}

ds_status ds_autograd_backward_many(const ds_tensor* roots, const ds_tensor* gradients, int32_t count, int32_t keep_graph) noexcept {
  return guard("ds_autograd_backward_many", [&] {
    require(count >= 0 && ((roots != nullptr && gradients != nullptr) || count == 0), "the handles are null or their count negative");
    torch::autograd::variable_list values, given;
    for (int32_t i = 0; i < count; i++) {
      values.push_back(borrow(roots[i]));
      given.push_back(borrow(gradients[i]));
      require(values.back().requires_grad(), "a root depends on no tensor that requires a gradient");
    }
    if (count > 0) torch::autograd::backward(values, given, keep_graph != 0, false);
  });
}

ds_status ds_autograd_set_requires_grad(ds_tensor tensor, int32_t required) noexcept {
  return guard("ds_autograd_set_requires_grad", [&] { borrow(tensor).set_requires_grad(required != 0); });
}

ds_status ds_autograd_grad(ds_tensor tensor, ds_tensor* out) noexcept {
  return guard("ds_autograd_grad", [&] {
    require(out != nullptr, "the output pointer is null");
    const auto gradient = borrow(tensor).grad();
    *out = gradient.defined() ? deepseek::give(gradient) : nullptr;
  });
}

ds_status ds_autograd_clear_grads(const ds_tensor* tensors, int32_t count) noexcept {
  return guard("ds_autograd_clear_grads", [&] {
    require(count >= 0 && (tensors != nullptr || count == 0), "the handles are null or their count negative");
    for (int32_t i = 0; i < count; i++) borrow(tensors[i]).mutable_grad().reset();
  });
}

ds_status ds_autograd_set_recording(int32_t enabled, int32_t* previous) noexcept {
  return guard("ds_autograd_set_recording", [&] {
    require(previous != nullptr, "the output pointer is null");
    *previous = at::GradMode::is_enabled();
    at::GradMode::set_enabled(enabled != 0);
  });
}

ds_status ds_autograd_enter_inference(void** entered) noexcept {
  return guard("ds_autograd_enter_inference", [&] {
    require(entered != nullptr, "the output pointer is null");
    *entered = new c10::InferenceMode(true);
  });
}

ds_status ds_autograd_leave_inference(void* entered) noexcept {
  return guard("ds_autograd_leave_inference", [&] {
    require(entered != nullptr, "the guard is null");
    delete static_cast<c10::InferenceMode*>(entered);
  });
}
