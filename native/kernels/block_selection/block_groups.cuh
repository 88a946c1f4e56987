// What the kernels of block scores share: which groups of rows exist and see each other, and where their sums lie.
#pragma once

#include "block_selection.h"

namespace deepseek {

constexpr int kMostRowsOfBlock = 128;  // group rows of a query block
constexpr int kLog2RowsTogether = 3;  // the sums of 8 group rows lie beside each other: what one warp stores of a tile is whole sectors

// Groups that exist in a sequence of the batch, and which of them see each other.
struct Extent {
  int queries, keys;  // groups
  int rows;           // of queries
  int shift;          // rows that keys are more than queries

  __device__ __forceinline__ Extent(const BlockScoresParams& p, int batch) {
    const auto length = [&](const int32_t* lengths, int64_t rows) { return lengths != nullptr ? min(max(lengths[batch], 0), static_cast<int>(rows)) : static_cast<int>(rows); };
    const int columns = length(p.k_lengths, p.keys);
    rows = length(p.q_lengths, p.queries);
    queries = (rows + (p.short_group ? p.q_step - 1 : 0)) / p.q_step, keys = columns / p.k_step, shift = columns - rows;
  }
  // Key groups from this one on are hidden from a query group.
  __device__ __forceinline__ int visible(const BlockScoresParams& p, int group) const {
    if (!p.causal) return keys;
    const int last = min((group + 1) * p.q_step, rows) - 1 + shift;
    return last < 0 ? 0 : min(last / p.k_step + 1, keys);
  }
};

// The sum of a group row's first key block; block b is at b << kLog2RowsTogether behind it. `head` counts the batch's heads too.
__device__ __forceinline__ float* sums_of(const BlockScoresParams& p, int64_t head, int group) {
  constexpr int kTogether = 1 << kLog2RowsTogether;
  const int64_t bands = (p.query_groups + kTogether - 1) / kTogether;
  return p.partial + ((head * bands + group / kTogether) * p.key_blocks * kTogether + group % kTogether);
}

}  // namespace deepseek
