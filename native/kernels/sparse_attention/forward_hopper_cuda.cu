// Block-sparse attention forward on Hopper. A persistent grid; in every block of threads one warp copies the query tile
// and the listed key blocks into shared memory, and one or two warpgroups of 64 query rows each multiply. A warpgroup's
// softmax runs beside the matrix products of the other one (they take turns) and beside its own product with the former block.
#include "pipeline.cuh"

namespace deepseek {
namespace {

using namespace hopper;

template <int Groups, int Dim, int Keys>
struct Shared {
  // Two thread blocks of 64 query rows with three stages just fit into a multiprocessor; one of 128 rows takes two of 128 keys.
  static constexpr int kStages = Groups == 1 ? 3 : Keys == 64 ? 4 : 2;
  static constexpr int kRows = 64 * Groups;
  static constexpr int kPanels = Dim / 64;
  static constexpr int kQueryPanel = kRows * 128, kKeyPanel = Keys * 128;  // bytes
  alignas(1024) uint8_t q[kPanels * kQueryPanel];
  alignas(1024) uint8_t k[kStages][kPanels * kKeyPanel];
  alignas(1024) uint8_t v[kStages][kPanels * kKeyPanel];
  uint64_t q_full, q_empty, k_full[kStages], k_empty[kStages], v_full[kStages], v_empty[kStages];
  int tile, steps, column[kStages];
};

template <int Groups, int Dim, int Keys>
__device__ void produce(const SparseAttentionParams& p, const CUtensorMap* q, const CUtensorMap* k, const CUtensorMap* v, Shared<Groups, Dim, Keys>& s, int tiles) {
  constexpr int kPanels = Dim / 64;
  const int lane = threadIdx.x % 32;
  Ring<s.kStages> keys, values;
  uint32_t q_phase = 0;
  const auto take = [&] { return lane == 0 ? atomicAdd(p.counter, 1) : 0; };
  int taken = take();
  while (true) {
    const int number = __shfl_sync(~0u, taken, 0);
    if (number >= tiles) break;
    taken = take();
    const QueryTile<s.kRows> tile(p, number);
    KeyBlocks<Keys> blocks(p, tile.list(p), tile.row < length_or(p.q_lengths, tile.batch, p.queries));
    const int steps = blocks.steps();
    barrier_wait(&s.q_empty, q_phase ^ 1);
    q_phase ^= 1;
    if (lane == 0) {
      s.tile = number;
      s.steps = steps;
      if (steps > 0) {
        barrier_expect(&s.q_full, sizeof(s.q));
        copy_tile<kPanels>(s.q, s.kQueryPanel, q, &s.q_full, tile.row, tile.head, tile.batch);
      } else {
        barrier_arrive(&s.q_full);
      }
    }
    __syncwarp();
    const auto copy_values = [&](int column) {
      barrier_wait(&s.v_empty[values.slot], values.phase ^ 1);
      if (lane == 0) {
        barrier_expect(&s.v_full[values.slot], sizeof(s.v[0]));
        copy_tile<kPanels>(s.v[values.slot], s.kKeyPanel, v, &s.v_full[values.slot], column, tile.kv_head, tile.batch);
      }
      __syncwarp();
      values.next();
    };
    int former = 0;
    for (int step = 0; step < steps; step++) {
      const int column = blocks.column(step);
      barrier_wait(&s.k_empty[keys.slot], keys.phase ^ 1);
      if (lane == 0) {
        s.column[keys.slot] = column;
        barrier_expect(&s.k_full[keys.slot], sizeof(s.k[0]));
        copy_tile<kPanels>(s.k[keys.slot], s.kKeyPanel, k, &s.k_full[keys.slot], column, tile.kv_head, tile.batch);
      }
      __syncwarp();
      keys.next();
      if (step > 0) copy_values(former);
      former = column;
    }
    if (steps > 0) copy_values(former);
  }
  barrier_wait(&s.q_empty, q_phase ^ 1);
  if (lane == 0) {
    s.tile = -1;
    barrier_arrive(&s.q_full);
  }
}

template <int N>
__device__ __forceinline__ void mask(float (&s)[N], int column, const int (&limit)[2]) {
  const int first = column + threadIdx.x % 4 * 2;
#pragma unroll
  for (int j = 0; j < N; j++)
    if (first + j / 4 * 8 + j % 2 >= limit[j / 2 % 2]) s[j] = -INFINITY;
}

template <class T, int Groups, int Dim, int Keys>
__device__ void consume(const SparseAttentionParams& p, Shared<Groups, Dim, Keys>& s) {
  const int group = __shfl_sync(~0u, threadIdx.x / 128, 0) - 1, warp = threadIdx.x / 32 % 4, lane = threadIdx.x % 32;
  const float scale = p.scale * kLog2e;
  const uint64_t q_rows = rows_descriptor(s.q + group * 64 * 128);
  Ring<s.kStages> keys, values;
  uint32_t q_phase = 0;
  const auto release = [&](uint64_t* bar) {
    __syncwarp();
    if (lane == 0) barrier_arrive(bar);
  };
  const auto await_turn = [&] {
    if (Groups == 2) named_sync(1 + group, 256);
  };
  const auto give_turn = [&] {
    if (Groups == 2) named_arrive(2 - group, 256);
  };
  if (group == 1) give_turn();  // the first turn is the first warpgroup's
  while (true) {
    barrier_wait(&s.q_full, q_phase);
    q_phase ^= 1;
    const int number = read_once(s.tile), steps = read_once(s.steps);
    if (number < 0) break;
    const QueryTile<s.kRows> tile(p, number);
    const int q_length = length_or(p.q_lengths, tile.batch, p.queries), k_length = length_or(p.k_lengths, tile.batch, p.keys);
    const int row = tile.row + group * 64 + warp * 16 + lane / 4;
    const int offset = k_length - q_length + 1;
    const int limit[2] = {p.causal ? min(k_length, row + offset) : k_length, p.causal ? min(k_length, row + 8 + offset) : k_length};
    const int seen_by_all = p.causal ? min(k_length, tile.row + group * 64 + offset) : k_length;

    float scores[Keys / 2], out[Dim / 2], factor[2];
    uint32_t weights[Keys / 4];
    Softmax softmax{{-INFINITY, -INFINITY}, {0.0f, 0.0f}};
#pragma unroll
    for (int i = 0; i < Dim / 2; i++) out[i] = 0.0f;

    const auto multiply_keys = [&] {
      product_fence();
      multiply_rows<T, Keys, Dim>(scores, q_rows, s.kQueryPanel, rows_descriptor(s.k[keys.slot]), s.kKeyPanel);
      product_commit();
    };
    const auto multiply_values = [&] {
      product_fence();
      multiply_columns<T, Keys, Dim>(out, weights, columns_descriptor(s.v[values.slot], s.kKeyPanel));
      product_commit();
    };
    const auto await_values = [&](int column) {
      barrier_wait(&s.v_full[values.slot], values.phase);
      if (column + Keys > k_length && k_length < p.keys) {
        clear_rows<Keys, Dim / 64>(s.v[values.slot], k_length - column);
        rows_cleared(group);
      }
    };
    const auto pack_weights = [&] {
#pragma unroll
      for (int i = 0; i < Keys / 4; i++) weights[i] = pack<T>(scores[2 * i], scores[2 * i + 1]);
      settle(weights);
    };
    // Scores of the block in hand are complete: its keys go back, then mask, softmax.
    const auto weigh = [&](int column, bool last) {
      settle(scores);
      release(&s.k_empty[keys.slot]);
      keys.next();
      if (last) release(&s.q_empty);
      if (column + Keys > seen_by_all) mask(scores, column, limit);
      return softmax.lazy_step(scores, scale, factor);
    };
    const auto take_values = [&] {
      settle(out);
      release(&s.v_empty[values.slot]);
      values.next();
    };

    if (steps > 0) {
      barrier_wait(&s.k_full[keys.slot], keys.phase);
      int former = read_once(s.column[keys.slot]);
      await_turn();
      multiply_keys();
      give_turn();
      product_wait<0>();
      weigh(former, steps == 1);
      pack_weights();
#pragma unroll 1
      for (int step = 1; step < steps; step++) {
        barrier_wait(&s.k_full[keys.slot], keys.phase);
        const int column = read_once(s.column[keys.slot]);
        await_values(former);
        await_turn();
        multiply_keys();
        multiply_values();
        give_turn();
        product_wait<1>();
        const bool rescale = weigh(column, step == steps - 1);
        product_wait<0>();
        take_values();
        if (rescale) {
#pragma unroll
          for (int i = 0; i < Dim / 2; i++) out[i] *= factor[i / 2 % 2];
        }
        pack_weights();
        former = column;
      }
      await_values(former);
      multiply_values();
      product_wait<0>();
      take_values();
    } else {
      release(&s.q_empty);
    }

    float inverse[2];
#pragma unroll
    for (int r = 0; r < 2; r++) {
      float sum = softmax.sum[r];
      sum += __shfl_xor_sync(~0u, sum, 1);
      sum += __shfl_xor_sync(~0u, sum, 2);
      const int at = row + 8 * r;
      const bool any = sum > 0.0f;
      inverse[r] = any ? 1.0f / sum : 0.0f;
      if (lane % 4 == 0 && at < p.queries)
        p.lse[(tile.batch * p.heads + tile.head) * p.queries + at] = any && at < q_length ? (softmax.maximum[r] * scale + __log2f(sum)) * kLn2 : -INFINITY;
    }
    store_rows<T, Dim>(p.out, tile.batch, tile.head, row, static_cast<int>(p.queries), q_length, out, inverse);
  }
  if (group == 0) await_turn();  // takes the turn that is left over
}

template <class T, int Groups, int Dim, int Keys>
__global__ void __launch_bounds__(128 * (1 + Groups), 3 - Groups)
    forward_kernel(const SparseAttentionParams p, const __grid_constant__ CUtensorMap q, const __grid_constant__ CUtensorMap k, const __grid_constant__ CUtensorMap v, int tiles) {
#ifdef DS_HOPPER
  extern __shared__ __align__(1024) uint8_t memory[];
  auto& s = *reinterpret_cast<Shared<Groups, Dim, Keys>*>(memory);
  if (threadIdx.x == 0) {
    prefetch_map(&q), prefetch_map(&k), prefetch_map(&v);
    barrier_init(&s.q_full, 1);
    barrier_init(&s.q_empty, 4 * Groups);
    for (int i = 0; i < s.kStages; i++) {
      barrier_init(&s.k_full[i], 1), barrier_init(&s.v_full[i], 1);
      barrier_init(&s.k_empty[i], 4 * Groups), barrier_init(&s.v_empty[i], 4 * Groups);
    }
    barrier_init_fence();
  }
  __syncthreads();
  if (threadIdx.x < 128) {
    fewer_registers<24>();
    if (threadIdx.x < 32) produce(p, &q, &k, &v, s, tiles);
  } else {
    more_registers<Groups == 2 ? 240 : 232>();
    consume<T>(p, s);
  }
#endif
}

template <class T, int Groups, int Dim, int Keys>
int launch(SparseAttentionParams p, cudaStream_t stream) {
  constexpr int kRows = 64 * Groups;
  CUtensorMap q, k, v;
  if (!tensor_map(&q, p.q, p.type, p.batch, p.heads, p.queries, Dim, kRows) || !tensor_map(&k, p.k, p.type, p.batch, p.kv_heads, p.keys, Dim, Keys) ||
      !tensor_map(&v, p.v, p.type, p.batch, p.kv_heads, p.keys, Dim, Keys))
    return cudaErrorInvalidValue;
  int tiles = static_cast<int>(p.batch * p.heads * ((p.queries + kRows - 1) / kRows));
  void* arguments[] = {&p, &q, &k, &v, &tiles};
  return launch_persistent(forward_kernel<T, Groups, Dim, Keys>, tiles, 3 - Groups, 128 * (1 + Groups), sizeof(Shared<Groups, Dim, Keys>), p.counter, stream, arguments);
}

template <class T, int Dim>
int launch(const SparseAttentionParams& p, cudaStream_t stream) {
  if (p.block_q % 128 != 0) return launch<T, 1, Dim, 64>(p, stream);
  return p.block_k % 128 == 0 ? launch<T, 2, Dim, 128>(p, stream) : launch<T, 2, Dim, 64>(p, stream);
}

}  // namespace

bool sparse_attention_hopper_takes(const SparseAttentionParams& p, int major, int minor) {
  return major == 9 && minor == 0 && (p.type == kBFloat16 || p.type == kFloat16) && (p.dim == 64 || p.dim == 128) && p.block_q % 64 == 0 &&
         p.block_k % 64 == 0 && p.scale > 0.0f && p.queries < (1 << 24) && p.keys < (1 << 24) && p.batch * p.heads * (p.queries + p.keys) < (1ll << 34);
}

int sparse_attention_forward_hopper(const SparseAttentionParams& p, void* stream) {
  const auto s = static_cast<cudaStream_t>(stream);
  return by_type_and_width(p.type, p.dim, [&](auto element, auto width) { return launch<decltype(element), width.value>(p, s); });
}

}  // namespace deepseek
