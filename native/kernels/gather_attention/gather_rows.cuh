// How the Hopper kernels of gather attention get listed rows into shared memory.
#pragma once

#include "gather_attention/gather_attention.h"

#include "sparse_attention/pipeline.cuh"

namespace deepseek::hopper {

// The n-th unit of work: a query, up to `rows` heads of a key head, and a part of the list. Key heads outermost: neighbours
// read the same keys.
struct Unit {
  int batch, kv_head, query, first_head, end_head, part, tile;
  __device__ Unit(const GatherAttentionParams& p, int rows, int number) {
    part = number % p.parts, number /= p.parts;
    const int group = static_cast<int>(p.heads / p.kv_heads), tiles = (group + rows - 1) / rows;
    const int row = number / tiles, queries = static_cast<int>(p.query_count), pair = row / queries, kv_heads = static_cast<int>(p.kv_heads);
    query = static_cast<int>(p.first_query) + row - pair * queries;
    batch = pair / kv_heads;
    kv_head = pair - batch * kv_heads;
    tile = number - row * tiles;
    first_head = kv_head * group + tile * rows;
    end_head = (kv_head + 1) * group;
  }
  __device__ int64_t list(const GatherAttentionParams& p) const { return batch * p.queries + query; }
  // Blocks of keys [first, end) of a list with `count` entries.
  __device__ int2 blocks(const GatherAttentionParams& p, int keys, int count) const {
    const int all = (max(count, 0) + keys - 1) / keys, each = (all + p.parts - 1) / p.parts;
    return make_int2(min(part * each, all), min((part + 1) * each, all));
  }
  // Where lists are in parts, of the unit's result; rows of dim floats.
  __device__ int64_t partial(const GatherAttentionParams& p, int head) const { return ((batch * p.heads + head) * p.queries + query) * p.parts + part; }
};

// Tiles in shared memory. S, the tiles of a kernel, has: kRows heads; kDim; kKeys of a step; kStages; kQuerySlots; kLag steps by which
// values are asked for later than keys; tiles q[slot], grad[slot] where kGrad, k[stage] and v[stage] as panels of 64 columns; barriers
// of each; work[slot]: entries of the list (-1 where their number is impossible), first block and end; faults[stage][4]: of the
// entries that each gathering warp saw.
// By four warps. Of a block of keys each gathers a fourth: a lane checks an entry of the list, then eight lanes copy a row, 16 bytes
// a copy. A thread's rows are 4 apart, so that one address in shared memory and one a row in memory serve all its copies.
template <class S>
__device__ void gather_tiles(const GatherAttentionParams& p, const CUtensorMap* q, const CUtensorMap* grad, S& s, int units) {
  constexpr int kRows = S::kKeys / 4, kPanels = S::kDim / 64;
  static_assert(kRows % 8 == 0);
  const int warp = __shfl_sync(~0u, threadIdx.x / 32, 0), lane = threadIdx.x % 32, own = lane % kRows;
  const auto k_bytes = static_cast<uint32_t>(p.k.row_stride * 2), v_bytes = static_cast<uint32_t>(p.v.row_stride * 2);
  Ring<S::kStages> keys, values;
  Ring<S::kQuerySlots> queries;
  const auto entry_of = [&](int64_t list, int block) {
    const int at = block * S::kKeys + warp * kRows + own;
    return at < p.capacity ? __ldg(p.index + list * p.capacity + at) : -1;
  };
  // The entry before a lane's own; the warp's first lane reads it.
  const auto before_of = [&](int64_t list, int block) {
    const int at = block * S::kKeys + warp * kRows - 1;
    return own == 0 && at >= 0 && at < p.capacity ? __ldg(p.index + list * p.capacity + at) : -1;
  };
  // Of the rows of an even and an odd four the swizzles differ in one bit.
  const uint32_t even = (warp * kRows + lane / 8) * 128 + (lane % 8 ^ lane / 8) * 16, odd = even ^ 64;
  const auto gather = [&](uint8_t* to, const void* from, uint32_t row_bytes, int entry, uint64_t* bar) {
    const char* const column = static_cast<const char*>(from) + lane % 8 * 16;
    const uint32_t at = shared_address(to);
#pragma unroll
    for (int i = 0; i < kRows / 4; i++) {
      const int key = __shfl_sync(~0u, entry, i * 4 + lane / 8);
      const char* const row = column + static_cast<uint64_t>(static_cast<uint32_t>(max(key, 0))) * row_bytes;
      const uint32_t place = at + (i % 2 == 0 ? even : odd) + i * 512;
#pragma unroll
      for (int panel = 0; panel < kPanels; panel++) copy_16(place + panel * S::kKeys * 128, row + panel * 128, key >= 0);
    }
    copies_arrive(bar);
  };
  const auto count_of = [&](int64_t list) {
    const int count = __ldg(p.count + list);
    return count < 0 || count > p.capacity ? -1 : count;
  };
  int number = blockIdx.x, count = -1, entry = -1, before = -1;
  if (number < units) {
    const Unit unit(p, S::kRows, number);
    const int64_t list = unit.list(p);
    count = count_of(list);
    const int block = unit.blocks(p, S::kKeys, count).x;
    entry = entry_of(list, block), before = before_of(list, block);
  }
  for (; number < units; number += gridDim.x) {
    const Unit unit(p, S::kRows, number), next(p, S::kRows, min(number + static_cast<int>(gridDim.x), units - 1));
    const int64_t list = unit.list(p), next_list = next.list(p);
    const int2 blocks = unit.blocks(p, S::kKeys, count);
    const int next_count = count_of(next_list), steps = blocks.y - blocks.x;
    if (threadIdx.x == 0) {
      uint64_t* const full = &s.q_full[queries.slot];
      barrier_wait(&s.q_empty[queries.slot], queries.phase ^ 1);
      *reinterpret_cast<int4*>(s.work[queries.slot]) = make_int4(count, blocks.x, blocks.y, 0);
      if (steps > 0) {
        barrier_expect(full, sizeof(s.q[0]) * (S::kGrad ? 2 : 1));
        copy_tile<kPanels>(s.q[queries.slot], S::kRows * 128, q, full, unit.first_head, unit.query, unit.batch);
        if constexpr (S::kGrad) copy_tile<kPanels>(s.grad[queries.slot], S::kRows * 128, grad, full, unit.first_head, unit.query, unit.batch);
      } else {
        barrier_arrive(full);
      }
    }
    __syncwarp();
    queries.next();
    const char* const k = static_cast<const char*>(p.k.data) + 2 * (unit.batch * p.k.batch_stride + unit.kv_head * p.k.head_stride);
    const char* const v = static_cast<const char*>(p.v.data) + 2 * (unit.batch * p.v.batch_stride + unit.kv_head * p.v.head_stride);
    const auto gather_values = [&](int of) {
      barrier_wait(&s.v_empty[values.slot], values.phase ^ 1);
      gather(s.v[values.slot], v, v_bytes, of, &s.v_full[values.slot]);
      values.next();
    };
    int former = 0;
    for (int step = 0; step < steps; step++) {
      const bool listed = (blocks.x + step) * S::kKeys + warp * kRows + own < count;
      const int neighbour = __shfl_up_sync(~0u, entry, 1);
      const bool bad = listed && (entry <= (own == 0 ? before : neighbour) || entry >= p.keys);
      const int key = listed && !bad ? entry : -1;  // which reads as 0
      const bool last = step + 1 == steps;
      const int64_t of = last ? next_list : list;
      const int block = last ? next.blocks(p, S::kKeys, next_count).x : blocks.x + step + 1;
      entry = entry_of(of, block), before = before_of(of, block);
      const bool any = __any_sync(~0u, bad) != 0;
      barrier_wait(&s.k_empty[keys.slot], keys.phase ^ 1);
      gather(s.k[keys.slot], k, k_bytes, key, &s.k_full[keys.slot]);
      if (lane == 0) {
        s.faults[keys.slot][warp] = any;
        barrier_arrive(&s.k_full[keys.slot]);
      }
      __syncwarp();
      keys.next();
      if (S::kLag == 0) gather_values(key);
      if (S::kLag == 1 && step > 0) gather_values(former);
      former = key;
    }
    if (S::kLag == 1 && steps > 0) gather_values(former);
    if (steps == 0) {
      const int block = next.blocks(p, S::kKeys, next_count).x;
      entry = entry_of(next_list, block), before = before_of(next_list, block);
    }
    count = next_count;
  }
}

// By one thread, before a barrier of the block.
template <class S>
__device__ void prepare(S& s, int consumers) {
  for (int i = 0; i < S::kQuerySlots; i++) barrier_init(&s.q_full[i], 1), barrier_init(&s.q_empty[i], consumers);
  for (int i = 0; i < S::kStages; i++) {
    barrier_init(&s.k_full[i], 128 + 4), barrier_init(&s.v_full[i], 128);
    barrier_init(&s.k_empty[i], consumers), barrier_init(&s.v_empty[i], consumers);
  }
  barrier_init_fence();
}

// Heads as the rows of a tile, of one query.
inline bool heads_map(CUtensorMap* map, const AttentionTensor& t, const GatherAttentionParams& p, int rows) {
  return tensor_map(map, {t.data, t.batch_stride, t.row_stride, t.head_stride}, p.type, p.batch, p.queries, p.heads, p.dim, rows);
}

}  // namespace deepseek::hopper
