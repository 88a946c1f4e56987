// The indexer's logits of FP8 rows on Hopper's tensor cores. Keys are the rows of a product and the heads of a few queries its
// columns, so that a thread holds all of a quad's share of a key's heads: ReLU, weights and sum stay in registers, and a
// transposing exchange in the quad leaves each lane with finished logits. A thread block keeps 256 columns (4 queries of 64
// heads) in shared memory and walks over the keys, which one warp copies; two warpgroups take 64 keys each of every tile,
// and each has the product of one half of the columns under way while it sums up the other.
#include "indexer/logits_hopper.cuh"

namespace deepseek {
namespace {

using namespace hopper;

constexpr int kKeys = 128, kStages = 4, kGroups = 2;

template <int Dim>
struct Shared {
  alignas(1024) uint8_t q[kColumns * Dim];
  alignas(1024) uint8_t k[kStages][kKeys * Dim];
  uint64_t q_full, q_empty, k_full[kStages], k_empty[kStages];
};

// What a thread block does: key tiles of query tiles, in a row, tiles of keys innermost. All blocks get equally many; with
// `rounds` over 1 each gets several pieces from different places, so that none has only queries that see little.
struct Walk {
  const IndexerParams& p;
  int64_t first, count;  // queries of a sequence
  int query_tiles, key_tiles, queries, rounds, round = 0;
  int64_t at = 0, end = 0;
  int batch, place, from, to, visible;  // place: of the tile's first query; key tiles [from, to), those before `visible` are seen by some query

  __device__ Walk(const IndexerParams& params, int64_t first_query, int64_t query_count, int queries_per_tile, int pieces)
      : p(params), first(first_query), count(query_count), query_tiles(static_cast<int>((query_count + queries_per_tile - 1) / queries_per_tile)),
        key_tiles(static_cast<int>((params.keys + kKeys - 1) / kKeys)), queries(queries_per_tile), rounds(pieces) {}
  __device__ int seen(int of_place) const {
    const int64_t length = p.lengths == nullptr ? p.keys : min(max(static_cast<int64_t>(p.lengths[batch]), int64_t{0}), p.keys);
    return static_cast<int>(p.causal == 0 ? length : min(max(first + of_place + 1 + length - p.queries, int64_t{0}), length));
  }
  __device__ bool next() {
    while (at >= end) {
      if (round == rounds) return false;
      const int64_t total = p.batch * query_tiles * static_cast<int64_t>(key_tiles), pieces = static_cast<int64_t>(gridDim.x) * rounds;
      const int64_t piece = static_cast<int64_t>(round++) * gridDim.x + blockIdx.x;
      at = total * piece / pieces, end = total * (piece + 1) / pieces;
    }
    const int64_t row = at / key_tiles;
    from = static_cast<int>(at - row * key_tiles);
    to = static_cast<int>(min(static_cast<int64_t>(key_tiles), from + end - at));
    at += to - from;
    batch = static_cast<int>(row / query_tiles);
    place = static_cast<int>(row - static_cast<int64_t>(batch) * query_tiles) * queries;
    const int latest = static_cast<int>(min(static_cast<int64_t>(place) + queries, count)) - 1;
    visible = min(max((seen(latest) + kKeys - 1) / kKeys, from), to);
    return true;
  }
};

template <int Dim>
__device__ void produce(Walk walk, const CUtensorMap* q, const CUtensorMap* k, Shared<Dim>& s) {
  Ring<kStages> keys;
  uint32_t q_phase = 0;
  while (walk.next()) {
    if (walk.visible == walk.from) continue;
    barrier_wait(&s.q_empty, q_phase ^ 1);
    q_phase ^= 1;
    barrier_expect(&s.q_full, sizeof(s.q));
    copy_box(s.q, q, &s.q_full, 0, static_cast<int>((walk.batch * walk.p.queries + walk.first + walk.place) * walk.p.heads), 0, 0);
    for (int tile = walk.from; tile < walk.visible; tile++) {
      barrier_wait(&s.k_empty[keys.slot], keys.phase ^ 1);
      barrier_expect(&s.k_full[keys.slot], sizeof(s.k[0]));
      copy_box(s.k[keys.slot], k, &s.k_full[keys.slot], 0, tile * kKeys, walk.batch, 0);
      keys.next();
    }
  }
}

template <int Heads, int Dim>
__device__ void consume(Walk walk, Shared<Dim>& s) {
  using H = Half<Heads>;
  const IndexerParams& p = walk.p;
  const int group = __shfl_sync(~0u, threadIdx.x / 128, 0) - 1, lane = threadIdx.x % 32;
  const int row = group * 64 + threadIdx.x % 128 / 32 * 16 + lane / 4;  // the first of the quad's rows in a tile
  const uint64_t columns = bytes_descriptor<Dim>(s.q);
  Ring<kStages> keys;
  uint32_t q_phase = 0;
  const auto release = [&](uint64_t* bar) {
    __syncwarp();
    if (lane == 0) barrier_arrive(bar);
  };
  if (group == 1) named_arrive(1, 256);  // the first turn is the first warpgroup's
  while (walk.next()) {
    const int here = static_cast<int>(min(static_cast<int64_t>(walk.count) - walk.place, static_cast<int64_t>(walk.queries)));
    float* const target = p.logits + (walk.batch * walk.count + walk.place) * p.keys;
    if (walk.visible > walk.from) {
      float weight[2][32], sums[2][64];
      int limit[2][H::kOwn];
      const float* const weights = p.weights + (walk.batch * p.queries + walk.first + walk.place) * Heads;
#pragma unroll
      for (int half = 0; half < 2; half++) {
#pragma unroll
        for (int j = 0; j < 16; j++) {
          const int column = half * 128 + j * 8 + lane % 4 * 2;
          const float2 pair = column < here * Heads ? __ldg(reinterpret_cast<const float2*>(weights + column)) : make_float2(0.0f, 0.0f);
          weight[half][2 * j] = pair.x, weight[half][2 * j + 1] = pair.y;
        }
#pragma unroll
        for (int i = 0; i < H::kOwn; i++) {
          const int query = half * H::kQueries + H::of(i) / 2;
          limit[half][i] = query < here ? walk.seen(walk.place + query) : -1;
        }
      }
      float scale[2] = {1.0f, 1.0f};
      const auto load_scales = [&](int tile) {
        if (p.k_scale == nullptr) return;
        const float* const scales = p.k_scale + walk.batch * p.k_scale_stride;
#pragma unroll
        for (int r = 0; r < 2; r++) scale[r] = __ldg(scales + min(static_cast<int64_t>(tile) * kKeys + row + 8 * r, p.keys - 1));
      };
      const auto multiply = [&](float (&d)[64], int half) {
        const uint64_t rows = bytes_descriptor<Dim>(s.k[keys.slot] + group * 64 * Dim), heads = columns + half * (128 * Dim >> 4);
        product_fence();
#pragma unroll
        for (int i = 0; i < Dim / 32; i++) product_e4m3(d, rows + 2 * i, heads + 2 * i, i == 0);
        product_commit();
      };
      const auto finish = [&](const float (&d)[64], int half, int tile, const float (&scales)[2]) {
        float own[H::kOwn];
        H::sum(d, weight[half], own);
#pragma unroll
        for (int i = 0; i < H::kOwn; i++) {
          const int at = H::of(i), key = tile * kKeys + row + at % 2 * 8, place = half * H::kQueries + at / 2;
          // The limit is -1 for a query that does not exist.
          if (limit[half][i] < 0 || key >= p.keys) continue;
          __stcs(target + place * p.keys + key, key < limit[half][i] ? own[i] * (at % 2 != 0 ? scales[1] : scales[0]) : -INFINITY);
        }
      };
      load_scales(walk.from);
      barrier_wait(&s.q_full, q_phase);
      q_phase ^= 1;
#pragma unroll 1
      for (int tile = walk.from; tile < walk.visible; tile++) {
        const float now[2] = {scale[0], scale[1]};
        barrier_wait(&s.k_full[keys.slot], keys.phase);
        named_sync(1 + group, 256);
        multiply(sums[0], 0);
        multiply(sums[1], 1);
        named_arrive(2 - group, 256);
        load_scales(tile + 1);
        product_wait<1>();
        settle(sums[0]);
        finish(sums[0], 0, tile, now);
        product_wait<0>();
        settle(sums[1]);
        release(&s.k_empty[keys.slot]);
        keys.next();
        finish(sums[1], 1, tile, now);
      }
      release(&s.q_empty);
    }
    for (int query = 0; query < here && walk.visible < walk.to; query++) {
      const int64_t all = min(static_cast<int64_t>(walk.to) * kKeys, p.keys);
      for (int64_t key = static_cast<int64_t>(walk.visible) * kKeys + threadIdx.x - 128; key < all; key += 128 * kGroups) __stcs(target + query * p.keys + key, -INFINITY);
    }
  }
  if (group == 0) named_sync(1, 256);  // takes the turn that is left over
}

template <int Heads, int Dim>
__global__ void __launch_bounds__(128 * (1 + kGroups), 1)
    logits_hopper_kernel(const __grid_constant__ IndexerParams p, int64_t first, int64_t count, int rounds, const __grid_constant__ CUtensorMap q, const __grid_constant__ CUtensorMap k) {
#ifdef DS_HOPPER
  extern __shared__ uint8_t memory[];
  auto& s = *reinterpret_cast<Shared<Dim>*>((reinterpret_cast<uintptr_t>(memory) + 1023) / 1024 * 1024);
  if (threadIdx.x == 0) {
    prefetch_map(&q), prefetch_map(&k);
    barrier_init(&s.q_full, 1), barrier_init(&s.q_empty, 4 * kGroups);
    for (int i = 0; i < kStages; i++) barrier_init(&s.k_full[i], 1), barrier_init(&s.k_empty[i], 4 * kGroups);
    barrier_init_fence();
  }
  __syncthreads();
  const Walk walk(p, first, count, kColumns / Heads, rounds);
  if (threadIdx.x < 128) {
    fewer_registers<40>();
    if (threadIdx.x == 0) produce<Dim>(walk, &q, &k, s);
  } else {
    more_registers<232>();
    consume<Heads, Dim>(walk, s);
  }
#endif
}

template <int Heads, int Dim>
int launch(const IndexerParams& p, int64_t first, int64_t count) {
  CUtensorMap q, k;
  const int64_t q_rows = p.batch * p.queries * Heads;
  if (!byte_map(&q, p.q, 1, q_rows, Dim, q_rows * Dim, Dim, kColumns) || !byte_map(&k, p.k, p.batch, p.keys, Dim, p.k_batch_stride, p.k_row_stride, kKeys)) return cudaErrorInvalidValue;
  int device = 0, processors = 0;
  constexpr int kBytes = sizeof(Shared<Dim>) + 1024;
  const auto kernel = logits_hopper_kernel<Heads, Dim>;
  auto status = cudaGetDevice(&device);
  if (status == cudaSuccess) status = cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
  if (status == cudaSuccess) status = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  if (status != cudaSuccess) return status;
  constexpr int kQueries = kColumns / Heads;
  const int64_t tiles = p.batch * ((count + kQueries - 1) / kQueries) * ((p.keys + kKeys - 1) / kKeys);
  const int rounds = p.causal != 0 && 2 * p.queries > p.keys && tiles > 64 * processors ? 8 : 1;
  kernel<<<static_cast<unsigned>(tiles < processors ? tiles : processors), 128 * (1 + kGroups), kBytes, static_cast<cudaStream_t>(p.stream)>>>(p, first, count, rounds, q, k);
  return cudaGetLastError();
}

template <int Dim>
int launch(const IndexerParams& p, int64_t first, int64_t count) {
  if (p.heads == 64) return launch<64, Dim>(p, first, count);
  if (p.heads == 32) return launch<32, Dim>(p, first, count);
  return p.heads == 16 ? launch<16, Dim>(p, first, count) : launch<8, Dim>(p, first, count);
}

}  // namespace

bool indexer_logits_hopper_takes(const IndexerParams& p) {
  const auto aligned = [](const void* at) { return reinterpret_cast<uintptr_t>(at) % 16 == 0; };
  return p.type == kE4m3 && (p.dim == 64 || p.dim == 128) && (p.heads == 8 || p.heads == 16 || p.heads == 32 || p.heads == 64) && aligned(p.q) && aligned(p.k) && aligned(p.weights) &&
         p.k_row_stride % 16 == 0 && p.k_row_stride > 0 && p.k_batch_stride % 16 == 0 && p.k_batch_stride > 0 && p.batch * p.queries * p.heads < (int64_t{1} << 31) && p.keys < (1 << 30);
}

int indexer_logits_hopper(const IndexerParams& p, int64_t first, int64_t count) {
  return p.dim == 128 ? launch<128>(p, first, count) : launch<64>(p, first, count);
}

}  // namespace deepseek
