// ai.deepseek::BlockSparseAttention, version 1: attention of query blocks to the key blocks that a cheap estimate finds worth it.
#pragma once

#include "onnx/ort_abi.h"

#include <cstdint>

namespace deepseek::ort {

// The node's attributes, which mean what SparsePolicy (libs/DeepSeek.Engine) says of the property of that name.
struct Policy {
  bool causal, shared_budget;
  float scale, power;  // of 0, the maximum
  double density, mass;
  int64_t block_q, block_k, sink, window, minimum, stride, estimate;

  // Throws std::invalid_argument, which names the attribute and what it should be.
  static Policy read(Api api, const KernelInfo* info);
};

// Float32, each tensor without gaps; key_lengths may be null.
struct Attention {
  const float* q;              // [batch, heads, queries, dim]
  const float *k, *v;          // [batch, kv_heads, keys, dim]
  const int64_t* key_lengths;  // [batch]
  float* out;                  // like q
  int64_t batch, heads, kv_heads, queries, keys, dim;

  // Scores, chooses and attends.
  void compute(const Policy& policy) const;
};

}  // namespace deepseek::ort
