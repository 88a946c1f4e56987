// What operators with linear layers inside share: the products of a layer and of its backward pass.
#pragma once

#include "common/operator.h"

#include <initializer_list>
#include <utility>
#include <vector>

namespace deepseek::linear {

// x [rows, in] · Wᵀ + b -> [rows, out]; W [out, in] in any strides, b [out] or undefined.
at::Tensor forward(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);
// The same and GELU of it, in its tanh form: what GELU is applied to, and the result.
std::pair<at::Tensor, at::Tensor> forward_gelu(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

// dy [rows, out] · W.
at::Tensor input_gradient(const at::Tensor& dy, const at::Tensor& weight);
// dyᵀ·x, laid out as the weight.
at::Tensor weight_gradient(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& weight);
// dy's sum over rows.
at::Tensor bias_gradient(const at::Tensor& dy);
// dy · W times GELU's slope at `kept`, and its sum over rows.
std::pair<at::Tensor, at::Tensor> gelu_gradient(const at::Tensor& dy, const at::Tensor& weight, const at::Tensor& kept);
// Three tensors [.., C], whose elements lie whole, side by side as [.., 3·C], and the sum over rows.
std::pair<at::Tensor, at::Tensor> joined(const at::Tensor& a, const at::Tensor& b, const at::Tensor& c);

// Fails where weight [out, in] and bias [out] do not fit x's last dimension, type and device.
void check(const at::Tensor& x, int64_t columns, const at::Tensor& weight, const at::Tensor& bias, const char* op);
// [.., columns] as [rows, columns], whole.
at::Tensor rows_of(const at::Tensor& x);
// x's sizes with another last one.
std::vector<int64_t> sizes_with(const at::Tensor& x, int64_t columns);
// A bit for each tensor that wants a gradient.
int64_t wanted(std::initializer_list<at::Tensor> tensors);

}  // namespace deepseek::linear
