// Block-sparse attention: every block of queries attends to the key blocks that its list names.
#pragma once

#include <cstdint>

#include "common/types.h"

namespace deepseek {

// Sizes in elements. Tensors are [batch, heads, rows, dim] with the given strides; the last dimension is contiguous.
struct AttentionTensor {
  void* data;
  int64_t batch_stride;
  int64_t head_stride;
  int64_t row_stride;
};

struct SparseAttentionParams {
  AttentionTensor q;     // [batch, heads, queries, dim]
  AttentionTensor k;     // [batch, kv_heads, keys, dim]
  AttentionTensor v;     // like k
  AttentionTensor out;   // like q
  float* lse;            // [batch, heads, queries], natural logarithm; -inf for a row without visible keys

  // Only in the backward.
  AttentionTensor grad_out;  // like q
  AttentionTensor grad_q;    // like q
  AttentionTensor grad_k;    // like k
  AttentionTensor grad_v;    // like k
  float* delta;              // [batch, heads, query tiles of 128, 128]: workspace, sum over the row of grad_out * out
  float* lse2;               // like delta: workspace, lse in base 2
  uint8_t* block_map;        // [batch, index_heads, key_blocks, query_blocks]: workspace, zero on entry
  int32_t* query_index;      // [batch, index_heads, key_blocks, query_blocks]: workspace, the transposed lists
  int32_t* query_count;      // [batch, index_heads, key_blocks]

  int32_t* items;            // Hopper: [2 + 4 * items + 4 * slots], see sparse_attention_backward_plan()
  float* partials;           // Hopper: [slots, 2, keys of a tile, dim]
  int64_t chunk, slots, item_capacity;

  const int32_t* block_index;  // [batch, index_heads, query_blocks, max_blocks] key blocks; entries after the count are ignored
  const int32_t* block_count;  // [batch, index_heads, query_blocks]
  const int32_t* q_lengths;    // [batch] or null: rows that exist; the others give 0
  const int32_t* k_lengths;    // [batch] or null
  int32_t* counter;            // one int32 of workspace on the device: the next tile of a persistent grid

  int64_t batch;
  int64_t heads;        // a multiple of kv_heads and of index_heads
  int64_t kv_heads;
  int64_t index_heads;
  int64_t queries;
  int64_t keys;
  int64_t dim;
  int64_t block_q;
  int64_t block_k;
  int64_t query_blocks;  // ceil(queries / block_q)
  int64_t key_blocks;    // ceil(keys / block_k)
  int64_t max_blocks;
  float scale;
  int causal;  // query i sees key j when j <= i + (k_length - q_length)
  int type;    // ElementType
};

// A key block that very many queries see (the first one, most often) would keep one multiprocessor busy long after the
// others are done. Lists longer than `chunk` entries are cut; the pieces' sums are added afterwards, in order.
inline void sparse_attention_backward_plan(SparseAttentionParams& p) {
  const int64_t tile = p.block_k % 128 == 0 ? 128 : 64, group = p.heads / p.kv_heads;
  const int64_t most = p.max_blocks < p.key_blocks ? p.max_blocks : p.key_blocks;
  const int64_t entries = p.batch * p.heads * p.query_blocks * most * ((p.block_k + tile - 1) / tile);
  p.chunk = entries / 800 > 64 ? entries / 800 : 64;
  p.slots = group * p.query_blocks > p.chunk ? 2 * entries / p.chunk + 2 : 0;
  p.item_capacity = p.batch * p.kv_heads * ((p.keys + tile - 1) / tile) + p.slots;
}

// The CUDA launchers return a cudaError_t; a stream is a cudaStream_t. None of them synchronises.
bool sparse_attention_hopper_takes(const SparseAttentionParams& p, int major, int minor);
int sparse_attention_forward_hopper(const SparseAttentionParams& p, void* stream);
int sparse_attention_backward_hopper(const SparseAttentionParams& p, void* stream);
int sparse_attention_forward_portable(const SparseAttentionParams& p, void* stream);
int sparse_attention_backward_portable(const SparseAttentionParams& p, void* stream);

}  // namespace deepseek
