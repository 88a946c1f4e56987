#pragma once

#include <cuda_runtime.h>

#include "sparse_attention.h"

namespace deepseek {

// Fills delta, lse2, query_index and query_count from lse, out, grad_out and the lists.
int sparse_attention_backward_lists(const SparseAttentionParams& p, cudaStream_t stream);

int sparse_attention_backward_keys_hopper(const SparseAttentionParams& p, cudaStream_t stream);     // grad_k, grad_v
int sparse_attention_backward_queries_hopper(const SparseAttentionParams& p, cudaStream_t stream);  // grad_q

}  // namespace deepseek
