// Block-sparse attention on the CPU: the operator's parameters as for CUDA, without its workspaces.
#pragma once

#include "common/cpu.h"
#include "sparse_attention/sparse_attention.h"

namespace deepseek {

DS_CPU_DECLARE(void, sparse_attention_forward, (const SparseAttentionParams&))
// Reads lse and out of the forward pass; writes grad_q, grad_k and grad_v.
DS_CPU_DECLARE(void, sparse_attention_backward, (const SparseAttentionParams&))

}  // namespace deepseek
