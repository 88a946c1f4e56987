// Which key blocks a block of queries attends to: cheap scores, then a choice by count or by retained mass.
#pragma once

#include <cstdint>

#include "common/types.h"

namespace deepseek {

// Scores: the softmax of rows that stand for the queries over columns that stand for the keys, summed by blocks of keys. Three estimates:
// antidiagonals (XAttention, arXiv 2503.16428, section 3.1) and means take queries and keys in groups of `stride` rows, the score of two
// groups being the sum over their antidiagonal (row s of the key group with row stride-1-s of the query group) or the product of their
// means; samples take the last query of each group, and all keys. Rows after the last whole group take no part, but for samples: of a short
// last group its last query is taken, so that the newest query of a text always has its say.
struct BlockScoresParams {
  // Last dimension contiguous, strides in elements. CUDA takes samples, [batch, heads, query_groups, dim], and means as rows of their own; the
  // CPU finds both in whole queries and keys.
  const void* q;  // [batch, heads, queries, dim]
  const void* k;  // [batch, kv_heads, keys, dim]
  int64_t q_batch_stride, q_head_stride, q_row_stride, q_group_stride;
  int64_t k_batch_stride, k_head_stride, k_row_stride, k_group_stride;
  float* partial;  // [batch, heads, ceil(query_groups / 8), key_blocks, 8]: workspace, log2 of the sum of 2^score over a block's groups
  float* mass;     // [batch, heads, query_blocks, key_blocks]: a block's share in the softmax of the group rows, averaged over these
  const int32_t* q_lengths;  // [batch] or null: rows that exist; groups that reach behind them take no part
  const int32_t* k_lengths;  // [batch] or null
  int64_t batch, heads, kv_heads, queries, keys, dim;
  int64_t query_groups, key_groups;
  int64_t query_blocks, key_blocks;
  int depth;           // rows of a group that are multiplied: a stride of antidiagonals, otherwise one
  int q_step, k_step;  // rows from one group to the next
  int pool;            // CPU: rows whose mean counts as one everywhere but in the lengths, whose group strides hold it too; otherwise 1
  int64_t lead;        // CPU: of the queries, copies of the first in front, which do not lie there
  int short_group;     // whether rows after the last whole group of queries count as a group
  int block_q, block_k;
  float scale;  // of the product of two groups
  float power;  // of the mean over a block's group rows: 1 their mean, 2 the root of their squares' mean, infinity their maximum
  int causal;   // a query group sees the key groups that start at or before its last row, aligned at the ends (of the lengths)
  int type;     // kBFloat16 or kFloat16; kFloat32 too on the CPU
};

struct SelectBlocksParams {
  const float* scores;   // [lists, key_blocks], lists = batch * heads * query_blocks
  int32_t* block_index;  // [lists, max_blocks], ascending, -1 after the count
  int32_t* block_count;  // [lists]
  const int32_t* q_lengths;  // [batch] or null: rows that exist; a block without any gets an empty list
  const int32_t* k_lengths;  // [batch] or null: blocks behind them are not seen
  int64_t lists, lists_of_batch, query_blocks, key_blocks, max_blocks, queries, keys;
  int block_q, block_k;
  int causal;
  double density;  // share of the visible blocks that is kept at most; 1 or more: no limit
  const float* bounds;  // [batch, query_blocks] or null: in place of density and mass, blocks of at least this score (and more than 0)
  double mass;     // share of the scores' sum that is kept; 1 or more: the density alone decides
  int sink, window, min_blocks;
  int shared;  // CPU: finds the bounds itself, of a budget that all heads of a query block share
};

// CUDA launchers: a cudaError_t.
bool block_scores_hopper_takes(const BlockScoresParams& p, int major, int minor);
int block_scores_hopper(const BlockScoresParams& p, void* stream);
bool sampled_scores_hopper_takes(const BlockScoresParams& p);  // of what block_scores_hopper_takes()
int sampled_scores_hopper(const BlockScoresParams& p, void* stream);  // `partial`; `mass` too where it finishes
bool sampled_scores_hopper_finishes(const BlockScoresParams& p);
int normalise_scores(const BlockScoresParams& p, void* stream);       // `mass` from it
int select_blocks_cuda(const SelectBlocksParams& p, void* stream);  // up to 8192 key blocks
int shared_bounds_cuda(const SelectBlocksParams& p, float* bounds, void* stream);  // [batch, query_blocks], see SelectBlocksParams::bounds

}  // namespace deepseek
