// Gather attention's gradient of queries on Hopper's tensor cores: as the forward, with the gradient of the output beside the
// queries. Scores of a list and their gradients are made again and stay in registers as the left side of the last product.
#include "gather_attention/gather_rows.cuh"

#include "common/cuda_types.cuh"

namespace deepseek {
namespace {

using namespace hopper;

// Groups: warpgroups of 64 heads.
template <int Groups, int Dim>
struct Tiles {
  static constexpr int kRows = 64 * Groups, kDim = Dim, kKeys = 64, kStages = Groups == 2 ? 4 : 2, kQuerySlots = 1, kLag = 0;
  static constexpr bool kGrad = true;
  static constexpr int kQueryPanel = kRows * 128, kKeyPanel = kKeys * 128;  // bytes
  alignas(1024) uint8_t q[1][kRows * Dim * 2];
  alignas(1024) uint8_t grad[1][kRows * Dim * 2];
  alignas(1024) uint8_t k[kStages][kKeys * Dim * 2];
  alignas(1024) uint8_t v[kStages][kKeys * Dim * 2];
  uint64_t q_full[1], q_empty[1], k_full[kStages], k_empty[kStages], v_full[kStages], v_empty[kStages];
  alignas(16) int work[1][4];
  alignas(16) int faults[kStages][4];
};

template <class T, int Groups, int Dim>
__device__ void consume(const GatherAttentionParams& p, Tiles<Groups, Dim>& s, int units) {
  using S = Tiles<Groups, Dim>;
  constexpr int kKeys = S::kKeys;
  const int group = __shfl_sync(~0u, threadIdx.x / 128, 0) - 1, warp = threadIdx.x / 32 % 4, lane = threadIdx.x % 32;
  const float scale = p.scale * kLog2e;
  const uint64_t q_rows = rows_descriptor(s.q[0] + group * 64 * 128), grad_rows = rows_descriptor(s.grad[0] + group * 64 * 128);
  Ring<S::kStages> ring;
  uint32_t phase = 0;
  const auto release = [&](uint64_t* bar) {
    __syncwarp();
    if (lane == 0) barrier_arrive(bar);
  };
  for (int number = blockIdx.x; number < units; number += gridDim.x) {
    const Unit unit(p, S::kRows, number);
    const int row = unit.first_head + group * 64 + warp * 16 + lane / 4;
    float lse2[2], delta[2];
#pragma unroll
    for (int r = 0; r < 2; r++) {
      const int64_t at = (static_cast<int64_t>(unit.batch) * p.heads + min(row + 8 * r, unit.end_head - 1)) * p.queries + unit.query;
      lse2[r] = __ldg(p.lse + at) * kLog2e, delta[r] = __ldg(p.delta + at);
    }
    barrier_wait(&s.q_full[0], phase);
    phase ^= 1;
    const int4 work = *reinterpret_cast<const int4*>(s.work[0]);
    const int count = work.x, steps = work.z;
    bool fault = count < 0;
    float grad_q[Dim / 2], scores[kKeys / 2], grads[kKeys / 2];
    uint32_t moves[kKeys / 4];
#pragma unroll
    for (int i = 0; i < Dim / 2; i++) grad_q[i] = 0.0f;
#pragma unroll 1
    for (int step = 0; step < steps; step++) {
      const int slot = ring.slot;
      barrier_wait(&s.k_full[slot], ring.phase);
      const int4 faults = *reinterpret_cast<const int4*>(s.faults[slot]);
      fault |= (faults.x | faults.y | faults.z | faults.w) != 0;
      async_proxy_fence();
      product_fence();
      multiply_rows<T, kKeys, Dim>(scores, q_rows, S::kQueryPanel, rows_descriptor(s.k[slot]), S::kKeyPanel);
      product_commit();
      barrier_wait(&s.v_full[slot], ring.phase);
      ring.next();
      async_proxy_fence();
      multiply_rows<T, kKeys, Dim>(grads, grad_rows, S::kQueryPanel, rows_descriptor(s.v[slot]), S::kKeyPanel);
      product_commit();
      product_wait<1>();
      settle(scores);
#pragma unroll
      for (int i = 0; i < kKeys / 2; i++) scores[i] = exp2_fast(fmaf(scores[i], scale, -lse2[i / 2 % 2]));
      if ((step + 1) * kKeys > count) {
#pragma unroll
        for (int i = 0; i < kKeys / 2; i++)
          if (step * kKeys + lane % 4 * 2 + i / 4 * 8 + i % 2 >= count) scores[i] = 0.0f;
      }
      product_wait<0>();
      settle(grads);
      release(&s.v_empty[slot]);
#pragma unroll
      for (int i = 0; i < kKeys / 4; i++) moves[i] = hopper::pack<T>(scores[2 * i] * (grads[2 * i] - delta[i % 2]), scores[2 * i + 1] * (grads[2 * i + 1] - delta[i % 2]));
      settle(moves);
      product_fence();
      multiply_columns<T, kKeys, Dim>(grad_q, moves, columns_descriptor(s.k[slot], S::kKeyPanel));
      product_commit();
      product_wait<0>();
      settle(grad_q);
      release(&s.k_empty[slot]);
    }
    release(&s.q_empty[0]);
    const float factor = fault ? __int_as_float(0x7fffffff) : p.scale, factors[2] = {factor, factor};
    store_rows<T, Dim>({p.grad_q.data, p.grad_q.batch_stride, p.grad_q.row_stride, p.grad_q.head_stride}, unit.batch, unit.query, row, unit.end_head, unit.end_head, grad_q, factors);
  }
}

template <class T, int Groups, int Dim>
__global__ void __launch_bounds__(128 * (1 + Groups), 3 - Groups)
    grad_queries_kernel(const __grid_constant__ GatherAttentionParams p, const __grid_constant__ CUtensorMap q, const __grid_constant__ CUtensorMap grad,
                        int units) {
#ifdef DS_HOPPER
  extern __shared__ uint8_t memory[];
  auto& s = *reinterpret_cast<Tiles<Groups, Dim>*>((reinterpret_cast<uintptr_t>(memory) + 1023) / 1024 * 1024);
  if (threadIdx.x == 0) prepare(s, 4 * Groups);
  __syncthreads();
  if (threadIdx.x < 128) {
    fewer_registers<72>();
    gather_tiles(p, &q, &grad, s, units);
  } else {
    more_registers<Groups == 1 ? 184 : 216>();
    consume<T>(p, s, units);
  }
#endif
}

// delta: the products of the output's rows with their gradients. A warp a row, 16 bytes a lane.
template <class T>
__global__ void __launch_bounds__(128) delta_kernel(const __grid_constant__ GatherAttentionParams p) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * 4 + threadIdx.x / 32;
  if (row >= p.batch * p.heads * p.queries) return;
  const int64_t t = row % p.queries, h = row / p.queries % p.heads, b = row / p.queries / p.heads;
  const auto at = [&](const AttentionTensor& x) { return static_cast<const T*>(x.data) + b * x.batch_stride + h * x.head_stride + t * x.row_stride; };
  float sum = 0.0f;
  const int column = threadIdx.x % 32 * 8;
  if (column < p.dim) {
    float x[8], y[8];
    unpack(load_once(at(p.out) + column), x), unpack(load_once(at(p.grad_out) + column), y);
#pragma unroll
    for (int i = 0; i < 8; i++) sum = fmaf(x[i], y[i], sum);
  }
#pragma unroll
  for (int step = 8; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
  if (threadIdx.x % 32 == 0) p.delta[row] = sum;
}

template <class T, int Groups, int Dim>
int launch(const GatherAttentionParams& p) {
  constexpr int kRows = 64 * Groups, kBytes = sizeof(Tiles<Groups, Dim>) + 1024;
  static_assert(kBytes <= 232448 / (3 - Groups));
  CUtensorMap q, grad;
  if (!heads_map(&q, p.q, p, kRows) || !heads_map(&grad, p.grad_out, p, kRows)) return cudaErrorInvalidValue;
  const auto kernel = grad_queries_kernel<T, Groups, Dim>;
  const auto status = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  if (status != cudaSuccess) return status;
  const auto stream = static_cast<cudaStream_t>(p.stream);
  delta_kernel<T><<<static_cast<unsigned>((p.batch * p.heads * p.queries + 3) / 4), 128, 0, stream>>>(p);
  const int64_t group = p.heads / p.kv_heads;
  const int units = static_cast<int>(p.batch * p.kv_heads * p.query_count * ((group + kRows - 1) / kRows)), blocks = multiprocessors() * (3 - Groups);
  kernel<<<static_cast<unsigned>(units < blocks ? units : blocks), 128 * (1 + Groups), kBytes, stream>>>(p, q, grad, units);
  return cudaGetLastError();
}

template <class T, int Dim>
int launch(const GatherAttentionParams& p) {
  return p.heads / p.kv_heads > 64 ? launch<T, 2, Dim>(p) : launch<T, 1, Dim>(p);
}

}  // namespace

int gather_attention_backward_queries_hopper(const GatherAttentionParams& p) {
  return by_type_and_width(p.type, p.dim, [&](auto element, auto width) { return launch<decltype(element), width.value>(p); });
}

}  // namespace deepseek
