// Gather attention forward on Hopper's tensor cores. The query heads that share a key head are the rows of a product, the keys
// of one query's list its columns: the more heads a key head serves, the better a product of 64 rows is filled. Four warps
// gather the listed rows of keys and values, 16 bytes a copy, into swizzled shared memory; one or two warpgroups of 64 heads
// each multiply, one's softmax beside the other's products, as in block-sparse attention.
#include "gather_attention/gather_attention.h"

#include "sparse_attention/pipeline.cuh"

namespace deepseek {
namespace {

using namespace hopper;

// Groups: warpgroups of 64 heads. Keys: of a step.
template <int Groups, int Dim, int Keys, int Stages>
struct Shared {
  static constexpr int kRows = 64 * Groups, kPanels = Dim / 64, kStages = Stages, kQuerySlots = 3 - Groups;
  static constexpr int kQueryPanel = kRows * 128, kKeyPanel = Keys * 128;  // bytes
  alignas(1024) uint8_t q[kQuerySlots][kPanels * kQueryPanel];
  alignas(1024) uint8_t k[kStages][kPanels * kKeyPanel];
  alignas(1024) uint8_t v[kStages][kPanels * kKeyPanel];
  uint64_t q_full[kQuerySlots], q_empty[kQuerySlots], k_full[kStages], k_empty[kStages], v_full[kStages], v_empty[kStages];
  alignas(16) int work[kQuerySlots][4];  // entries of the list, -1 where their number is impossible; first block and end
  alignas(16) int faults[kStages][4];    // of the entries that each gathering warp saw
};

// The n-th unit of work: a query, up to 64 · Groups heads of a key head, and a part of the list. Key heads outermost:
// neighbours read the same keys.
struct Unit {
  int batch, kv_head, query, first_head, end_head, part;
  __device__ Unit(const GatherAttentionParams& p, int rows, int number) {
    part = number % p.parts, number /= p.parts;
    const int group = static_cast<int>(p.heads / p.kv_heads), tiles = (group + rows - 1) / rows;
    const int row = number / tiles, queries = static_cast<int>(p.queries), pair = row / queries, kv_heads = static_cast<int>(p.kv_heads);
    query = row - pair * queries;
    batch = pair / kv_heads;
    kv_head = pair - batch * kv_heads;
    first_head = kv_head * group + (number - row * tiles) * rows;
    end_head = (kv_head + 1) * group;
  }
  __device__ int64_t list(const GatherAttentionParams& p) const { return batch * p.queries + query; }
  // Blocks of keys [first, end) of a list with `count` entries.
  __device__ int2 blocks(const GatherAttentionParams& p, int keys, int count) const {
    const int all = (max(count, 0) + keys - 1) / keys, each = (all + p.parts - 1) / p.parts;
    return make_int2(min(part * each, all), min((part + 1) * each, all));
  }
  // Where lists are in parts, of the unit's result; rows of Dim floats.
  __device__ int64_t partial(const GatherAttentionParams& p, int head) const { return ((batch * p.heads + head) * p.queries + query) * p.parts + part; }
};

// By four warps. Of a block of keys each gathers a fourth; a lane holds an entry of the list, and Dim / 8 lanes copy a row.
template <class T, int Groups, int Dim, int Keys, int Stages>
__device__ void produce(const GatherAttentionParams& p, const CUtensorMap* q, Shared<Groups, Dim, Keys, Stages>& s, int units) {
  constexpr int kRows = Keys / 4, kPieces = Dim / 8, kAtOnce = 32 / kPieces;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, piece = lane % kPieces, own = lane % kRows;
  const uint32_t panel = piece / 8 * Keys * 128;
  Ring<Stages> keys, values;
  Ring<s.kQuerySlots> queries;
  const auto entry_of = [&](int64_t list, int block) {
    const int at = block * Keys + warp * kRows + own;
    return at < p.capacity ? __ldg(p.index + list * p.capacity + at) : -1;
  };
  // The entry before a lane's own; the warp's first lane reads it.
  const auto before_of = [&](int64_t list, int block) {
    const int at = block * Keys + warp * kRows - 1;
    return own == 0 && at >= 0 && at < p.capacity ? __ldg(p.index + list * p.capacity + at) : -1;
  };
  const auto gather = [&](uint8_t* to, const T* from, int64_t stride, int entry, uint64_t* bar) {
    const uint32_t base = shared_address(to) + panel;
#pragma unroll 4
    for (int i = 0; i < kRows; i += kAtOnce) {
      const int row = i + lane / kPieces, key = __shfl_sync(~0u, entry, row), place = warp * kRows + row;
      copy_16(base + place * 128 + ((piece % 8) ^ (place % 8)) * 16, from + max(key, 0) * stride + piece * 8, key >= 0);
    }
    copies_arrive(bar);
  };
  int number = blockIdx.x;
  const auto count_of = [&](int64_t list) {
    const int count = __ldg(p.count + list);
    return count < 0 || count > p.capacity ? -1 : count;
  };
  int count = -1, entry = -1, before = -1;
  if (number < units) {
    const Unit unit(p, s.kRows, number);
    const int64_t list = unit.list(p);
    count = count_of(list);
    const int block = unit.blocks(p, Keys, count).x;
    entry = entry_of(list, block), before = before_of(list, block);
  }
  for (; number < units; number += gridDim.x) {
    const Unit unit(p, s.kRows, number), next(p, s.kRows, min(number + static_cast<int>(gridDim.x), units - 1));
    const int64_t list = unit.list(p), next_list = next.list(p);
    const int2 blocks = unit.blocks(p, Keys, count);
    const int next_count = count_of(next_list), steps = blocks.y - blocks.x;
    if (threadIdx.x == 0) {
      barrier_wait(&s.q_empty[queries.slot], queries.phase ^ 1);
      *reinterpret_cast<int4*>(s.work[queries.slot]) = make_int4(count, blocks.x, blocks.y, 0);
      if (steps > 0) {
        barrier_expect(&s.q_full[queries.slot], sizeof(s.q[0]));
        copy_tile<Dim / 64>(s.q[queries.slot], s.kQueryPanel, q, &s.q_full[queries.slot], unit.first_head, unit.query, unit.batch);
      } else {
        barrier_arrive(&s.q_full[queries.slot]);
      }
    }
    __syncwarp();
    queries.next();
    const T* const k = static_cast<const T*>(p.k.data) + unit.batch * p.k.batch_stride + unit.kv_head * p.k.head_stride;
    const T* const v = static_cast<const T*>(p.v.data) + unit.batch * p.v.batch_stride + unit.kv_head * p.v.head_stride;
    const auto gather_values = [&](int of) {
      barrier_wait(&s.v_empty[values.slot], values.phase ^ 1);
      gather(s.v[values.slot], v, p.v.row_stride, of, &s.v_full[values.slot]);
      values.next();
    };
    int former = -1;
    for (int step = 0; step < steps; step++) {
      const bool listed = (blocks.x + step) * Keys + warp * kRows + own < count;
      const int neighbour = __shfl_up_sync(~0u, entry, 1);
      const bool bad = listed && (entry <= (own == 0 ? before : neighbour) || entry >= p.keys);
      const int key = listed && !bad ? entry : -1;
      const bool last = step + 1 == steps;
      const int64_t of = last ? next_list : list;
      const int block = last ? next.blocks(p, Keys, next_count).x : blocks.x + step + 1;
      entry = entry_of(of, block), before = before_of(of, block);
      const bool any = __any_sync(~0u, bad) != 0;
      barrier_wait(&s.k_empty[keys.slot], keys.phase ^ 1);
      gather(s.k[keys.slot], k, p.k.row_stride, key, &s.k_full[keys.slot]);
      if (lane == 0) {
        s.faults[keys.slot][warp] = any;
        barrier_arrive(&s.k_full[keys.slot]);
      }
      __syncwarp();
      keys.next();
      if (step > 0) gather_values(former);
      former = key;
    }
    if (steps > 0) {
      gather_values(former);
    } else {
      const int block = next.blocks(p, Keys, next_count).x;
      entry = entry_of(next_list, block), before = before_of(next_list, block);
    }
    count = next_count;
  }
}

template <int N>
__device__ __forceinline__ void mask(float (&s)[N], int listed) {
#pragma unroll
  for (int j = 0; j < N; j++)
    if (static_cast<int>(threadIdx.x % 4 * 2) + j / 4 * 8 + j % 2 >= listed) s[j] = -INFINITY;
}

template <class T, int Groups, int Dim, int Keys, int Stages>
__device__ void consume(const GatherAttentionParams& p, Shared<Groups, Dim, Keys, Stages>& s, int units) {
  const int group = __shfl_sync(~0u, threadIdx.x / 128, 0) - 1, warp = threadIdx.x / 32 % 4, lane = threadIdx.x % 32;
  const float scale = p.scale * kLog2e;
  Ring<Stages> keys, values;
  Ring<s.kQuerySlots> queries;
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
  for (int number = blockIdx.x; number < units; number += gridDim.x) {
    barrier_wait(&s.q_full[queries.slot], queries.phase);
    const int4 work = *reinterpret_cast<const int4*>(s.work[queries.slot]);
    const int count = work.x, steps = work.z - work.y;
    bool fault = count < 0;
    float scores[Keys / 2], out[Dim / 2], factor[2];
    uint32_t weights[Keys / 4];
    Softmax softmax{{-INFINITY, -INFINITY}, {0.0f, 0.0f}};
#pragma unroll
    for (int i = 0; i < Dim / 2; i++) out[i] = 0.0f;
    const uint64_t q_rows = rows_descriptor(s.q[queries.slot] + group * 64 * 128);

    const auto await_keys = [&] {
      barrier_wait(&s.k_full[keys.slot], keys.phase);
      const int4 faults = *reinterpret_cast<const int4*>(s.faults[keys.slot]);
      fault |= (faults.x | faults.y | faults.z | faults.w) != 0;
    };
    const auto multiply_keys = [&] {
      product_fence();
      multiply_rows<T, Keys, Dim>(scores, q_rows, s.kQueryPanel, rows_descriptor(s.k[keys.slot]), s.kKeyPanel);
      product_commit();
    };
    const auto await_values = [&] { barrier_wait(&s.v_full[values.slot], values.phase); };
    const auto multiply_values = [&] {
      product_fence();
      multiply_columns<T, Keys, Dim>(out, weights, columns_descriptor(s.v[values.slot], s.kKeyPanel));
      product_commit();
    };
    const auto pack_weights = [&] {
#pragma unroll
      for (int i = 0; i < Keys / 4; i++) weights[i] = pack<T>(scores[2 * i], scores[2 * i + 1]);
      settle(weights);
    };
    // Scores of the block in hand are complete: its keys go back, then mask, softmax.
    const auto weigh = [&](int step) {
      settle(scores);
      release(&s.k_empty[keys.slot]);
      keys.next();
      if (step == steps - 1) {
        release(&s.q_empty[queries.slot]);
        if (count < work.z * Keys) mask(scores, count % Keys);
      }
      softmax.step(scores, scale, factor);
    };
    const auto take_values = [&] {
      settle(out);
      release(&s.v_empty[values.slot]);
      values.next();
    };

    if (steps > 0) {
      await_keys();
      async_proxy_fence();
      await_turn();
      multiply_keys();
      give_turn();
      product_wait<0>();
      weigh(0);
      pack_weights();
#pragma unroll 1
      for (int step = 1; step < steps; step++) {
        await_keys();
        await_values();
        async_proxy_fence();
        await_turn();
        multiply_keys();
        multiply_values();
        give_turn();
        product_wait<1>();
        weigh(step);
        product_wait<0>();
        take_values();
#pragma unroll
        for (int i = 0; i < Dim / 2; i++) out[i] *= factor[i / 2 % 2];
        pack_weights();
      }
      await_values();
      async_proxy_fence();
      multiply_values();
      product_wait<0>();
      take_values();
    } else {
      release(&s.q_empty[queries.slot]);
    }
    queries.next();

    const Unit unit(p, s.kRows, number);
    const int row = unit.first_head + group * 64 + warp * 16 + lane / 4;
    float inverse[2];
#pragma unroll
    for (int r = 0; r < 2; r++) {
      float sum = softmax.sum[r];
      sum += __shfl_xor_sync(~0u, sum, 1);
      sum += __shfl_xor_sync(~0u, sum, 2);
      const bool any = sum > 0.0f;
      inverse[r] = fault ? __int_as_float(0x7fffffff) : any ? 1.0f / sum : sum == 0.0f ? 0.0f : sum;
      const int head = row + 8 * r;
      const float lse = fault ? __int_as_float(0x7fffffff) : sum == 0.0f ? -INFINITY : (softmax.maximum[r] * scale + __log2f(sum)) * kLn2;
      if (lane % 4 == 0 && head < unit.end_head) (p.parts > 1 ? p.partial_lse : p.lse)[unit.partial(p, head)] = lse;
      if (p.parts > 1 && head < unit.end_head) {
        float* const line = p.partial + unit.partial(p, head) * Dim + lane % 4 * 2;
#pragma unroll
        for (int j = 0; j < Dim / 8; j++) *reinterpret_cast<float2*>(line + j * 8) = make_float2(out[4 * j + 2 * r] * inverse[r], out[4 * j + 2 * r + 1] * inverse[r]);
      }
    }
    if (p.parts > 1) continue;
    // Heads take the place of rows.
    store_rows<T, Dim>({p.out.data, p.out.batch_stride, p.out.row_stride, p.out.head_stride}, unit.batch, unit.query, row, unit.end_head, unit.end_head, out, inverse);
  }
  if (group == 0) await_turn();  // takes the turn that is left over
}

template <class T, int Groups, int Dim, int Keys, int Stages>
__global__ void __launch_bounds__(128 * (1 + Groups), 3 - Groups)
    gather_kernel(const __grid_constant__ GatherAttentionParams p, const __grid_constant__ CUtensorMap q, int units) {
#ifdef DS_HOPPER
  extern __shared__ uint8_t memory[];
  auto& s = *reinterpret_cast<Shared<Groups, Dim, Keys, Stages>*>((reinterpret_cast<uintptr_t>(memory) + 1023) / 1024 * 1024);
  if (threadIdx.x == 0) {
    prefetch_map(&q);
    for (int i = 0; i < s.kQuerySlots; i++) barrier_init(&s.q_full[i], 1), barrier_init(&s.q_empty[i], 4 * Groups);
    for (int i = 0; i < Stages; i++) {
      barrier_init(&s.k_full[i], 128 + 4), barrier_init(&s.v_full[i], 128);
      barrier_init(&s.k_empty[i], 4 * Groups), barrier_init(&s.v_empty[i], 4 * Groups);
    }
    barrier_init_fence();
  }
  __syncthreads();
  if (threadIdx.x < 128) {
    fewer_registers<72>();
    produce<T>(p, &q, s, units);
  } else {
    more_registers<Groups == 1 ? 184 : 216>();
    consume<T>(p, s, units);
  }
#endif
}

// Parts of a list, each normalised, into one result; a warp a query and head.
template <class T, int Dim>
__global__ void __launch_bounds__(128) combine_kernel(const __grid_constant__ GatherAttentionParams p) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * 4 + threadIdx.x / 32;
  if (row >= p.batch * p.heads * p.queries) return;
  const int lane = threadIdx.x % 32;
  const float* const lse = p.partial_lse + row * p.parts;
  float greatest = -INFINITY, total = 0.0f, sum[Dim / 32] = {};
  for (int i = 0; i < p.parts; i++) greatest = fmaxf(greatest, lse[i]);
  const float shift = greatest == -INFINITY ? 0.0f : greatest;
  for (int i = 0; i < p.parts; i++) {
    const float weight = expf(lse[i] - shift);  // NaN of a faulty part makes everything NaN
    total += weight;
#pragma unroll
    for (int e = 0; e < Dim / 32; e++) sum[e] = fmaf(weight, p.partial[(row * p.parts + i) * Dim + lane + 32 * e], sum[e]);
  }
  const int64_t t = row % p.queries, h = row / p.queries % p.heads, b = row / p.queries / p.heads;
  T* const out = static_cast<T*>(p.out.data) + b * p.out.batch_stride + h * p.out.head_stride + t * p.out.row_stride;
  const float inverse = total == 0.0f ? 0.0f : 1.0f / total;
#pragma unroll
  for (int e = 0; e < Dim / 32; e++) out[lane + 32 * e] = static_cast<T>(sum[e] * inverse);
  if (lane == 0) p.lse[row] = total == 0.0f ? -INFINITY : shift + logf(total);
}

// Units of work as long as lists are not cut.
int64_t whole_units(const GatherAttentionParams& p) {
  const int64_t group = p.heads / p.kv_heads, rows = group > 64 ? 128 : 64;
  return p.batch * p.kv_heads * p.queries * ((group + rows - 1) / rows);
}

template <class T, int Groups, int Dim, int Keys, int Stages>
int launch(const GatherAttentionParams& p) {
  constexpr int kRows = 64 * Groups, kBytes = sizeof(Shared<Groups, Dim, Keys, Stages>) + 1024;
  CUtensorMap q;
  const AttentionTensor heads_as_rows{p.q.data, p.q.batch_stride, p.q.row_stride, p.q.head_stride};
  if (!tensor_map(&q, heads_as_rows, p.type, p.batch, p.queries, p.heads, Dim, kRows)) return cudaErrorInvalidValue;
  const auto kernel = gather_kernel<T, Groups, Dim, Keys, Stages>;
  int device = 0, processors = 0;
  auto status = cudaGetDevice(&device);
  if (status == cudaSuccess) status = cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
  if (status == cudaSuccess) status = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  if (status != cudaSuccess) return status;
  const int units = static_cast<int>(whole_units(p)) * p.parts, blocks = processors * (3 - Groups);
  kernel<<<static_cast<unsigned>(units < blocks ? units : blocks), 128 * (1 + Groups), kBytes, static_cast<cudaStream_t>(p.stream)>>>(p, q, units);
  if (p.parts > 1) combine_kernel<T, Dim><<<static_cast<unsigned>((p.batch * p.heads * p.queries + 3) / 4), 128, 0, static_cast<cudaStream_t>(p.stream)>>>(p);
  return cudaGetLastError();
}

template <class T, int Dim>
int launch(const GatherAttentionParams& p) {
  return p.heads / p.kv_heads > 64 ? launch<T, 2, Dim, 128, 3>(p) : launch<T, 1, Dim, 64, 2>(p);
}

}  // namespace

bool gather_attention_hopper_takes(const GatherAttentionParams& p) {
  const auto aligned = [](const AttentionTensor& t) {
    return reinterpret_cast<uintptr_t>(t.data) % 16 == 0 && t.batch_stride % 8 == 0 && t.head_stride % 8 == 0 && t.row_stride % 8 == 0 && t.batch_stride > 0 && t.head_stride > 0 && t.row_stride > 0;
  };
  return (p.type == kBFloat16 || p.type == kFloat16) && (p.dim == 64 || p.dim == 128) && p.scale > 0.0f && aligned(p.q) && aligned(p.k) && aligned(p.v) && aligned(p.out) &&
         p.keys < (1 << 30) && p.capacity < (1 << 30) && p.batch * p.heads * p.queries < (1 << 30);
}

int gather_attention_hopper_parts(const GatherAttentionParams& p, int processors) {
  const int64_t wide = p.heads / p.kv_heads > 64, places = static_cast<int64_t>(processors) * (wide ? 1 : 2), units = whole_units(p);
  const int64_t blocks = (p.capacity + (wide ? 127 : 63)) / (wide ? 128 : 64), parts = places / (units > 0 ? units : 1);
  const int64_t most = parts < blocks ? parts : blocks;
  return static_cast<int>(most < 1 ? 1 : most);
}

int gather_attention_forward_hopper(const GatherAttentionParams& p) {
  if (p.type == kBFloat16) return p.dim == 128 ? launch<__nv_bfloat16, 128>(p) : launch<__nv_bfloat16, 64>(p);
  return p.dim == 128 ? launch<__half, 128>(p) : launch<__half, 64>(p);
}

}  // namespace deepseek
