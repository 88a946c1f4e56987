// Walks over the gradients of an optimiser's parameters.
#pragma once

#include "guard.h"

// One build of each loop for each vector width; contraction is off, so all give the same bits.
#if defined(__x86_64__) && !defined(__clang__)
#define DS_VECTORISED __attribute__((target_clones("arch=x86-64-v4", "avx2", "default"), optimize("tree-vectorize")))
#else
#define DS_VECTORISED
#endif

namespace deepseek {

// Whether a loop over floats in the host's memory may take it.
inline bool plain(const at::Tensor& tensor) {
  return tensor.device().is_cpu() && tensor.scalar_type() == at::kFloat && tensor.is_contiguous();
}

template <class Body>
void each_gradient(const ds_tensor* parameters, int32_t count, Body&& body) {
  require(count >= 0 && (parameters != nullptr || count == 0), "the parameters are null or their count negative");
  for (int32_t i = 0; i < count; i++) {
    // detach: updating a leaf in place must not be recorded.
    const auto parameter = borrow(parameters[i]);
    auto gradient = parameter.grad();
    if (gradient.defined()) body(i, parameter, gradient);
  }
}

}  // namespace deepseek
