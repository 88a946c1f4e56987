// What follows from an estimate's name and the sizes, for whoever fills in the parameters. Not for *_cpu.cpp: an inline function that
// is compiled for one instruction set must not stand in for one that runs everywhere.
#pragma once

#include "block_selection/block_selection.h"

#include <algorithm>
#include <cmath>

namespace deepseek {

enum Estimate : int64_t { kAntidiagonal = 0, kPooled = 1, kSampled = 2 };

inline int64_t blocks_of(int64_t rows, int64_t block) { return (rows + block - 1) / block; }

// Sizes of groups and blocks for q and k that lie whole, as the CPU takes them; batch, heads, dim and the strides of rows must be there.
// `lead` copies of the first query count in front of the others, in samples; blocks are as many as without.
inline void describe_groups(BlockScoresParams& p, int64_t estimate, int64_t stride, int64_t queries, int64_t keys, int64_t block_q, int64_t block_k, double scale, int64_t lead = 0) {
  const int64_t pool = estimate == kPooled ? stride : 1;
  p.query_blocks = blocks_of(queries, block_q), p.key_blocks = blocks_of(keys, block_k);
  // In rows of what is multiplied: pooled rows count as one.
  p.queries = (queries + lead) / pool, p.keys = keys / pool;
  p.block_q = static_cast<int>(block_q / pool), p.block_k = static_cast<int>(block_k / pool);
  p.pool = static_cast<int>(pool), p.lead = lead, p.short_group = estimate == kSampled;
  p.q_step = static_cast<int>(stride / pool), p.k_step = estimate == kAntidiagonal ? p.q_step : 1, p.depth = p.k_step;
  p.q_group_stride = p.q_row_stride * p.depth * pool, p.k_group_stride = p.k_row_stride * p.k_step * pool;
  p.query_groups = p.short_group != 0 ? blocks_of(p.queries, p.q_step) : p.queries / p.q_step, p.key_groups = p.keys / p.k_step;
  p.scale = static_cast<float>(estimate == kAntidiagonal ? scale / static_cast<double>(stride) : scale);
}

// The longest list that a policy may make.
inline int64_t most_blocks(int64_t blocks, int64_t block_q, int64_t block_k, double density, int64_t sink, int64_t window, int64_t min_blocks) {
  const auto forced = sink + 2 * window + blocks_of(block_q, block_k) + 1;
  const auto kept = density >= 1.0 ? blocks : static_cast<int64_t>(std::ceil(density * static_cast<double>(blocks) - 1e-9));
  return std::max<int64_t>(std::min(std::max({kept, forced, min_blocks, int64_t{1}}), blocks), 1);
}

// Sizes and policy of the choice; density, mass, shared and the lists' addresses are the caller's to add.
inline void describe_lists(SelectBlocksParams& p, int64_t batch, int64_t heads, int64_t queries, int64_t keys, int64_t block_q, int64_t block_k, int64_t sink, int64_t window,
                           int64_t min_blocks, double density, bool shared) {
  p.query_blocks = blocks_of(queries, block_q), p.key_blocks = blocks_of(keys, block_k);
  p.lists_of_batch = heads * p.query_blocks, p.lists = batch * p.lists_of_batch, p.queries = queries, p.keys = keys;
  p.block_q = static_cast<int>(block_q), p.block_k = static_cast<int>(block_k);
  const auto at_most = [&](int64_t n) { return static_cast<int>(std::min(n, p.key_blocks)); };
  p.sink = at_most(sink), p.window = at_most(window), p.min_blocks = at_most(min_blocks);
  p.max_blocks = most_blocks(p.key_blocks, block_q, block_k, shared ? 1.0 : density, p.sink, p.window, p.min_blocks);
}

}  // namespace deepseek
