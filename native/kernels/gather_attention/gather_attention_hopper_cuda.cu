// Gather attention forward on Hopper's tensor cores. The query heads that share a key head are the rows of a product, the keys
// of one query's list its columns: the more heads a key head serves, the better a product of 64 rows is filled. Four warps
// have the listed rows of keys and values gathered; one or two warpgroups of 64 heads each multiply, one's softmax beside the
// other's products, as in block-sparse attention.
#include "gather_attention/gather_rows.cuh"

namespace deepseek {
namespace {

using namespace hopper;

// Groups: warpgroups of 64 heads. Keys: of a step.
template <int Groups, int Dim, int Keys, int Stages>
struct Tiles {
  static constexpr int kRows = 64 * Groups, kDim = Dim, kKeys = Keys, kStages = Stages, kQuerySlots = 3 - Groups, kLag = 1;
  static constexpr bool kGrad = false;
  static constexpr int kQueryPanel = kRows * 128, kKeyPanel = Keys * 128;  // bytes
  alignas(1024) uint8_t q[kQuerySlots][kRows * Dim * 2];
  alignas(1024) uint8_t k[kStages][Keys * Dim * 2];
  alignas(1024) uint8_t v[kStages][Keys * Dim * 2];
  uint64_t q_full[kQuerySlots], q_empty[kQuerySlots], k_full[kStages], k_empty[kStages], v_full[kStages], v_empty[kStages];
  alignas(16) int work[kQuerySlots][4];
  alignas(16) int faults[kStages][4];
};

template <int N>
__device__ __forceinline__ void mask(float (&s)[N], int listed) {
#pragma unroll
  for (int j = 0; j < N; j++)
    if (static_cast<int>(threadIdx.x % 4 * 2) + j / 4 * 8 + j % 2 >= listed) s[j] = -INFINITY;
}

template <class T, int Groups, int Dim, int Keys, int Stages>
__device__ void consume(const GatherAttentionParams& p, Tiles<Groups, Dim, Keys, Stages>& s, int units) {
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
  auto& s = *reinterpret_cast<Tiles<Groups, Dim, Keys, Stages>*>((reinterpret_cast<uintptr_t>(memory) + 1023) / 1024 * 1024);
  if (threadIdx.x == 0) {
    prefetch_map(&q);
    prepare(s, 4 * Groups);
  }
  __syncthreads();
  if (threadIdx.x < 128) {
    fewer_registers<72>();
    gather_tiles(p, &q, nullptr, s, units);
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
  constexpr int kRows = 64 * Groups, kBytes = sizeof(Tiles<Groups, Dim, Keys, Stages>) + 1024;
  CUtensorMap q;
  if (!heads_map(&q, p.q, p, kRows)) return cudaErrorInvalidValue;
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
         p.k.row_stride < (1 << 30) && p.v.row_stride < (1 << 30) && p.keys < (1 << 30) && p.capacity < (1 << 30) && p.batch * p.heads * p.queries < (1 << 30);
}

int gather_attention_hopper_parts(const GatherAttentionParams& p, int processors) {
  const int64_t wide = p.heads / p.kv_heads > 64, places = static_cast<int64_t>(processors) * (wide ? 1 : 2), units = whole_units(p);
  const int64_t blocks = (p.capacity + (wide ? 127 : 63)) / (wide ? 128 : 64), parts = places / (units > 0 ? units : 1);
  const int64_t most = parts < blocks ? parts : blocks;
  return static_cast<int>(most < 1 ? 1 : most);
}

int gather_attention_forward_hopper(const GatherAttentionParams& p) {
  return by_type_and_width(p.type, p.dim, [&](auto element, auto width) { return launch<decltype(element), width.value>(p); });
}

}  // namespace deepseek
