// Gather attention's gradients of keys and values on Hopper's tensor cores, without atomics. For every query the products of
// its listed keys with its heads (scores transposed: keys are rows) give what it adds to each of them; these moves are written in
// the inputs' type, and each key then adds up its own in order of the queries, in float32. A map of the lists tells where they lie:
// of every 32 keys, by query, those listed as bits and the entry of the first.
#include "gather_attention/gather_rows.cuh"

#include "common/cuda_types.cuh"

namespace deepseek {
namespace {

using namespace hopper;

constexpr int kBlock = 64;       // entries of a list whose moves lie together
constexpr int kWindow = 2048;    // words of the map that a block makes at a time

// Two warpgroups of 64 keys each. Heads: of a unit.
template <int Heads, int Dim>
struct Tiles {
  static constexpr int kRows = Heads, kDim = Dim, kKeys = 128, kStages = 2, kQuerySlots = 1, kLag = 0;
  static constexpr bool kGrad = true;
  static constexpr int kQueryPanel = kRows * 128, kKeyPanel = kKeys * 128;  // bytes
  alignas(1024) uint8_t q[1][kRows * Dim * 2];
  alignas(1024) uint8_t grad[1][kRows * Dim * 2];
  alignas(1024) uint8_t k[kStages][kKeys * Dim * 2];
  alignas(1024) uint8_t v[kStages][kKeys * Dim * 2];
  alignas(16) float2 heads[2][Heads];  // log sum (base 2) and delta, of two units in turn
  uint64_t q_full[1], q_empty[1], k_full[kStages], k_empty[kStages], v_full[kStages], v_empty[kStages];
  alignas(16) int work[1][4];
  alignas(16) int faults[kStages][4];
};

// Moves of a unit: blocks of 64 keys, of each those for K, then for V; 64 · Dim elements in the order in which a warpgroup holds
// them: [Dim / 16][128 threads][8], a thread's first half of a row 16 · warp + lane / 4, the second of the row 8 below.
__host__ __device__ inline int64_t blocks_of(const GatherAttentionParams& p) { return (p.capacity + kBlock - 1) / kBlock; }

template <class T, int Dim>
__device__ __forceinline__ void store_moves(uint4* to, const float (&d)[Dim / 2], float factor) {
#pragma unroll
  for (int c = 0; c < Dim / 16; c++) {
    uint32_t word[4];
#pragma unroll
    for (int m = 0; m < 4; m++) {
      const int r = c / (Dim / 32), j = c % (Dim / 32) * 4 + m;
      word[m] = hopper::pack<T>(d[4 * j + 2 * r] * factor, d[4 * j + 2 * r + 1] * factor);
    }
    __stcs(to + c * 128 + threadIdx.x % 128, make_uint4(word[0], word[1], word[2], word[3]));
  }
}

template <class T, int Heads, int Dim>
__device__ void consume(const GatherAttentionParams& p, Tiles<Heads, Dim>& s, int units) {
  using S = Tiles<Heads, Dim>;
  const int group = __shfl_sync(~0u, threadIdx.x / 128, 0) - 1, lane = threadIdx.x % 32;
  const float scale = p.scale * kLog2e;
  const uint64_t q_rows = rows_descriptor(s.q[0]), grad_rows = rows_descriptor(s.grad[0]);
  Ring<S::kStages> ring;
  uint32_t phase = 0;
  int side = 0;
  const auto release = [&](uint64_t* bar) {
    __syncwarp();
    if (lane == 0) barrier_arrive(bar);
  };
  for (int number = blockIdx.x; number < units; number += gridDim.x, side ^= 1) {
    const Unit unit(p, S::kRows, number);
    const int own = threadIdx.x - 128;
    if (own < Heads) {
      const int head = unit.first_head + own;
      const int64_t at = (static_cast<int64_t>(unit.batch) * p.heads + head) * p.queries + unit.query;
      s.heads[side][own] = head < unit.end_head ? make_float2(__ldg(p.lse + at) * kLog2e, __ldg(p.delta + at)) : make_float2(INFINITY, 0.0f);
    }
    named_sync(1, 256);
    const float4* const heads = reinterpret_cast<const float4*>(s.heads[side]) + lane % 4;
    barrier_wait(&s.q_full[0], phase);
    phase ^= 1;
    const int steps = s.work[0][2];
    uint4* to = static_cast<uint4*>(p.moves) + (number * blocks_of(p) + group) * (2 * 8 * Dim);
#pragma unroll 1
    for (int step = 0; step < steps; step++, to += 2 * (2 * 8 * Dim)) {
      const int slot = ring.slot;
      uint32_t weights[Heads / 4], moves[Heads / 4];
      {
        float scores[Heads / 2], grads[Heads / 2];
        barrier_wait(&s.k_full[slot], ring.phase);
        async_proxy_fence();
        product_fence();
        multiply_rows<T, Heads, Dim>(scores, rows_descriptor(s.k[slot] + group * 64 * 128), S::kKeyPanel, q_rows, S::kQueryPanel);
        product_commit();
        barrier_wait(&s.v_full[slot], ring.phase);
        async_proxy_fence();
        multiply_rows<T, Heads, Dim>(grads, rows_descriptor(s.v[slot] + group * 64 * 128), S::kKeyPanel, grad_rows, S::kQueryPanel);
        product_commit();
        ring.next();
        product_wait<1>();
        settle(scores);
        release(&s.k_empty[slot]);
#pragma unroll
        for (int j = 0; j < Heads / 8; j++) {
          const float4 of = heads[j * 4];  // heads 8 j + 2 (lane % 4) and the next
#pragma unroll
          for (int r = 0; r < 2; r++) {
            scores[4 * j + 2 * r] = exp2_fast(fmaf(scores[4 * j + 2 * r], scale, -of.x));
            scores[4 * j + 2 * r + 1] = exp2_fast(fmaf(scores[4 * j + 2 * r + 1], scale, -of.z));
            weights[2 * j + r] = hopper::pack<T>(scores[4 * j + 2 * r], scores[4 * j + 2 * r + 1]);
          }
        }
        product_wait<0>();
        settle(grads);
        release(&s.v_empty[slot]);
#pragma unroll
        for (int j = 0; j < Heads / 8; j++) {
          const float4 of = heads[j * 4];
#pragma unroll
          for (int r = 0; r < 2; r++)
            moves[2 * j + r] = hopper::pack<T>(scores[4 * j + 2 * r] * (grads[4 * j + 2 * r] - of.y), scores[4 * j + 2 * r + 1] * (grads[4 * j + 2 * r + 1] - of.w));
        }
      }
      settle(weights);
      settle(moves);
      float keys[Dim / 2], values[Dim / 2];
      product_fence();
#pragma unroll
      for (int i = 0; i < Heads / 16; i++) Product<T, Dim, true>::registers(keys, moves + i * 4, columns_descriptor(s.q[0], S::kQueryPanel) + i * (2048 >> 4), i == 0);
      product_commit();
#pragma unroll
      for (int i = 0; i < Heads / 16; i++) Product<T, Dim, true>::registers(values, weights + i * 4, columns_descriptor(s.grad[0], S::kQueryPanel) + i * (2048 >> 4), i == 0);
      product_commit();
      product_wait<1>();
      settle(keys);
      // The last step may be one block long.
      const bool exists = 2 * step + group < blocks_of(p);
      if (exists) store_moves<T, Dim>(to, keys, p.scale);
      product_wait<0>();
      settle(values);
      if (exists) store_moves<T, Dim>(to + 8 * Dim, values, 1.0f);
    }
    release(&s.q_empty[0]);
  }
}

template <class T, int Heads, int Dim>
__global__ void __launch_bounds__(384, 1) moves_kernel(const __grid_constant__ GatherAttentionParams p, const __grid_constant__ CUtensorMap q, const __grid_constant__ CUtensorMap grad,
                                                       int units) {
#ifdef DS_HOPPER
  extern __shared__ uint8_t memory[];
  auto& s = *reinterpret_cast<Tiles<Heads, Dim>*>((reinterpret_cast<uintptr_t>(memory) + 1023) / 1024 * 1024);
  if (threadIdx.x == 0) prepare(s, 8);
  __syncthreads();
  if (threadIdx.x < 128) {
    fewer_registers<56>();
    gather_tiles(p, &q, &grad, s, units);
  } else {
    more_registers<224>();
    consume<T>(p, s, units);
  }
#endif
}

// The map of a query's list; a faulty one names no key. A thread block a query.
__global__ void __launch_bounds__(256) places_kernel(const __grid_constant__ GatherAttentionParams p) {
  __shared__ uint32_t bits[kWindow], first[kWindow];
  const int queries = static_cast<int>(p.query_count), t = blockIdx.x % queries, b = blockIdx.x / queries, keys = static_cast<int>(p.keys), words = (keys + 31) / 32;
  const int64_t row = b * p.queries + p.first_query + t;
  const int32_t* const list = p.index + row * p.capacity;
  int count = p.count[row];
  bool bad = count < 0 || count > p.capacity;
  if (!bad)
    for (int i = threadIdx.x; i < count; i += 256) bad |= list[i] <= (i == 0 ? -1 : list[i - 1]) || list[i] >= keys;
  if (__syncthreads_or(bad)) count = 0;
  for (int start = 0; start < words; start += kWindow) {
    const int here = min(kWindow, words - start);
    for (int i = threadIdx.x; i < here; i += 256) bits[i] = 0, first[i] = 0;
    __syncthreads();
    for (int i = threadIdx.x; i < count; i += 256) {
      const int key = list[i], word = key / 32 - start;
      if (word < 0 || word >= here) continue;
      atomicOr(&bits[word], 1u << key % 32);
      if (i == 0 || list[i - 1] / 32 != key / 32) first[word] = static_cast<uint32_t>(i);
    }
    __syncthreads();
    for (int i = threadIdx.x; i < here; i += 256) reinterpret_cast<uint2*>(p.places)[(static_cast<int64_t>(b) * words + start + i) * queries + t] = make_uint2(bits[i], first[i]);
    __syncthreads();
  }
}

// A warp a key: its lower half adds up the moves of K, its upper half those of V.
template <class T, int Dim>
__global__ void __launch_bounds__(256) sums_kernel(const __grid_constant__ GatherAttentionParams p, int tiles) {
  const int64_t unit = static_cast<int64_t>(blockIdx.x) * 8 + threadIdx.x / 32;
  if (unit >= p.batch * p.kv_heads * p.keys) return;
  const int keys = static_cast<int>(p.keys), key = static_cast<int>(unit % keys), words = (keys + 31) / 32, queries = static_cast<int>(p.query_count);
  const int64_t head = unit / keys, kv = head % p.kv_heads, b = head / p.kv_heads, blocks = blocks_of(p);
  const int lane = threadIdx.x % 32, half = lane / 16, piece = lane % 16;
  const bool works = piece < Dim / 8;
  const uint2* const places = reinterpret_cast<const uint2*>(p.places) + (b * words + key / 32) * queries;
  const uint4* const moves = static_cast<const uint4*>(p.moves) + head * queries * tiles * blocks * (2 * 8 * Dim) + half * (8 * Dim) + piece / 4 * 128 + piece % 4;
  const uint32_t below = (1u << key % 32) - 1;
  // Of a thread's piece: columns 8 j + 2 (piece % 4) and the next, j from 4 (piece / 4).
  float sum[8] = {};
  float* const kept = p.sums == nullptr ? nullptr : p.sums + (unit * 2 + half) * Dim + piece * 8;
  if (p.first_query > 0 && works) {
#pragma unroll
    for (int i = 0; i < 8; i++) sum[i] = kept[i];
  }
  for (int start = 0; start < queries; start += 32) {
    const uint2 of = start + lane < queries ? __ldg(places + start + lane) : make_uint2(0, 0);
    const int place = static_cast<int>(of.y) + __popc(of.x & below);
    uint32_t named = __ballot_sync(~0u, (of.x >> key % 32 & 1u) != 0);
    while (named != 0) {
      // Four at a time, so that their loads are under way together.
      uint4 raw[4];
      int at[4];
#pragma unroll
      for (int i = 0; i < 4; i++) {
        at[i] = named != 0 ? __ffs(static_cast<int>(named)) - 1 : -1;
        named &= named - 1;
      }
      for (int tile = 0; tile < tiles; tile++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
          const int entry = __shfl_sync(~0u, place, max(at[i], 0)), row = entry % kBlock;
          if (at[i] < 0 || !works) continue;
          const int64_t block = (static_cast<int64_t>(start + at[i]) * tiles + tile) * blocks + entry / kBlock;
          raw[i] = __ldcs(moves + block * (2 * 8 * Dim) + row % 16 / 8 * (Dim / 32) * 128 + row / 16 * 32 + row % 8 * 4);
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
          if (at[i] < 0 || !works) continue;
          Raw8<T> eight;
          eight.part[0] = raw[i];
          float x[8];
          unpack(eight, x);
#pragma unroll
          for (int e = 0; e < 8; e++) sum[e] += x[e];
        }
      }
    }
  }
  if (!works) return;
  if (p.first_query + p.query_count < p.queries) {
#pragma unroll
    for (int i = 0; i < 8; i++) kept[i] = sum[i];
    return;
  }
  const AttentionTensor& target = half == 0 ? p.grad_k : p.grad_v;
  T* const row = static_cast<T*>(target.data) + b * target.batch_stride + kv * target.head_stride + key * target.row_stride + piece / 4 * 32 + piece % 4 * 2;
#pragma unroll
  for (int m = 0; m < 4; m++) *reinterpret_cast<uint32_t*>(row + m * 8) = hopper::pack<T>(sum[2 * m], sum[2 * m + 1]);
}

template <class T, int Heads, int Dim>
int launch(const GatherAttentionParams& p) {
  constexpr int kBytes = sizeof(Tiles<Heads, Dim>) + 1024;
  static_assert(kBytes <= 232448);
  CUtensorMap q, grad;
  if (!heads_map(&q, p.q, p, Heads) || !heads_map(&grad, p.grad_out, p, Heads)) return cudaErrorInvalidValue;
  const auto kernel = moves_kernel<T, Heads, Dim>;
  const auto status = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  if (status != cudaSuccess) return status;
  const auto stream = static_cast<cudaStream_t>(p.stream);
  const int tiles = static_cast<int>((p.heads / p.kv_heads + Heads - 1) / Heads), units = static_cast<int>(p.batch * p.kv_heads * p.query_count * tiles);
  places_kernel<<<static_cast<unsigned>(p.batch * p.query_count), 256, 0, stream>>>(p);
  kernel<<<static_cast<unsigned>(units < multiprocessors() ? units : multiprocessors()), 384, kBytes, stream>>>(p, q, grad, units);
  sums_kernel<T, Dim><<<static_cast<unsigned>((p.batch * p.kv_heads * p.keys + 7) / 8), 256, 0, stream>>>(p, tiles);
  return cudaGetLastError();
}

template <class T, int Dim>
int launch(const GatherAttentionParams& p) {
  return p.heads / p.kv_heads > 64 ? launch<T, 128, Dim>(p) : launch<T, 64, Dim>(p);
}

}  // namespace

int64_t gather_attention_moves_bytes(const GatherAttentionParams& p) {
  const int64_t group = p.heads / p.kv_heads, rows = group > 64 ? 128 : 64;
  return p.batch * p.kv_heads * ((group + rows - 1) / rows) * blocks_of(p) * kBlock * 2 * p.dim * 2;
}

int gather_attention_backward_keys_hopper(const GatherAttentionParams& p) {
  return by_type_and_width(p.type, p.dim, [&](auto element, auto width) { return launch<decltype(element), width.value>(p); });
}

}  // namespace deepseek
