// The kernels' threads (common/cpu.h) are those of the session whose kernel is computing.
#pragma once

#include "onnx/ort_abi.h"

namespace deepseek::ort {

// While it lives, what this thread computes is spread over the threads of that context's session.
class Threads {
 public:
  Threads(Api api, const KernelContext* context) noexcept;
  ~Threads();
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;
};

}  // namespace deepseek::ort
