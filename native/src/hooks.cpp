#include "deepseek/autograd.h"

#include "guard.h"

#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/variable.h>

#include <memory>
#include <stdexcept>

using deepseek::borrow;
using deepseek::guard;
using deepseek::require;

namespace {

thread_local std::string callback_error;

// The caller's context; told when the last user of it is gone.
std::shared_ptr<void> keep(void* context, ds_release release) {
  return std::shared_ptr<void>(context, [release](void* held) {
    if (release != nullptr) release(held);
  });
}

void check(int32_t status) {
  if (status == 0) return;
  auto text = std::move(callback_error);
  callback_error.clear();
  if (text.empty()) text = "a callback of the backward pass failed";
  if (status == DS_OUT_OF_MEMORY) C10_THROW_ERROR(OutOfMemoryError, text);
  throw std::runtime_error(text);
}

at::Tensor reclaim(ds_tensor handle) {
  if (handle == nullptr) return {};
  auto tensor = borrow(handle);
  deepseek::take(handle);
  return tensor;
}

// A step of the graph whose backward pass lies with the caller.
struct CallbackNode : torch::autograd::Node {
  CallbackNode(ds_backward backward, std::shared_ptr<void> context) : backward_(backward), context_(std::move(context)) {}

  torch::autograd::variable_list apply(torch::autograd::variable_list&& gradients) override {
    TORCH_CHECK(context_ != nullptr, "a second backward pass through a graph that was not kept");
    std::vector<ds_tensor> given;
    given.reserve(gradients.size());
    // Borrowed by the callback: the list keeps them.
    for (const auto& gradient : gradients) given.push_back(gradient.defined() ? reinterpret_cast<ds_tensor>(gradient.unsafeGetTensorImpl()) : nullptr);
    std::vector<ds_tensor> made(num_outputs(), nullptr);
    const auto status = backward_(context_.get(), given.data(), static_cast<int32_t>(given.size()), made.data(), static_cast<int32_t>(made.size()));
    torch::autograd::variable_list results;
    results.reserve(made.size());
    for (auto* handle : made) results.push_back(reclaim(handle));
    check(status);
    return results;
  }

  // What the caller kept for the pass goes as soon as it is over, as libtorch's own nodes do it.
  void release_variables() override { context_.reset(); }

  std::string name() const override { return "DeepSeekFunction"; }

  ds_backward backward_;
  std::shared_ptr<void> context_;
};

}  // namespace

ds_status ds_autograd_set_callback_error(const char* text) noexcept {
  return guard("ds_autograd_set_callback_error", [&] { callback_error = text == nullptr ? "" : text; });
}

ds_status ds_autograd_add_hook(ds_tensor tensor, ds_gradient_hook hook, ds_release release, void* context, uint32_t* id) noexcept {
  return guard("ds_autograd_add_hook", [&] {
    require(hook != nullptr && id != nullptr, "the hook or the output pointer is null");
    const auto value = borrow(tensor);
    require(value.requires_grad(), "the tensor gets no gradient");
    auto held = keep(context, release);
    *id = value.register_hook([hook, held](at::Tensor gradient) -> at::Tensor {
      ds_tensor replacement = nullptr;
      const auto status = hook(held.get(), reinterpret_cast<ds_tensor>(gradient.unsafeGetTensorImpl()), &replacement);
      auto result = reclaim(replacement);
      check(status);
      return result;
    });
  });
}

ds_status ds_autograd_remove_hook(ds_tensor tensor, uint32_t id) noexcept {
  return guard("ds_autograd_remove_hook", [&] { borrow(tensor).remove_hook(id); });
}

ds_status ds_autograd_attach(const ds_tensor* inputs, int32_t input_count, const ds_tensor* outputs, int32_t output_count, ds_backward backward, ds_release release, void* context) noexcept {
  return guard("ds_autograd_attach", [&] {
    require(input_count >= 0 && (inputs != nullptr || input_count == 0), "the inputs are null or their count negative");
    require(output_count >= 1 && outputs != nullptr && backward != nullptr, "there is no output or no callback");
    std::vector<at::Tensor> results;
    for (int32_t i = 0; i < output_count; i++) {
      results.push_back(borrow(outputs[i]));
      require(!results.back().requires_grad(), "an output is recorded already; compute it without recording, as a tensor of its own");
      require(at::isFloatingType(results.back().scalar_type()), "an output's type has no gradient");
    }
    torch::autograd::edge_list edges;
    for (int32_t i = 0; i < input_count; i++) {
      const auto input = borrow(inputs[i]);
      edges.push_back(input.requires_grad() ? torch::autograd::impl::gradient_edge(input) : torch::autograd::Edge());
    }
    auto node = std::shared_ptr<CallbackNode>(new CallbackNode(backward, nullptr), torch::autograd::deleteNode);
    node->set_next_edges(std::move(edges));
    for (auto& result : results) torch::autograd::set_history(result, node);
    node->context_ = keep(context, release);
  });
}
