// Gather attention and what the indexer learns from by plain libtorch operators, differentiable by autograd, on any device:
// the definitions that the kernels are tested against.
#pragma once

#include <ATen/ATen.h>

#include <tuple>

namespace deepseek {

// Lists as the operators take them: int32 [batch, queries, capacity] and [batch, queries].
struct TokenLists {
  at::Tensor index, count;
  bool defined() const { return index.defined(); }
  at::Tensor exists() const;  // bool [batch, queries, capacity]: before the count
  at::Tensor keys() const;    // int64 [batch, queries, capacity]; 0 after the count
};

// Rows of x [batch, heads, keys, dim] by list: [batch, heads, queries, capacity, dim], zero after the count.
at::Tensor gathered(const at::Tensor& x, const TokenLists& lists);

// Output of q's type, and logarithms of the softmax sums. In float64 for float64 inputs, in float32 otherwise.
std::tuple<at::Tensor, at::Tensor> gather_attention_reference(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const TokenLists& lists, double scale);

}  // namespace deepseek
