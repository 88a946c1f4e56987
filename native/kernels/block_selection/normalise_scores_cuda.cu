// From the sums of a query block's rows over key blocks to the block's scores: every row is normalised, then they are averaged.
#include "block_groups.cuh"
#include "common/hopper.cuh"

namespace deepseek {
namespace {

using hopper::exp2_fast;

constexpr int kThreads = 256;

// One query block a thread block. A thread keeps to one row in eight, whose sums lie beside those of the others.
__global__ void __launch_bounds__(kThreads) normalise_kernel(const BlockScoresParams p) {
  constexpr int kTogether = 1 << kLog2RowsTogether, kLanes = kThreads / kTogether;  // rows beside each other, blocks beside each other
  __shared__ float lse[kMostRowsOfBlock], maxima[kThreads / 32][kTogether], totals[kThreads / 32][kTogether];
  const int64_t list = blockIdx.x, head = list / p.query_blocks;
  const int rows = p.block_q / p.q_step, per_block = p.block_k / p.k_step, first = static_cast<int>(list % p.query_blocks) * rows;
  const Extent extent(p, static_cast<int>(head / p.heads));
  const int existing = min(rows, extent.queries - first), warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int mine = threadIdx.x % kTogether, place = threadIdx.x / kTogether;
  const auto blocks_of = [&](int row) { return row < existing ? (extent.visible(p, first + row) + per_block - 1) / per_block : 0; };
  const auto combine = [](float& greatest, float& sum, float other, float theirs) {
    const float more = fmaxf(greatest, other), base = more == -INFINITY ? 0.0f : more;
    sum = sum * exp2_fast(greatest - base) + theirs * exp2_fast(other - base), greatest = more;
  };
  for (int r = mine; r - mine < existing; r += kTogether) {
    const int blocks = blocks_of(r);
    const float* line = sums_of(p, head, first + (blocks > 0 ? r : 0));
    float greatest = -INFINITY, sum = 0.0f;
    for (int b = place; b < blocks; b += 4 * kLanes) {
      float x[4], more = greatest;
#pragma unroll
      for (int i = 0; i < 4; i++) x[i] = b + i * kLanes < blocks ? line[static_cast<int64_t>(b + i * kLanes) * kTogether] : -INFINITY;
#pragma unroll
      for (int i = 0; i < 4; i++) more = fmaxf(more, x[i]);
      const float base = more == -INFINITY ? 0.0f : more;
      sum *= exp2_fast(greatest - base);
#pragma unroll
      for (int i = 0; i < 4; i++) sum += exp2_fast(x[i] - base);
      greatest = more;
    }
#pragma unroll
    for (int step = kTogether; step < 32; step *= 2) combine(greatest, sum, __shfl_xor_sync(~0u, greatest, step), __shfl_xor_sync(~0u, sum, step));
    if (lane < kTogether) maxima[warp][lane] = greatest, totals[warp][lane] = sum;
    __syncthreads();
    if (threadIdx.x < kTogether && r < existing) {
      for (int w = 1; w < kThreads / 32; w++) combine(greatest, sum, maxima[w][mine], totals[w][mine]);
      lse[r] = sum > 0.0f ? greatest + __log2f(sum) : INFINITY;
    }
    __syncthreads();
  }
  float* mass = p.mass + list * p.key_blocks;
  const int most = blocks_of(existing - 1);
  for (int b = place; b - place < p.key_blocks; b += kLanes) {
    float sum = 0.0f, squares = 0.0f, most_of_one = 0.0f;
    if (b < most)
      for (int r = mine; r < existing; r += kTogether)
        if (b < blocks_of(r)) {
          const float share = exp2_fast(sums_of(p, head, first + r)[static_cast<int64_t>(b) * kTogether] - lse[r]);
          sum += share, squares += share * share, most_of_one = fmaxf(most_of_one, share);
        }
    float value = p.power == 1.0f ? sum : p.power == 2.0f ? squares : most_of_one;
#pragma unroll
    for (int step = 1; step < kTogether; step *= 2) {
      const float other = __shfl_xor_sync(~0u, value, step);
      value = p.power <= 2.0f ? value + other : fmaxf(value, other);
    }
    if (mine == 0 && b < p.key_blocks) mass[b] = p.power == 1.0f ? value / rows : p.power == 2.0f ? sqrtf(value / rows) : value;
  }
}

}  // namespace

int normalise_scores(const BlockScoresParams& p, void* stream) {
  normalise_kernel<<<static_cast<unsigned>(p.batch * p.heads * p.query_blocks), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(p);
  return cudaGetLastError();
}

}  // namespace deepseek
