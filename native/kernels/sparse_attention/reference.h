// Block-sparse attention by plain libtorch operators, on any device: the definition that the kernels are tested against.
#pragma once

#include <ATen/ATen.h>

#include <tuple>

namespace deepseek {

// The arguments of deepseek::block_sparse_attention that are not differentiated; tensors may be undefined.
struct SparsePattern {
  at::Tensor block_index;
  at::Tensor block_count;
  int64_t block_q;
  int64_t block_k;
  bool causal;
  double scale;
  at::Tensor q_lengths;
  at::Tensor k_lengths;
};

// [B, H, queries, keys]: which pairs take part.
at::Tensor visible_pairs(const at::Tensor& q, const at::Tensor& k, const SparsePattern& pattern);

// Computed in float64 for float64 inputs and in float32 otherwise. Memory grows with queries times keys.
std::tuple<at::Tensor, at::Tensor> sparse_attention_reference(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const SparsePattern& pattern);
std::tuple<at::Tensor, at::Tensor, at::Tensor> sparse_attention_backward_reference(const at::Tensor& grad_out, const at::Tensor& q, const at::Tensor& k,
                                                                                   const at::Tensor& v, const at::Tensor& out, const at::Tensor& lse,
                                                                                   const SparsePattern& pattern);

}  // namespace deepseek
