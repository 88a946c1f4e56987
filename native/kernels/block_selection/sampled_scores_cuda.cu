// Block scores of sampled queries on Hopper: every product of depth `dim` feeds one exponential, so the kernel is as much
// exponentials as matrix products and must keep both units busy at once. A thread block holds four tiles of 64 sampled rows (heads
// that share keys first) and walks the keys once; each tile is a warpgroup's, and one sums exponentials while others multiply.
#include "block_groups.cuh"
#include "sparse_attention/pipeline.cuh"

namespace deepseek {
namespace {

using namespace hopper;

constexpr int kRows = 64;   // sampled queries of a tile
constexpr int kKeys = 128;  // keys of a step
constexpr int kStages = 4;
constexpr int kTiles = 4;   // of a thread block, one a warpgroup
constexpr int kThreads = 128 * (1 + kTiles);  // the first warpgroup copies

template <int Dim>
struct Shared {
  alignas(1024) uint8_t q[kTiles][Dim / 64 * kRows * 128];
  alignas(1024) uint8_t k[kStages][Dim / 64 * kKeys * 128];
  alignas(16) float lse[kTiles][kRows];  // logarithms of the rows' sums
  uint64_t q_full, full[kStages], empty[kStages];
};

// The n-th tile of a key head: heads that share it first, then further rows.
struct Tile {
  int head, row;
  bool exists;
  __device__ __forceinline__ Tile(const BlockScoresParams& p, const Extent& extent, int number, int kv_head) {
    const int sharing = static_cast<int>(p.heads / p.kv_heads);
    head = kv_head * sharing + number % sharing, row = number / sharing * kRows;
    exists = row < extent.queries;
  }
  // Steps that some row of it needs.
  __device__ __forceinline__ int steps(const BlockScoresParams& p, const Extent& extent) const {
    return exists ? (extent.visible(p, min(row + kRows, extent.queries) - 1) + kKeys - 1) / kKeys : 0;
  }
};

// What a thread knows of the two rows (8 apart) that it holds of a tile.
template <int Columns>
struct Rows {
  static constexpr int kBlocks = kKeys / Columns;  // key blocks of a step
  float shift[2];  // exponentials are relative to 2^shift: an earlier score's, so that no maximum is needed beforehand
  int limit[2];    // keys from here on are hidden
  int whole;       // keys before this one are seen by every row of the tile
  int steps;       // of the keys that some row sees
  float* line;     // the sum this thread stores of each step
  float total;     // of what it stored, relative to the shift
  int block;       // its key block in the first step
  bool stores;

  __device__ __forceinline__ Rows(const BlockScoresParams& p, const Extent& extent, const Tile& tile, int batch, int end) {
    const int lane = threadIdx.x % 32, row = tile.row + threadIdx.x / 32 % 4 * 16 + lane / 4;
    const int mine = row + (lane & (kBlocks == 2 ? 2 : 1) ? 8 : 0);
    shift[0] = shift[1] = -INFINITY, total = 0.0f;
    limit[0] = row < extent.queries ? extent.visible(p, row) : 0;
    limit[1] = row + 8 < extent.queries ? extent.visible(p, row + 8) : 0;
    whole = tile.exists ? extent.visible(p, tile.row) : 0;
    steps = min(tile.steps(p, extent), end);
    block = kBlocks == 2 ? lane & 1 : 0;
    stores = mine < extent.queries && (kBlocks == 2 || lane % 4 < 2);
    line = sums_of(p, static_cast<int64_t>(batch) * p.heads + tile.head, stores ? mine : 0) + (block << kLog2RowsTogether);
  }
  __device__ __forceinline__ void store(const BlockScoresParams& p, int step, float value) const {
    const int offset = step * kBlocks;
    if (stores && block + offset < p.key_blocks) line[static_cast<int64_t>(offset) << kLog2RowsTogether] = value;
  }
  // Of the row whose sums this thread stores.
  __device__ __forceinline__ float own_shift() const { return (kBlocks == 2 ? threadIdx.x / 2 : threadIdx.x) % 2 != 0 ? shift[1] : shift[0]; }
  // Lanes of a quad each end with the whole of one sum, which it stores.
  __device__ __forceinline__ float share_out(const float (&sum)[2][kBlocks]) const {
    const int lane = threadIdx.x % 32;
    if constexpr (kBlocks == 2) {
      const bool odd = lane & 1;
      const float first = (odd ? sum[0][1] : sum[0][0]) + __shfl_xor_sync(~0u, odd ? sum[0][0] : sum[0][1], 1);
      const float second = (odd ? sum[1][1] : sum[1][0]) + __shfl_xor_sync(~0u, odd ? sum[1][0] : sum[1][1], 1);
      return (lane & 2 ? second : first) + __shfl_xor_sync(~0u, lane & 2 ? first : second, 2);
    } else {
      const bool odd = lane & 1;
      const float mine = (odd ? sum[1][0] : sum[0][0]) + __shfl_xor_sync(~0u, odd ? sum[0][0] : sum[1][0], 1);
      return mine + __shfl_xor_sync(~0u, mine, 2);
    }
  }

  // The usual way: false, and nothing stored, where a sum left the range that the shift allows.
  __device__ __forceinline__ bool sum_seen(const BlockScoresParams& p, const float (&x)[kKeys / 2], int step, float scale) {
    float sum[2][kBlocks] = {};
#pragma unroll
    for (int i = 0; i < kKeys / 2; i++) {
      const int r = i / 2 % 2;
      sum[r][i / 4 * 8 / Columns] += exp2_fast(fmaf(x[i], scale, -shift[r]));
    }
    bool in_range = true;
#pragma unroll
    for (int r = 0; r < 2; r++)
#pragma unroll
      for (int b = 0; b < kBlocks; b++) in_range = in_range && (sum[r][b] < 1e30f || limit[r] == 0);
    if (!__all_sync(~0u, in_range)) return false;
    const float mine = share_out(sum);
    total += mine;
    store(p, step, own_shift() + __log2f(mine));
    return true;
  }

  // With masks, and each block relative to its own maximum; the row's greatest becomes the shift of what follows.
  __device__ __forceinline__ void sum_masked(const BlockScoresParams& p, const float (&x)[kKeys / 2], int step, float scale) {
    const int column = step * kKeys + threadIdx.x % 4 * 2;
    const auto score = [&](int i, int r) __attribute__((always_inline)) { return column + i / 4 * 8 + i % 2 < limit[r] ? x[i] * scale : -INFINITY; };
    float sum[2][kBlocks], base[2][kBlocks];
    const float former = own_shift();
#pragma unroll
    for (int r = 0; r < 2; r++) {
#pragma unroll
      for (int b = 0; b < kBlocks; b++) {
        const int first = b * Columns / 2 + 2 * r;
        float greatest = -INFINITY;
#pragma unroll
        for (int j = 0; j < Columns / 8; j++) greatest = fmaxf(greatest, fmaxf(score(first + 4 * j, r), score(first + 4 * j + 1, r)));
        greatest = fmaxf(greatest, __shfl_xor_sync(~0u, greatest, 1));
        greatest = fmaxf(greatest, __shfl_xor_sync(~0u, greatest, 2));
        shift[r] = fmaxf(shift[r], greatest);
        base[r][b] = greatest == -INFINITY ? 0.0f : greatest;
        sum[r][b] = 0.0f;
#pragma unroll
        for (int j = 0; j < Columns / 8; j++) sum[r][b] += exp2_fast(score(first + 4 * j, r) - base[r][b]) + exp2_fast(score(first + 4 * j + 1, r) - base[r][b]);
      }
    }
    const float mine = share_out(sum);
    const int lane = threadIdx.x % 4;
    const float of = kBlocks == 2 ? (lane & 2 ? (lane & 1 ? base[1][kBlocks - 1] : base[1][0]) : (lane & 1 ? base[0][kBlocks - 1] : base[0][0])) : (lane & 1 ? base[1][0] : base[0][0]);
    store(p, step, of + __log2f(mine));
    total = (total > 0.0f ? total * exp2_fast(former - own_shift()) : 0.0f) + (mine > 0.0f ? mine * exp2_fast(of - own_shift()) : 0.0f);
  }
  // The logarithm of the whole row's sum, by the threads that hold it; infinite where nothing counts.
  __device__ __forceinline__ void store_lse(float* lse) {
    const int lane = threadIdx.x % 32, row = threadIdx.x / 32 % 4 * 16 + lane / 4 + (lane & (kBlocks == 2 ? 2 : 1) ? 8 : 0);
    if constexpr (kBlocks == 2) total += __shfl_xor_sync(~0u, total, 1);
    if (kBlocks == 2 ? lane % 2 == 0 : lane % 4 < 2) lse[row] = stores && total > 0.0f ? own_shift() + __log2f(total) : INFINITY;
  }

  __device__ __forceinline__ void take(const BlockScoresParams& p, const float (&x)[kKeys / 2], int step, float scale) {
    if (step * kKeys + kKeys > whole || !sum_seen(p, x, step, scale)) sum_masked(p, x, step, scale);
  }
};

// Scores of the tile's query blocks from its sums, by its warpgroup: every row is normalised, then those of a query block are averaged.
// `stored` key blocks have sums; four rows of one are a lane's, sixteen of them a warp's at a time.
__device__ __forceinline__ void finish(const BlockScoresParams& p, const Tile& tile, int batch, int stored, const float* lse) {
  constexpr int kTurns = 8, kOfWarp = 16 * kTurns;
  const int rows = p.block_q / p.q_step, lane = threadIdx.x % 32, upper = lane % 2;
  const int64_t head = static_cast<int64_t>(batch) * p.heads + tile.head;
  for (int first = 0; first < kRows && (tile.row + first) / rows < p.query_blocks; first += rows) {
    float* mass = p.mass + (head * p.query_blocks + (tile.row + first) / rows) * p.key_blocks;
    for (int start = threadIdx.x / 32 % 4 * kOfWarp; start < p.key_blocks; start += 4 * kOfWarp) {
      float value[kTurns] = {};
      for (int row = first; row < first + rows && tile.row + row < p.query_groups && start < stored; row += 8) {
        const float4* line = reinterpret_cast<const float4*>(sums_of(p, head, tile.row + row)) + upper;
        float4 x[kTurns];
#pragma unroll
        for (int i = 0; i < kTurns; i++) {
          const int block = start + 16 * i + lane / 2;
          x[i] = block < stored ? line[2 * block] : make_float4(-INFINITY, -INFINITY, -INFINITY, -INFINITY);
        }
        const float4 of = reinterpret_cast<const float4*>(lse + row)[upper];
        // Rows that do not exist hold anything, and have an infinite logarithm: their shares are 0.
        const auto share = [](float x, float of) __attribute__((always_inline)) { return exp2_fast(fmaxf(x - of, -1e30f)); };
#pragma unroll
        for (int i = 0; i < kTurns; i++) x[i] = make_float4(share(x[i].x, of.x), share(x[i].y, of.y), share(x[i].z, of.z), share(x[i].w, of.w));
        if (p.power == 1.0f) {
#pragma unroll
          for (int i = 0; i < kTurns; i++) value[i] += (x[i].x + x[i].y) + (x[i].z + x[i].w);
        } else if (p.power == 2.0f) {
#pragma unroll
          for (int i = 0; i < kTurns; i++) value[i] += fmaf(x[i].x, x[i].x, x[i].y * x[i].y) + fmaf(x[i].z, x[i].z, x[i].w * x[i].w);
        } else {
#pragma unroll
          for (int i = 0; i < kTurns; i++) value[i] = fmaxf(value[i], fmaxf(fmaxf(x[i].x, x[i].y), fmaxf(x[i].z, x[i].w)));
        }
      }
#pragma unroll
      for (int i = 0; i < kTurns / 2; i++) {
        const float mine = upper ? value[i + kTurns / 2] : value[i], other = __shfl_xor_sync(~0u, upper ? value[i] : value[i + kTurns / 2], 1);
        const float all = p.power <= 2.0f ? mine + other : fmaxf(mine, other);
        const int block = start + 16 * (i + upper * kTurns / 2) + lane / 2;
        if (block < p.key_blocks) mass[block] = p.power == 1.0f ? all / rows : p.power == 2.0f ? sqrtf(all / rows) : all;
      }
    }
  }
}

template <int Dim>
__device__ __forceinline__ void produce(const BlockScoresParams& p, const Extent& extent, const CUtensorMap* q, const CUtensorMap* k, Shared<Dim>& s, int first_tile, int kv_head, int batch,
                                        int begin, int end) {
  constexpr int kPanels = Dim / 64;
  int tiles = 0;
  while (tiles < kTiles && Tile(p, extent, first_tile + tiles, kv_head).exists) tiles++;
  barrier_expect(&s.q_full, tiles * sizeof(s.q[0]));
  for (int i = 0; i < tiles; i++) {
    const Tile tile(p, extent, first_tile + i, kv_head);
    copy_tile<kPanels>(s.q[i], kRows * 128, q, &s.q_full, tile.row, tile.head, batch);
  }
  Ring<kStages> ring;
  for (int step = begin; step < end; step++) {
    barrier_wait(&s.empty[ring.slot], ring.phase ^ 1);
    barrier_expect(&s.full[ring.slot], sizeof(s.k[0]));
    copy_tile<kPanels>(s.k[ring.slot], kKeys * 128, k, &s.full[ring.slot], step * kKeys, kv_head, batch);
    ring.next();
  }
}

template <class T, int Dim, int Columns>
__device__ __forceinline__ void consume(const BlockScoresParams& p, const Extent& extent, Shared<Dim>& s, int first_tile, int kv_head, int batch, int begin, int end, bool finishes) {
  const int group = __shfl_sync(~0u, threadIdx.x / 128, 0) - 1, lane = threadIdx.x % 32;
  const float scale = p.scale * kLog2e;
  Ring<kStages> ring;
  const Tile tile(p, extent, first_tile + group, kv_head);
  Rows<Columns> rows(p, extent, tile, batch, end);
  float scores[kKeys / 2];
  barrier_wait(&s.q_full, 0);
#pragma unroll 1
  for (int step = begin; step < end; step++) {
    barrier_wait(&s.full[ring.slot], ring.phase);
    product_fence();
    multiply_rows<T, kKeys, Dim>(scores, rows_descriptor(s.q[group]), kRows * 128, rows_descriptor(s.k[ring.slot]), kKeys * 128);
    product_commit();
    product_wait<0>();
    settle(scores);
    __syncwarp();
    if (lane == 0) barrier_arrive(&s.empty[ring.slot]);
    ring.next();
    if (step < rows.steps) rows.take(p, scores, step, scale);
  }
  if (finishes) {
    rows.store_lse(s.lse[group]);
    named_sync(1 + group, 128);  // of the sums too
    finish(p, tile, batch, min(rows.steps * rows.kBlocks, static_cast<int>(p.key_blocks)), s.lse[group]);
  }
}

template <class T, int Dim, int Columns>
__global__ void __launch_bounds__(kThreads, 1) sampled_kernel(const BlockScoresParams p, const __grid_constant__ CUtensorMap q, const __grid_constant__ CUtensorMap k, int chunk, bool finishes) {
#ifdef DS_HOPPER
  extern __shared__ uint8_t memory[];
  auto& s = *reinterpret_cast<Shared<Dim>*>((reinterpret_cast<uintptr_t>(memory) + 1023) / 1024 * 1024);
  const int kv_head = blockIdx.x % static_cast<int>(p.kv_heads), batch = blockIdx.x / static_cast<int>(p.kv_heads);
  const int first_tile = (gridDim.z - 1 - blockIdx.z) * kTiles, begin = blockIdx.y * chunk;
  const Extent extent(p, batch);
  int end = begin;
  for (int i = 0; i < kTiles; i++) end = max(end, min(begin + chunk, Tile(p, extent, first_tile + i, kv_head).steps(p, extent)));
  if (end == begin && !finishes) return;
  if (threadIdx.x == 0) {
    barrier_init(&s.q_full, 1);
    for (int i = 0; i < kStages; i++) barrier_init(&s.full[i], 1), barrier_init(&s.empty[i], 4 * kTiles);
    barrier_init_fence();
  }
  __syncthreads();
  if (threadIdx.x < 128) {
    fewer_registers<24>();
    if (threadIdx.x == 0) produce<Dim>(p, extent, &q, &k, s, first_tile, kv_head, batch, begin, end);
  } else {
    more_registers<112>();
    consume<T, Dim, Columns>(p, extent, s, first_tile, kv_head, batch, begin, end, finishes);
  }
#endif
}

// Thread blocks of all key heads, but for those that share a walk.
int64_t items_of(const BlockScoresParams& p) { return ((p.query_groups + kRows - 1) / kRows * (p.heads / p.kv_heads) + kTiles - 1) / kTiles; }
int64_t steps_of(const BlockScoresParams& p) { return (p.keys + kKeys - 1) / kKeys; }
// Steps that a thread block walks. Where rows are few, several share the keys.
int64_t chunk_of(const BlockScoresParams& p) {
  const int64_t wanted = 384 / (items_of(p) * p.kv_heads * p.batch) + 1, steps = steps_of(p);
  return wanted == 1 ? steps : steps / wanted < 16 ? 16 : (steps + wanted - 1) / wanted;
}

template <class T, int Dim, int Columns>
int launch(const BlockScoresParams& p, cudaStream_t stream) {
  CUtensorMap q, k;
  const AttentionTensor queries{const_cast<void*>(p.q), p.q_batch_stride, p.q_head_stride, p.q_row_stride}, keys{const_cast<void*>(p.k), p.k_batch_stride, p.k_head_stride, p.k_row_stride};
  if (!tensor_map(&q, queries, p.type, p.batch, p.heads, p.query_groups, Dim, kRows) || !tensor_map(&k, keys, p.type, p.batch, p.kv_heads, p.keys, Dim, kKeys)) return cudaErrorInvalidValue;
  const int bytes = sizeof(Shared<Dim>) + 1024;
  const auto status = cudaFuncSetAttribute(sampled_kernel<T, Dim, Columns>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  if (status != cudaSuccess) return status;
  const int64_t items = items_of(p), steps = steps_of(p), chunk = chunk_of(p);
  sampled_kernel<T, Dim, Columns><<<dim3(static_cast<unsigned>(p.kv_heads * p.batch), static_cast<unsigned>((steps + chunk - 1) / chunk), static_cast<unsigned>(items)), kThreads, bytes, stream>>>(
      p, q, k, static_cast<int>(chunk), sampled_scores_hopper_finishes(p));
  return cudaGetLastError();
}

}  // namespace

bool sampled_scores_hopper_takes(const BlockScoresParams& p) {
  return p.depth == 1 && p.k_step == 1 && (p.block_k == 64 || p.block_k == 128) && (p.query_groups + kRows - 1) / kRows * (p.heads / p.kv_heads) < 65536;
}

bool sampled_scores_hopper_finishes(const BlockScoresParams& p) {
  const int rows = p.block_q / p.q_step;
  return rows % 8 == 0 && kRows % rows == 0 && chunk_of(p) >= steps_of(p);
}

int sampled_scores_hopper(const BlockScoresParams& p, void* stream) {
  return by_type_and_width(p.type, p.dim, [&](auto element, auto width) {
    using T = decltype(element);
    return p.block_k == 64 ? launch<T, width.value, 64>(p, static_cast<cudaStream_t>(stream)) : launch<T, width.value, 128>(p, static_cast<cudaStream_t>(stream));
  });
}

}  // namespace deepseek
