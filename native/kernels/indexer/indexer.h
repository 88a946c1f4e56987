// The lightning indexer of DeepSeek-V3.2's sparse attention: I[t, s] = Σ_h w[t, h] · ReLU(q[t, h] · k[s]) with one key for all
// heads, the choice of each query's greatest, and the loss that it learns from.
#pragma once

#include "common/cpu.h"
#include "common/types.h"

#include <cstdint>

namespace deepseek {

constexpr int kE4m3 = 3;  // after the types of common/types.h; rows then have scales

struct IndexerParams {
  const void* q = nullptr;           // [batch, queries, heads, dim]
  const void* k = nullptr;           // [batch, keys, dim], rows contiguous; strides in elements
  int64_t k_batch_stride = 0, k_row_stride = 0;
  const float* k_scale = nullptr;    // [batch, keys] or null; rows contiguous
  int64_t k_scale_stride = 0;
  const float* weights = nullptr;    // [batch, queries, heads]; the scales of q's rows are in them: ReLU lets them through
  const int32_t* lengths = nullptr;  // [batch] or null: keys that exist
  int64_t batch = 0, queries = 0, keys = 0, heads = 0, dim = 0;
  int causal = 1;                    // query t sees key s when s <= t + length - queries
  int type = kFloat32;
  float* logits = nullptr;           // [batch, queries, keys], -inf where not seen; or null and
  int64_t select = 0;                // entries of a list, from 1
  int32_t* index = nullptr;          // [batch, queries, select], ascending; `keys` after the count
  int32_t* count = nullptr;          // [batch, queries]
  void* stream = nullptr;
};

inline int64_t indexer_length(const IndexerParams& p, int64_t b) {
  const int64_t length = p.lengths != nullptr ? p.lengths[b] : p.keys;
  return length < 0 ? 0 : length < p.keys ? length : p.keys;
}
// Keys that query t sees: the first ones.
inline int64_t indexer_seen(const IndexerParams& p, int64_t b, int64_t t) {
  const int64_t length = indexer_length(p, b);
  if (p.causal == 0) return length;
  const int64_t seen = t + 1 + length - p.queries;
  return seen < 0 ? 0 : seen < length ? seen : length;
}

// The loss of one query: KL(p ‖ softmax(I)) over the keys that it sees, or those of its list; p is the attention's
// distribution, summed over the heads and divided by their number. Everything float32 and contiguous.
struct IndexerLossParams {
  const float* q = nullptr;        // [batch, heads, queries, dim]
  const float* k = nullptr;        // [batch, kv_heads, keys, dim]
  const float* index_q = nullptr;  // [batch, queries, index_heads, index_dim]
  const float* index_k = nullptr;  // [batch, keys, index_dim]
  const float* weights = nullptr;  // [batch, queries, index_heads]
  const int32_t* index = nullptr;  // [batch, queries, capacity] or null: all keys that a query sees
  const int32_t* count = nullptr;
  int64_t capacity = 0;
  int64_t batch = 0, heads = 0, kv_heads = 0, queries = 0, keys = 0, dim = 0, index_heads = 0, index_dim = 0;
  int causal = 1;
  float scale = 0;
  float* loss = nullptr;          // [batch, queries]; 0 for an empty list
  float* grad_q = nullptr;        // gradients of the sum of the losses, like index_q; or null
  float* grad_weights = nullptr;  // like weights
  float* grad_k = nullptr;        // [batch, parts, keys, index_dim]: sums over a part of the queries each
  int64_t parts = 1;
};

DS_CPU_DECLARE(void, indexer, (const IndexerParams&))
DS_CPU_DECLARE(void, indexer_loss, (const IndexerLossParams&))
// codes [rows, dim] and scale [rows] of x [rows, dim], float32: x ≈ code · scale, scale = greatest size / 448.
DS_CPU_DECLARE(void, quantize_e4m3, (const float* x, int64_t rows, int64_t dim, uint8_t* codes, float* scale))

#ifdef DEEPSEEK_CUDA
// Logits only, for queries [first, first + count) of every sequence into [batch, count, keys]; a cudaError_t.
int indexer_logits_cuda(const IndexerParams& params, int64_t first, int64_t count);
// The same on Hopper's tensor cores: FP8 of 8, 16, 32 or 64 heads of 64 or 128, rows at multiples of 16 bytes.
bool indexer_logits_hopper_takes(const IndexerParams& params);
int indexer_logits_hopper(const IndexerParams& params, int64_t first, int64_t count);
// The lists of queries [first, first + count) from their logits [batch, count, keys]; no more than 2048 entries a list.
int indexer_lists_cuda(const IndexerParams& params, const float* logits, int64_t first, int64_t count);
int quantize_e4m3_cuda(const float* x, int64_t rows, int64_t dim, uint8_t* codes, float* scale, void* stream);
#endif

}  // namespace deepseek
