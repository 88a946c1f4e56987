// The indexer by plain libtorch operators, on any device: the definitions that the kernels are tested against.
#pragma once

#include "gather_attention/reference.h"

namespace deepseek {

// bool [batch, queries, keys]: the pairs that are seen.
at::Tensor indexer_seen_pairs(const at::Tensor& k, int64_t queries, bool causal, const at::Tensor& lengths);

// q [batch, queries, heads, dim], k [batch, keys, dim], weights [batch, queries, heads] → [batch, queries, keys], nothing hidden.
at::Tensor indexer_logits_reference(const at::Tensor& q, const at::Tensor& k, const at::Tensor& weights);

// The mean over the queries of KL(p ‖ softmax(I)), differentiable by index_q, index_k and weights. With lists in memory
// queries · entries · (key heads · dim + index_dim), without them heads · queries · keys.
at::Tensor indexer_loss_reference(const at::Tensor& q, const at::Tensor& k, const at::Tensor& index_q, const at::Tensor& index_k, const at::Tensor& weights,
                                  const TokenLists& lists, bool causal, double scale);

}  // namespace deepseek
