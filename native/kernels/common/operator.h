// What the registration of an operator needs of libtorch, precompiled once for kernels/*/*.cpp.
#pragma once

#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#ifdef DEEPSEEK_CUDA
#include <ATen/cuda/CUDAContext.h>
#endif

#include <tuple>

namespace deepseek {

// Element types as the kernels number them (common/types.h).
inline int element_type(const at::Tensor& tensor, const char* op, const char* name) {
  switch (tensor.scalar_type()) {
    case at::kFloat: return 0;
    case at::kBFloat16: return 1;
    case at::kHalf: return 2;
    default: TORCH_CHECK(false, op, ": ", name, " is ", tensor.scalar_type(), "; float32, bfloat16 or float16 is needed");
  }
}

inline const at::Tensor& defined_or_empty(const c10::optional<at::Tensor>& tensor) {
  static const auto* none = new at::Tensor();
  return tensor.has_value() ? *tensor : *none;
}

inline const void* data_or_null(const at::Tensor& tensor) { return tensor.defined() ? tensor.data_ptr() : nullptr; }
inline void* mutable_data_or_null(const at::Tensor& tensor) { return tensor.defined() ? tensor.data_ptr() : nullptr; }

// The stream that libtorch uses on the tensor's device now; null on the CPU.
inline void* current_stream(const at::Tensor& tensor) {
#ifdef DEEPSEEK_CUDA
  if (tensor.is_cuda()) return static_cast<void*>(at::cuda::getCurrentCUDAStream(tensor.device().index()).stream());
#endif
  (void)tensor;
  return nullptr;
}

// Fails for a CUDA tensor in a build without the CUDA kernels, and for devices that have no kernels at all.
inline void check_device(const at::Tensor& tensor, const char* op) {
#ifdef DEEPSEEK_CUDA
  TORCH_CHECK(tensor.is_cpu() || tensor.is_cuda(), op, ": there is no kernel for device ", tensor.device());
#else
  TORCH_CHECK(tensor.is_cpu(), op, ": the tensor is on ", tensor.device(), ", but the engine was built without its CUDA kernels");
#endif
}

// Turns a launcher's result (a cudaError_t) into an exception.
inline void check_launch(int status, const char* op) {
#ifdef DEEPSEEK_CUDA
  TORCH_CHECK(status == 0, op, ": the CUDA kernel failed: ", cudaGetErrorString(static_cast<cudaError_t>(status)));
#else
  TORCH_CHECK(status == 0, op, ": the kernel failed with ", status);
#endif
}

}  // namespace deepseek
