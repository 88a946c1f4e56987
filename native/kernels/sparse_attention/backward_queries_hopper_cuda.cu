// Gradient of queries: like the forward, with the gradient of the output beside the query tile. Scores and their gradients
// of the listed key blocks are made again, and the gradients stay in registers as the left side of the last product.
#include "backward_lists.cuh"
#include "pipeline.cuh"

namespace deepseek {
namespace {

using namespace hopper;

template <int Groups, int Dim, int Keys>
struct Shared {
  static constexpr int kRows = 64 * Groups;
  static constexpr int kStages = Groups == 2 && Keys == 64 ? 4 : 2;
  static constexpr int kPanels = Dim / 64;
  static constexpr int kQueryPanel = kRows * 128, kKeyPanel = Keys * 128;  // bytes
  alignas(1024) uint8_t q[kPanels * kQueryPanel];
  alignas(1024) uint8_t grad[kPanels * kQueryPanel];
  alignas(1024) uint8_t k[kStages][kPanels * kKeyPanel];
  alignas(1024) uint8_t v[kStages][kPanels * kKeyPanel];
  uint64_t q_full, q_empty, full[kStages], empty[kStages];
  int tile, steps, column[kStages];
};

template <int Groups, int Dim, int Keys>
__device__ void produce(const SparseAttentionParams& p, const CUtensorMap* q, const CUtensorMap* grad, const CUtensorMap* k, const CUtensorMap* v,
                        Shared<Groups, Dim, Keys>& s, int tiles) {
  constexpr int kPanels = Dim / 64;
  const int lane = threadIdx.x % 32;
  Ring<s.kStages> ring;
  uint32_t phase = 0;
  const auto take = [&] { return lane == 0 ? atomicAdd(p.counter, 1) : 0; };
  int taken = take();
  while (true) {
    const int number = __shfl_sync(~0u, taken, 0);
    if (number >= tiles) break;
    taken = take();
    const QueryTile<s.kRows> tile(p, number);
    KeyBlocks<Keys> blocks(p, tile.list(p), tile.row < length_or(p.q_lengths, tile.batch, p.queries));
    const int steps = blocks.steps();
    barrier_wait(&s.q_empty, phase ^ 1);
    phase ^= 1;
    if (lane == 0) {
      s.tile = number;
      s.steps = steps;
      if (steps > 0) {
        barrier_expect(&s.q_full, sizeof(s.q) + sizeof(s.grad));
        copy_tile<kPanels>(s.q, s.kQueryPanel, q, &s.q_full, tile.row, tile.head, tile.batch);
        copy_tile<kPanels>(s.grad, s.kQueryPanel, grad, &s.q_full, tile.row, tile.head, tile.batch);
      } else {
        barrier_arrive(&s.q_full);
      }
    }
    __syncwarp();
    for (int step = 0; step < steps; step++) {
      const int column = blocks.column(step);
      barrier_wait(&s.empty[ring.slot], ring.phase ^ 1);
      if (lane == 0) {
        s.column[ring.slot] = column;
        barrier_expect(&s.full[ring.slot], sizeof(s.k[0]) + sizeof(s.v[0]));
        copy_tile<kPanels>(s.k[ring.slot], s.kKeyPanel, k, &s.full[ring.slot], column, tile.kv_head, tile.batch);
        copy_tile<kPanels>(s.v[ring.slot], s.kKeyPanel, v, &s.full[ring.slot], column, tile.kv_head, tile.batch);
      }
      __syncwarp();
      ring.next();
    }
  }
  barrier_wait(&s.q_empty, phase ^ 1);
  if (lane == 0) {
    s.tile = -1;
    barrier_arrive(&s.q_full);
  }
}

template <class T, int Groups, int Dim, int Keys>
__device__ void consume(const SparseAttentionParams& p, Shared<Groups, Dim, Keys>& s) {
  const int group = __shfl_sync(~0u, threadIdx.x / 128, 0) - 1, warp = threadIdx.x / 32 % 4, lane = threadIdx.x % 32;
  const float scale = p.scale * kLog2e;
  const uint64_t q_rows = rows_descriptor(s.q + group * 64 * 128), grad_rows = rows_descriptor(s.grad + group * 64 * 128);
  const int64_t padded = (p.queries + 127) / 128 * 128;
  Ring<s.kStages> ring;
  uint32_t phase = 0;
  while (true) {
    barrier_wait(&s.q_full, phase);
    phase ^= 1;
    const int number = s.tile, steps = s.steps;
    if (number < 0) break;
    const QueryTile<s.kRows> tile(p, number);
    const int q_length = length_or(p.q_lengths, tile.batch, p.queries), k_length = length_or(p.k_lengths, tile.batch, p.keys);
    const int row = tile.row + group * 64 + warp * 16 + lane / 4;
    const int offset = k_length - q_length + 1;
    const int limit[2] = {p.causal ? min(k_length, row + offset) : k_length, p.causal ? min(k_length, row + 8 + offset) : k_length};
    const int seen_by_all = p.causal ? min(k_length, tile.row + group * 64 + offset) : k_length;
    const int64_t statistics = (tile.batch * p.heads + tile.head) * padded + row;
    const float lse2[2] = {p.lse2[statistics], p.lse2[statistics + 8]}, delta[2] = {p.delta[statistics], p.delta[statistics + 8]};

    float grad_q[Dim / 2], scores[Keys / 2], grads[Keys / 2];
    uint32_t moves[Keys / 4];
#pragma unroll
    for (int i = 0; i < Dim / 2; i++) grad_q[i] = 0.0f;
#pragma unroll 1
    for (int step = 0; step < steps; step++) {
      const int slot = ring.slot;
      barrier_wait(&s.full[slot], ring.phase);
      ring.next();
      const int column = s.column[slot];
      if (column + Keys > k_length && k_length < p.keys) {
        clear_rows<Keys, Dim / 64>(s.k[slot], k_length - column);
        clear_rows<Keys, Dim / 64>(s.v[slot], k_length - column);
        rows_cleared(group);
      }
      product_fence();
      multiply_rows<T, Keys, Dim>(scores, q_rows, s.kQueryPanel, rows_descriptor(s.k[slot]), s.kKeyPanel);
      product_commit();
      multiply_rows<T, Keys, Dim>(grads, grad_rows, s.kQueryPanel, rows_descriptor(s.v[slot]), s.kKeyPanel);
      product_commit();
      product_wait<1>();
      settle(scores);
#pragma unroll
      for (int i = 0; i < Keys / 2; i++) scores[i] = exp2_fast(fmaf(scores[i], scale, -lse2[i / 2 % 2]));
      if (column + Keys > seen_by_all) {
        const int first = column + lane % 4 * 2;
#pragma unroll
        for (int i = 0; i < Keys / 2; i++)
          if (first + i / 4 * 8 + i % 2 >= limit[i / 2 % 2]) scores[i] = 0.0f;
      }
      product_wait<0>();
      settle(grads);
#pragma unroll
      for (int i = 0; i < Keys / 4; i++)
        moves[i] = pack<T>(scores[2 * i] * (grads[2 * i] - delta[i % 2]), scores[2 * i + 1] * (grads[2 * i + 1] - delta[i % 2]));
      settle(moves);
      product_fence();
      multiply_columns<T, Keys, Dim>(grad_q, moves, columns_descriptor(s.k[slot], s.kKeyPanel));
      product_commit();
      product_wait<0>();
      settle(grad_q);
      barrier_arrive(&s.empty[slot]);
    }
    barrier_arrive(&s.q_empty);
    const float factor[2] = {p.scale, p.scale};
    store_rows<T, Dim>(p.grad_q, tile.batch, tile.head, row, static_cast<int>(p.queries), q_length, grad_q, factor);
  }
}

template <class T, int Groups, int Dim, int Keys>
__global__ void __launch_bounds__(128 * (1 + Groups), 3 - Groups)
    queries_kernel(const SparseAttentionParams p, const __grid_constant__ CUtensorMap q, const __grid_constant__ CUtensorMap grad, const __grid_constant__ CUtensorMap k,
                   const __grid_constant__ CUtensorMap v, int tiles) {
#ifdef DS_HOPPER
  extern __shared__ uint8_t memory[];
  auto& s = *reinterpret_cast<Shared<Groups, Dim, Keys>*>((reinterpret_cast<uintptr_t>(memory) + 1023) / 1024 * 1024);
  if (threadIdx.x == 0) {
    prefetch_map(&q), prefetch_map(&grad), prefetch_map(&k), prefetch_map(&v);
    barrier_init(&s.q_full, 1);
    barrier_init(&s.q_empty, 128 * Groups);
    for (int i = 0; i < s.kStages; i++) barrier_init(&s.full[i], 1), barrier_init(&s.empty[i], 128 * Groups);
    barrier_init_fence();
  }
  __syncthreads();
  if (threadIdx.x < 128) {
    fewer_registers<24>();
    if (threadIdx.x < 32) produce(p, &q, &grad, &k, &v, s, tiles);
  } else {
    more_registers<Groups == 2 ? 240 : 232>();
    consume<T>(p, s);
  }
#endif
}

template <class T, int Groups, int Dim, int Keys>
int launch(SparseAttentionParams p, cudaStream_t stream) {
  constexpr int kRows = 64 * Groups;
  CUtensorMap q, grad, k, v;
  if (!tensor_map(&q, p.q, p.type, p.batch, p.heads, p.queries, Dim, kRows) || !tensor_map(&grad, p.grad_out, p.type, p.batch, p.heads, p.queries, Dim, kRows) ||
      !tensor_map(&k, p.k, p.type, p.batch, p.kv_heads, p.keys, Dim, Keys) || !tensor_map(&v, p.v, p.type, p.batch, p.kv_heads, p.keys, Dim, Keys))
    return cudaErrorInvalidValue;
  p.counter++;  // the other kernel of the backward has its own
  int tiles = static_cast<int>(p.batch * p.heads * ((p.queries + kRows - 1) / kRows));
  void* arguments[] = {&p, &q, &grad, &k, &v, &tiles};
  return launch_persistent(queries_kernel<T, Groups, Dim, Keys>, tiles, 3 - Groups, 128 * (1 + Groups), sizeof(Shared<Groups, Dim, Keys>) + 1024, p.counter, stream,
                           arguments);
}

template <class T, int Dim>
int launch(const SparseAttentionParams& p, cudaStream_t stream) {
  if (p.block_q % 128 != 0) return launch<T, 1, Dim, 64>(p, stream);
  return p.block_k % 128 == 0 ? launch<T, 2, Dim, 128>(p, stream) : launch<T, 2, Dim, 64>(p, stream);
}

}  // namespace

int sparse_attention_backward_queries_hopper(const SparseAttentionParams& p, cudaStream_t stream) {
  return by_type_and_width(p.type, p.dim, [&](auto element, auto width) { return launch<decltype(element), width.value>(p, stream); });
}

}  // namespace deepseek
