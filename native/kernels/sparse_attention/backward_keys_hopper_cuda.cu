// Gradients of keys and values. One tile is 64 keys for every warpgroup; it walks the query blocks that see them, of all
// heads of the group in turn, in one fixed order (a long walk is cut into pieces whose sums are added in order): the sums have the same bits in every run. With the scores transposed
// (keys are rows), probabilities and their gradients go from one product to the next in registers.
#include "backward_lists.cuh"
#include "pipeline.cuh"

namespace deepseek {
namespace {

using namespace hopper;

constexpr int kQueries = 64;  // of one step

template <int Groups, int Dim>
struct Shared {
  static constexpr int kStages = Groups == 2 ? 4 : 2;
  static constexpr int kPanels = Dim / 64;
  static constexpr int kKeys = 64 * Groups;
  static constexpr int kKeyPanel = kKeys * 128, kQueryPanel = kQueries * 128;  // bytes
  alignas(1024) uint8_t k[kPanels * kKeyPanel];
  alignas(1024) uint8_t v[kPanels * kKeyPanel];
  alignas(1024) uint8_t q[kStages][kPanels * kQueryPanel];
  alignas(1024) uint8_t grad[kStages][kPanels * kQueryPanel];
  alignas(128) float lse2[kStages][kQueries];
  alignas(128) float delta[kStages][kQueries];
  uint64_t keys_full, keys_empty, full[kStages], empty[kStages];
  int tile, slot, row[kStages];
};

// A tile's work, or a piece of it: entries [begin, end) of the lists of the group's heads laid end to end. A piece leaves
// its sums in slot `slot` of the workspace; -1 is a whole tile.
struct Item {
  int tile, begin, end, slot;
};
struct Cut {
  int tile, slot, pieces, unused;
};
__device__ __forceinline__ Item* items_of(const SparseAttentionParams& p) { return reinterpret_cast<Item*>(p.items + 2); }
__device__ __forceinline__ Cut* cuts_of(const SparseAttentionParams& p) { return reinterpret_cast<Cut*>(p.items + 2 + 4 * p.item_capacity); }

struct KeyTile {
  int batch, kv_head, column;
  __device__ KeyTile(const SparseAttentionParams& p, int number, int keys) {
    const int tiles = static_cast<int>((p.keys + keys - 1) / keys);
    column = number % tiles * keys;  // early keys first: most queries see them
    kv_head = number / tiles % static_cast<int>(p.kv_heads);
    batch = number / tiles / static_cast<int>(p.kv_heads);
  }
};

__device__ __forceinline__ int64_t list_of(const SparseAttentionParams& p, const KeyTile& tile, int member) {
  const int64_t head = tile.kv_head * (p.heads / p.kv_heads) + member;
  return (tile.batch * p.index_heads + head / (p.heads / p.index_heads)) * p.key_blocks + tile.column / p.block_k;
}

// Writes the items, the cut tiles first since they take longest. One thread block; the order is the same in every run.
__global__ void __launch_bounds__(1024) plan_kernel(const SparseAttentionParams p, int tiles, int keys) {
  __shared__ unsigned long long sums[32];
  const int group = static_cast<int>(p.heads / p.kv_heads), lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  int items = 0, cuts = 0, slots = 0;
  for (int pass = 0; pass < 2; pass++) {
    for (int base = 0; base < tiles; base += 1024) {
      const int number = base + threadIdx.x;
      int entries = 0, made = 0;
      if (number < tiles) {
        const KeyTile tile(p, number, keys);
        for (int member = 0; member < group; member++) entries += p.query_count[list_of(p, tile, member)];
        const int pieces = entries > p.chunk ? static_cast<int>((entries + p.chunk - 1) / p.chunk) : 1;
        made = (pieces > 1) == (pass == 0) ? pieces : 0;
      }
      // Sum over the threads before, of items and of tiles at once.
      const unsigned long long own = static_cast<unsigned long long>(made > 0) << 32 | static_cast<unsigned>(made);
      unsigned long long sum = own;
      for (int step = 1; step < 32; step *= 2) {
        const auto left = __shfl_up_sync(~0u, sum, step);
        if (lane >= step) sum += left;
      }
      __syncthreads();
      if (lane == 31) sums[warp] = sum;
      __syncthreads();
      unsigned long long all = 0;
      for (int w = 0; w < 32; w++) {
        if (w == warp) sum += all;
        all += sums[w];
      }
      const int at = items + static_cast<int>(static_cast<unsigned>(sum - own)), cut = cuts + static_cast<int>((sum - own) >> 32);
      const int first_slot = slots + static_cast<int>(static_cast<unsigned>(sum - own));
      for (int piece = 0; piece < made; piece++) {
        const int begin = piece * static_cast<int>(p.chunk), end = pass == 0 ? min(entries, begin + static_cast<int>(p.chunk)) : entries;
        items_of(p)[at + piece] = {number, begin, end, pass == 0 ? first_slot + piece : -1};
      }
      if (pass == 0 && made > 0) cuts_of(p)[cut] = {number, first_slot, made, 0};
      items += static_cast<int>(static_cast<unsigned>(all));
      if (pass == 0) {
        cuts += static_cast<int>(all >> 32);
        slots += static_cast<int>(static_cast<unsigned>(all));
      }
    }
  }
  if (threadIdx.x == 0) p.items[0] = items, p.items[1] = cuts;
}

// Adds the pieces of the cut tiles, in order.
template <class T>
__global__ void __launch_bounds__(256) join_kernel(const SparseAttentionParams p, int keys) {
  if (static_cast<int>(blockIdx.x) >= p.items[1]) return;
  const Cut cut = cuts_of(p)[blockIdx.x];
  const KeyTile tile(p, cut.tile, keys);
  const int k_length = length_or(p.k_lengths, tile.batch, p.keys), dim = static_cast<int>(p.dim);
  const float* partials = p.partials + static_cast<int64_t>(cut.slot) * 2 * keys * dim;
  for (int i = (blockIdx.y * 256 + threadIdx.x) * 4; i < 2 * keys * dim; i += gridDim.y * 1024) {
    float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    for (int piece = 0; piece < cut.pieces; piece++) {
      const float4 x = *reinterpret_cast<const float4*>(partials + static_cast<int64_t>(piece) * 2 * keys * dim + i);
      sum.x += x.x, sum.y += x.y, sum.z += x.z, sum.w += x.w;
    }
    const bool of_keys = i < keys * dim;
    const int row = tile.column + i % (keys * dim) / dim;
    if (row >= p.keys) continue;
    const float factor = row >= k_length ? 0.0f : of_keys ? p.scale : 1.0f;
    const AttentionTensor& t = of_keys ? p.grad_k : p.grad_v;
    T* to = static_cast<T*>(t.data) + tile.batch * t.batch_stride + tile.kv_head * t.head_stride + row * t.row_stride + i % dim;
    const bool exists = row < k_length;
    *reinterpret_cast<uint2*>(to) = exists ? make_uint2(pack<T>(sum.x * factor, sum.y * factor), pack<T>(sum.z * factor, sum.w * factor)) : make_uint2(0u, 0u);
  }
}

template <int Groups, int Dim>
__device__ void produce(const SparseAttentionParams& p, const CUtensorMap* q, const CUtensorMap* grad, const CUtensorMap* k, const CUtensorMap* v,
                        Shared<Groups, Dim>& s) {
  constexpr int kPanels = Dim / 64;
  const int lane = threadIdx.x % 32, group = static_cast<int>(p.heads / p.kv_heads);
  const int64_t padded = (p.queries + 127) / 128 * 128;
  const int pieces = static_cast<int>(p.block_q) / kQueries;
  Ring<s.kStages> ring;
  uint32_t phase = 0;
  const auto take = [&] { return lane == 0 ? atomicAdd(p.counter, 1) : 0; };
  int taken = take();
  while (true) {
    const int number = __shfl_sync(~0u, taken, 0);
    if (number >= p.items[0]) break;
    taken = take();
    const Item item = items_of(p)[number];
    const KeyTile tile(p, item.tile, s.kKeys);
    barrier_wait(&s.keys_empty, phase ^ 1);
    phase ^= 1;
    if (lane == 0) {
      s.tile = item.tile;
      s.slot = item.slot;
      barrier_expect(&s.keys_full, sizeof(s.k) + sizeof(s.v));
      copy_tile<kPanels>(s.k, s.kKeyPanel, k, &s.keys_full, tile.column, tile.kv_head, tile.batch);
      copy_tile<kPanels>(s.v, s.kKeyPanel, v, &s.keys_full, tile.column, tile.kv_head, tile.batch);
    }
    __syncwarp();
    const int q_length = length_or(p.q_lengths, tile.batch, p.queries), k_length = length_or(p.k_lengths, tile.batch, p.keys);
    // Queries before this one see none of the tile's keys.
    const int first = p.causal ? tile.column - (k_length - q_length) : 0;
    int before = 0;
    for (int member = 0; member < group; member++) {
      const int head = tile.kv_head * group + member;
      const int64_t list = list_of(p, tile, member), statistics = (tile.batch * p.heads + head) * padded;
      const int count = p.query_count[list], begin = max(item.begin - before, 0), end = tile.column < k_length ? min(item.end - before, count) : 0;
      before += count;
      int entries = 0;
      for (int entry = begin; entry < end; entry++) {
        if ((entry - begin) % 32 == 0) entries = entry + lane < end ? p.query_index[list * p.query_blocks + entry + lane] : 0;
        const int block = __shfl_sync(~0u, entries, (entry - begin) % 32);
        for (int piece = 0; piece < pieces; piece++) {
          const int row = block * static_cast<int>(p.block_q) + piece * kQueries;
          if (row >= q_length || row + kQueries <= first) continue;
          barrier_wait(&s.empty[ring.slot], ring.phase ^ 1);
          if (lane == 0) {
            uint64_t* bar = &s.full[ring.slot];
            s.row[ring.slot] = row;
            barrier_expect(bar, sizeof(s.q[0]) + sizeof(s.grad[0]) + sizeof(s.lse2[0]) + sizeof(s.delta[0]));
            copy_tile<kPanels>(s.q[ring.slot], s.kQueryPanel, q, bar, row, head, tile.batch);
            copy_tile<kPanels>(s.grad[ring.slot], s.kQueryPanel, grad, bar, row, head, tile.batch);
            copy_bytes(s.lse2[ring.slot], p.lse2 + statistics + row, sizeof(s.lse2[0]), bar);
            copy_bytes(s.delta[ring.slot], p.delta + statistics + row, sizeof(s.delta[0]), bar);
          }
          __syncwarp();
          ring.next();
        }
      }
    }
    barrier_wait(&s.empty[ring.slot], ring.phase ^ 1);
    if (lane == 0) {
      s.row[ring.slot] = -1;
      barrier_arrive(&s.full[ring.slot]);
    }
    __syncwarp();
    ring.next();
  }
  barrier_wait(&s.keys_empty, phase ^ 1);
  if (lane == 0) {
    s.tile = -1;
    barrier_arrive(&s.keys_full);
  }
}

template <class T, int Groups, int Dim>
__device__ void consume(const SparseAttentionParams& p, Shared<Groups, Dim>& s) {
  constexpr int kPanels = Dim / 64;
  const int group = __shfl_sync(~0u, threadIdx.x / 128, 0) - 1, warp = threadIdx.x / 32 % 4, lane = threadIdx.x % 32;
  const float scale = p.scale * kLog2e;
  const uint64_t k_rows = rows_descriptor(s.k + group * 64 * 128), v_rows = rows_descriptor(s.v + group * 64 * 128);
  Ring<s.kStages> ring;
  uint32_t phase = 0;
  while (true) {
    barrier_wait(&s.keys_full, phase);
    phase ^= 1;
    const int number = s.tile, slot = s.slot;
    if (number < 0) break;
    const KeyTile tile(p, number, s.kKeys);
    const int q_length = length_or(p.q_lengths, tile.batch, p.queries), k_length = length_or(p.k_lengths, tile.batch, p.keys);
    const int key = tile.column + group * 64 + warp * 16 + lane / 4;
    // Query i sees key j when i >= j - (k_length - q_length).
    const int first_seeing = key - (k_length - q_length);
    const int seen_from = tile.column + group * 64 + 63 - (k_length - q_length);

    float grad_k[Dim / 2], grad_v[Dim / 2], scores[kQueries / 2], grads[kQueries / 2];
    uint32_t weights[kQueries / 4], moves[kQueries / 4];
#pragma unroll
    for (int i = 0; i < Dim / 2; i++) grad_k[i] = grad_v[i] = 0.0f;
    while (true) {
      barrier_wait(&s.full[ring.slot], ring.phase);
      const int at = ring.slot, row = s.row[at];
      ring.next();
      if (row < 0) {
        barrier_arrive(&s.empty[at]);
        break;
      }
      if (row + kQueries > q_length && q_length < p.queries) {
        clear_rows<kQueries, kPanels>(s.q[at], q_length - row);
        clear_rows<kQueries, kPanels>(s.grad[at], q_length - row);
        rows_cleared(group);
      }
      product_fence();
      multiply_rows<T, kQueries, Dim>(scores, k_rows, s.kKeyPanel, rows_descriptor(s.q[at]), s.kQueryPanel);
      product_commit();
      multiply_rows<T, kQueries, Dim>(grads, v_rows, s.kKeyPanel, rows_descriptor(s.grad[at]), s.kQueryPanel);
      product_commit();
      product_wait<1>();
      settle(scores);
      const bool hidden = p.causal && row < seen_from;
#pragma unroll
      for (int j = 0; j < kQueries / 8; j++) {
        const float2 lse2 = *reinterpret_cast<const float2*>(&s.lse2[at][j * 8 + lane % 4 * 2]);
#pragma unroll
        for (int r = 0; r < 2; r++) {
          scores[4 * j + 2 * r] = exp2_fast(fmaf(scores[4 * j + 2 * r], scale, -lse2.x));
          scores[4 * j + 2 * r + 1] = exp2_fast(fmaf(scores[4 * j + 2 * r + 1], scale, -lse2.y));
        }
      }
      if (hidden) {
        const int query = row + lane % 4 * 2;
#pragma unroll
        for (int i = 0; i < kQueries / 2; i++)
          if (query + i / 4 * 8 + i % 2 < first_seeing + i / 2 % 2 * 8) scores[i] = 0.0f;
      }
#pragma unroll
      for (int i = 0; i < kQueries / 4; i++) weights[i] = pack<T>(scores[2 * i], scores[2 * i + 1]);
      settle(weights);
      product_wait<0>();
      settle(grads);
      product_fence();
      multiply_columns<T, kQueries, Dim>(grad_v, weights, columns_descriptor(s.grad[at], s.kQueryPanel));
      product_commit();
#pragma unroll
      for (int j = 0; j < kQueries / 8; j++) {
        const float2 delta = *reinterpret_cast<const float2*>(&s.delta[at][j * 8 + lane % 4 * 2]);
#pragma unroll
        for (int r = 0; r < 2; r++) {
          grads[4 * j + 2 * r] = scores[4 * j + 2 * r] * (grads[4 * j + 2 * r] - delta.x);
          grads[4 * j + 2 * r + 1] = scores[4 * j + 2 * r + 1] * (grads[4 * j + 2 * r + 1] - delta.y);
        }
      }
#pragma unroll
      for (int i = 0; i < kQueries / 4; i++) moves[i] = pack<T>(grads[2 * i], grads[2 * i + 1]);
      settle(moves);
      product_fence();
      multiply_columns<T, kQueries, Dim>(grad_k, moves, columns_descriptor(s.q[at], s.kQueryPanel));
      product_commit();
      product_wait<0>();
      settle(grad_v);
      settle(grad_k);
      barrier_arrive(&s.empty[at]);
    }
    barrier_arrive(&s.keys_empty);
    if (slot >= 0) {
      const auto keep = [&](const float(&d)[Dim / 2], int which) {
        float* to = p.partials + ((static_cast<int64_t>(slot) * 2 + which) * s.kKeys + key - tile.column) * Dim + lane % 4 * 2;
#pragma unroll
        for (int i = 0; i < Dim / 2; i += 2) *reinterpret_cast<float2*>(to + i / 2 % 2 * 8 * Dim + i / 4 * 8) = make_float2(d[i], d[i + 1]);
      };
      keep(grad_k, 0);
      keep(grad_v, 1);
      continue;
    }
    const float factor_k[2] = {p.scale, p.scale}, factor_v[2] = {1.0f, 1.0f};
    store_rows<T, Dim>(p.grad_k, tile.batch, tile.kv_head, key, static_cast<int>(p.keys), k_length, grad_k, factor_k);
    store_rows<T, Dim>(p.grad_v, tile.batch, tile.kv_head, key, static_cast<int>(p.keys), k_length, grad_v, factor_v);
  }
}

template <class T, int Groups, int Dim>
__global__ void __launch_bounds__(128 * (1 + Groups), 3 - Groups)
    keys_kernel(const SparseAttentionParams p, const __grid_constant__ CUtensorMap q, const __grid_constant__ CUtensorMap grad, const __grid_constant__ CUtensorMap k,
                const __grid_constant__ CUtensorMap v) {
#ifdef DS_HOPPER
  extern __shared__ uint8_t memory[];
  auto& s = *reinterpret_cast<Shared<Groups, Dim>*>((reinterpret_cast<uintptr_t>(memory) + 1023) / 1024 * 1024);
  if (threadIdx.x == 0) {
    prefetch_map(&q), prefetch_map(&grad), prefetch_map(&k), prefetch_map(&v);
    barrier_init(&s.keys_full, 1);
    barrier_init(&s.keys_empty, 128 * Groups);
    for (int i = 0; i < s.kStages; i++) barrier_init(&s.full[i], 1), barrier_init(&s.empty[i], 128 * Groups);
    barrier_init_fence();
  }
  __syncthreads();
  if (threadIdx.x < 128) {
    fewer_registers<24>();
    if (threadIdx.x < 32) produce(p, &q, &grad, &k, &v, s);
  } else {
    more_registers<Groups == 2 ? 240 : 232>();
    consume<T>(p, s);
  }
#endif
}

template <class T, int Groups, int Dim>
int launch(SparseAttentionParams p, cudaStream_t stream) {
  constexpr int kKeys = 64 * Groups;
  CUtensorMap q, grad, k, v;
  if (!tensor_map(&q, p.q, p.type, p.batch, p.heads, p.queries, Dim, kQueries) || !tensor_map(&grad, p.grad_out, p.type, p.batch, p.heads, p.queries, Dim, kQueries) ||
      !tensor_map(&k, p.k, p.type, p.batch, p.kv_heads, p.keys, Dim, kKeys) || !tensor_map(&v, p.v, p.type, p.batch, p.kv_heads, p.keys, Dim, kKeys))
    return cudaErrorInvalidValue;
  int tiles = static_cast<int>(p.batch * p.kv_heads * ((p.keys + kKeys - 1) / kKeys));
  plan_kernel<<<1, 1024, 0, stream>>>(p, tiles, kKeys);
  void* arguments[] = {&p, &q, &grad, &k, &v};
  const int status = launch_persistent(keys_kernel<T, Groups, Dim>, static_cast<int>(p.item_capacity), 3 - Groups, 128 * (1 + Groups), sizeof(Shared<Groups, Dim>) + 1024, p.counter, stream, arguments);
  if (status != cudaSuccess || p.slots == 0) return status;
  join_kernel<T><<<dim3(static_cast<unsigned>(p.slots / 2 + 1), 4), 256, 0, stream>>>(p, kKeys);
  return cudaGetLastError();
}

template <class T, int Dim>
int launch(const SparseAttentionParams& p, cudaStream_t stream) {
  return p.block_k % 128 == 0 ? launch<T, 2, Dim>(p, stream) : launch<T, 1, Dim>(p, stream);
}

}  // namespace

int sparse_attention_backward_keys_hopper(const SparseAttentionParams& p, cudaStream_t stream) {
  return by_type_and_width(p.type, p.dim, [&](auto element, auto width) { return launch<decltype(element), width.value>(p, stream); });
}

int sparse_attention_backward_hopper(const SparseAttentionParams& p, void* stream) {
  const auto s = static_cast<cudaStream_t>(stream);
  int status = sparse_attention_backward_lists(p, s);
  if (status == cudaSuccess) status = sparse_attention_backward_keys_hopper(p, s);
  if (status == cudaSuccess) status = sparse_attention_backward_queries_hopper(p, s);
  return status;
}

}  // namespace deepseek
