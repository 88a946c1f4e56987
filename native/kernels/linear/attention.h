// Attention over queries, keys and values that lie side by side in one tensor.
#pragma once

#include <ATen/ATen.h>
#include <torch/version.h>

#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 6)
#define DS_CHOOSES_ATTENTION
#include <ATen/SDPBackend.h>
#endif

namespace deepseek::linear {

struct Heads {
  at::Tensor q, k, v;  // [N, heads, T, width]
};

// Views of [N, T, 3 · heads · width].
Heads heads_of(const at::Tensor& joint, int64_t heads);
// [N, heads, T, width] -> [N, T, heads · width].
at::Tensor beside(const at::Tensor& y);
// [N, T, 3·C] -> [N, T, C], by differentiable operators.
at::Tensor attention(const at::Tensor& joint, int64_t heads, bool causal);
#ifdef DS_CHOOSES_ATTENTION
// Whether libtorch would choose cuDNN's attention for such a projection of x [N, T, in], of `type` and with so many columns.
bool takes_cudnn(const at::Tensor& x, at::ScalarType type, int64_t columns, int64_t heads, bool causal);
#endif

}  // namespace deepseek::linear
