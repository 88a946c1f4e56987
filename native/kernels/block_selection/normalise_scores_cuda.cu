// From the sums of a query block's rows over key blocks to the block's scores: every row is normalised, then they are averaged.
#include "block_groups.cuh"
#include "common/hopper.cuh"

namespace deepseek {
namespace {

using hopper::exp2_fast;

constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr int kTogether = 1 << kLog2RowsTogether;  // rows beside each other, a thread keeps to one of them
constexpr int kTurns = 8;                          // times 4 blocks are the 32 that a warp reads together, and stores at once
constexpr int kBlocks = 32 * kWarps;               // of a round of all warps
constexpr int kRounds = 4;                         // that fit into registers

// Eight lanes with eight values each: lane i ends with all lanes' i-th together.
template <class Combine>
__device__ __forceinline__ float share_out(float (&x)[kTurns], Combine combine) {
#pragma unroll
  for (int half = kTurns / 2; half > 0; half /= 2) {
    const bool upper = threadIdx.x & half;
#pragma unroll
    for (int i = 0; i < half; i++) {
      const float other = __shfl_xor_sync(~0u, upper ? x[i] : x[i + half], half);
      x[i] = combine(upper ? x[i + half] : x[i], other);
    }
  }
  return x[0];
}

// A row's logarithm of its sum, from pieces of it.
struct Sum {
  float greatest = -INFINITY, sum = 0.0f;

  template <int N>
  __device__ __forceinline__ void add(const float (&x)[N]) {
    float more = greatest;
#pragma unroll
    for (int i = 0; i < N; i++) more = fmaxf(more, x[i]);
    const float base = more == -INFINITY ? 0.0f : more;
    sum *= exp2_fast(greatest - base);
#pragma unroll
    for (int i = 0; i < N; i++) sum += exp2_fast(x[i] - base);
    greatest = more;
  }
  __device__ __forceinline__ void join(float other, float theirs) {
    const float more = fmaxf(greatest, other), base = more == -INFINITY ? 0.0f : more;
    sum = sum * exp2_fast(greatest - base) + theirs * exp2_fast(other - base), greatest = more;
  }
};

// One query block a thread block. Where it has 8 rows at most and not too many key blocks, the sums stay in registers.
template <bool Stays>
__global__ void __launch_bounds__(kThreads) normalise_kernel(const BlockScoresParams p) {
  __shared__ float lse[kMostRowsOfBlock], maxima[kWarps][kTogether], totals[kWarps][kTogether];
  __shared__ int blocks_of[kMostRowsOfBlock];
  const int64_t list = blockIdx.x, head = list / p.query_blocks;
  const int rows = p.block_q / p.q_step, per_block = p.block_k / p.k_step, first = static_cast<int>(list % p.query_blocks) * rows;
  const Extent extent(p, static_cast<int>(head / p.heads));
  const int existing = max(min(rows, extent.queries - first), 0), warp = threadIdx.x / 32, lane = threadIdx.x % 32, mine = lane % kTogether;
  for (int r = threadIdx.x; r < kMostRowsOfBlock; r += kThreads) blocks_of[r] = r < existing ? (extent.visible(p, first + r) + per_block - 1) / per_block : 0;
  __syncthreads();
  const int most = existing > 0 ? blocks_of[existing - 1] : 0;  // later rows see more
  const int start = warp * 32 + lane / kTogether;               // a turn is 4 blocks further, a round kBlocks
  const auto load = [&](const float* line, int blocks, int round, float (&x)[kTurns]) {
#pragma unroll
    for (int i = 0; i < kTurns; i++) {
      const int block = round * kBlocks + start + 4 * i;
      x[i] = block < blocks ? line[static_cast<int64_t>(block) * kTogether] : -INFINITY;
    }
  };
  const auto row_sums = [&](int r) { return sums_of(p, head, first + (r < existing ? r : 0)); };

  float kept[Stays ? kRounds : 1][kTurns];
  for (int r = mine; r - mine < existing; r += kTogether) {
    const float* line = row_sums(r);
    Sum total;
    if constexpr (Stays) {
#pragma unroll
      for (int round = 0; round < kRounds; round++)
        if (round * kBlocks < most) load(line, blocks_of[r], round, kept[round]);
#pragma unroll
      for (int round = 0; round < kRounds; round++)
        if (round * kBlocks < most) total.add(kept[round]);
    } else {
      for (int round = 0; round * kBlocks < most; round++) load(line, blocks_of[r], round, kept[0]), total.add(kept[0]);
    }
#pragma unroll
    for (int step = kTogether; step < 32; step *= 2) {
      const float other = __shfl_xor_sync(~0u, total.greatest, step), theirs = __shfl_xor_sync(~0u, total.sum, step);
      total.join(other, theirs);
    }
    if (lane < kTogether) maxima[warp][lane] = total.greatest, totals[warp][lane] = total.sum;
    __syncthreads();
    if (threadIdx.x < kTogether) {
      for (int w = 1; w < kWarps; w++) total.join(maxima[w][mine], totals[w][mine]);
      lse[r] = total.sum > 0.0f ? total.greatest + __log2f(total.sum) : INFINITY;
    }
    __syncthreads();
  }

  float* mass = p.mass + list * p.key_blocks;
  const auto average = [&](int round, float (&value)[kTurns]) {
    const float all = p.power <= 2.0f ? share_out(value, [](float a, float b) { return a + b; }) : share_out(value, [](float a, float b) { return fmaxf(a, b); });
    const int block = round * kBlocks + warp * 32 + 4 * mine + lane / kTogether;
    if (block < p.key_blocks) mass[block] = p.power == 1.0f ? all / rows : p.power == 2.0f ? sqrtf(all / rows) : all;
  };
  const auto add_shares = [&](const float (&x)[kTurns], float of, float (&value)[kTurns]) {
#pragma unroll
    for (int i = 0; i < kTurns; i++) {
      const float share = exp2_fast(x[i] - of);
      value[i] = p.power == 1.0f ? value[i] + share : p.power == 2.0f ? fmaf(share, share, value[i]) : fmaxf(value[i], share);
    }
  };
  if constexpr (Stays) {
    const float of = mine < existing ? lse[mine] : INFINITY;
#pragma unroll
    for (int round = 0; round < kRounds; round++) {
      float value[kTurns] = {};
      if (round * kBlocks < most) add_shares(kept[round], of, value);
      average(round, value);
    }
  } else {
    for (int round = 0; round * kBlocks < p.key_blocks; round++) {
      float value[kTurns] = {};
      if (round * kBlocks < most)
        for (int r = mine; r < existing; r += kTogether) {
          float x[kTurns];
          load(row_sums(r), blocks_of[r], round, x);
          add_shares(x, lse[r], value);
        }
      average(round, value);
    }
  }
}

}  // namespace

int normalise_scores(const BlockScoresParams& p, void* stream_) {
  const auto stream = static_cast<cudaStream_t>(stream_);
  const auto grid = static_cast<unsigned>(p.batch * p.heads * p.query_blocks);
  if (p.block_q / p.q_step <= kTogether && p.key_blocks <= kRounds * kBlocks) {
    normalise_kernel<true><<<grid, kThreads, 0, stream>>>(p);
  } else {
    normalise_kernel<false><<<grid, kThreads, 0, stream>>>(p);
  }
  return cudaGetLastError();
}

}  // namespace deepseek
