// The choice between kernels for one kind of processor and those for any.
#pragma once

#ifdef DEEPSEEK_CUDA
#include <ATen/cuda/CUDAContext.h>

#include <cstdlib>
#include <cstring>

namespace deepseek {

// Whether the kernels for Hopper may be taken on the current device; DEEPSEEK_KERNELS=portable forbids it, for checks and comparisons.
inline bool hopper_wanted() {
  const auto* device = at::cuda::getCurrentDeviceProperties();
  const char* wanted = std::getenv("DEEPSEEK_KERNELS");
  return device->major == 9 && device->minor == 0 && (wanted == nullptr || std::strcmp(wanted, "portable") != 0);
}

}  // namespace deepseek
#endif
