// Attention of each query to the keys that its list names; all heads of a query share the list.
#pragma once

#include "common/cpu.h"
#include "sparse_attention/sparse_attention.h"

namespace deepseek {

struct GatherAttentionParams {
  AttentionTensor q{};    // [batch, heads, queries, dim]
  AttentionTensor k{};    // [batch, kv_heads, keys, dim]
  AttentionTensor v{};    // like k
  AttentionTensor out{};  // like q
  float* lse = nullptr;   // [batch, heads, queries], natural logarithm; -inf for an empty list

  // Only in the backward.
  AttentionTensor grad_out{};  // like q
  AttentionTensor grad_q{};    // like q
  AttentionTensor grad_k{};    // like k
  AttentionTensor grad_v{};    // like k
  float* delta = nullptr;      // CUDA: [batch, heads, queries], workspace
  // Hopper's gradients of keys and values, of the queries of a launch:
  void* moves = nullptr;       // what each query adds to its listed keys; gather_attention_moves_bytes() a query
  uint32_t* places = nullptr;  // [batch, (keys + 31) / 32, query_count, 2]: of 32 keys those listed as bits, and the first one's entry
  float* sums = nullptr;       // [batch, kv_heads, keys, 2, dim], where the queries take several launches

  const int32_t* index = nullptr;  // [batch, queries, capacity], each list strictly ascending; entries after the count are not read
  const int32_t* count = nullptr;  // [batch, queries]
  int64_t capacity = 0;
  int parts = 1;                   // Hopper: pieces that a list is cut into, as few queries leave multiprocessors idle
  float* partial = nullptr;        // [batch, heads, queries, parts, dim], workspace where there are several
  float* partial_lse = nullptr;    // [batch, heads, queries, parts]
  int64_t batch = 0, heads = 0, kv_heads = 0, queries = 0, keys = 0, dim = 0;
  int64_t first_query = 0, query_count = 0;  // Hopper: the queries of a launch
  float scale = 0;
  int type = kFloat32;
  void* stream = nullptr;
};

DS_CPU_DECLARE(void, gather_attention_forward, (const GatherAttentionParams&))
// Reads lse and out of the forward pass; writes grad_q, grad_k and grad_v.
DS_CPU_DECLARE(void, gather_attention_backward, (const GatherAttentionParams&))

#ifdef DEEPSEEK_CUDA
// A cudaError_t. Lists cannot be refused without a wait for the device: rows of a faulty one become NaN.
int gather_attention_forward_cuda(const GatherAttentionParams& params);
// The same on Hopper's tensor cores: halves, heads of 64 or 128, addresses and strides in multiples of 16 bytes.
bool gather_attention_hopper_takes(const GatherAttentionParams& params);
int gather_attention_hopper_parts(const GatherAttentionParams& params, int processors);
int gather_attention_forward_hopper(const GatherAttentionParams& params);
int gather_attention_backward_cuda(const GatherAttentionParams& params);
int gather_attention_backward_queries_hopper(const GatherAttentionParams& params);
int64_t gather_attention_moves_bytes(const GatherAttentionParams& params);
int gather_attention_backward_keys_hopper(const GatherAttentionParams& params);
#endif

}  // namespace deepseek
