// Block scores on Hopper: one matrix product of depth `depth` * dim over strided views of queries and keys, whose epilogue
// keeps a logarithm of sums per group row and key block; then the rows of a block are normalised and averaged. Products of a
// depth of one, which wait for their epilogue here, have a kernel of their own (sampled_scores_cuda.cu).
#include "block_groups.cuh"
#include "sparse_attention/pipeline.cuh"

namespace deepseek {
namespace {

using namespace hopper;

constexpr int kTile = 128;  // groups on either side
constexpr int kStages = 3;
constexpr int kThreads = 288;  // two consuming warpgroups and a warp that copies

struct Shared {
  alignas(1024) uint8_t a[kStages][kTile * 128];
  alignas(1024) uint8_t b[kStages][kTile * 128];
  uint64_t full[kStages], empty[kStages];
};

__device__ __forceinline__ void copy_groups(void* to, const CUtensorMap* map, uint64_t* bar, int column, int row, int group, int head, int batch) {
  asm volatile("cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6, %7}], [%2];" ::"r"(shared_address(to)),
               "l"(reinterpret_cast<uint64_t>(map)), "r"(shared_address(bar)), "r"(column), "r"(row), "r"(group), "r"(head), "r"(batch)
               : "memory");
}

// Columns: groups of a key block. log2 of the sum of 2^x over each block's columns of a row, x the scores in base 2.
template <int Columns>
__device__ __forceinline__ void store_sums(const BlockScoresParams& p, const Extent& extent, const float (&x)[kTile / 2], int row, int column, int head, int batch) {
  constexpr int kParts = Columns < 8 ? 8 : Columns;  // columns that one thread's share of a reduction spans
  const int lane = threadIdx.x % 32;
  const float scale = p.scale * kLog2e;
#pragma unroll
  for (int r = 0; r < 2; r++) {
    const int at = row + 8 * r;
    const int limit = at < extent.queries ? extent.visible(p, at) : 0;
    float* line = sums_of(p, batch * p.heads + head, at);
#pragma unroll
    for (int part = 0; part < kTile / kParts; part++) {
      float values[kParts / 4], greatest = -INFINITY;
#pragma unroll
      for (int i = 0; i < kParts / 4; i++) {
        const int local = part * kParts + i / 2 * 8 + lane % 4 * 2 + i % 2;
        values[i] = column + local < limit ? x[(part * kParts + i / 2 * 8) / 2 + 2 * r + i % 2] * scale : -INFINITY;
        greatest = fmaxf(greatest, values[i]);
      }
      greatest = fmaxf(greatest, __shfl_xor_sync(~0u, greatest, 1));
      if (Columns >= 8) greatest = fmaxf(greatest, __shfl_xor_sync(~0u, greatest, 2));
      const float shift = greatest == -INFINITY ? 0.0f : greatest;
      float sum = 0.0f;
#pragma unroll
      for (int i = 0; i < kParts / 4; i++) sum += exp2_fast(values[i] - shift);
      sum += __shfl_xor_sync(~0u, sum, 1);
      if (Columns >= 8) sum += __shfl_xor_sync(~0u, sum, 2);
      const int block = (column + part * kParts) / Columns + (Columns < 8 ? lane % 4 / 2 : 0);
      const bool writes = Columns < 8 ? lane % 2 == 0 : lane % 4 == part % 4;
      if (writes && at < p.query_groups && block < p.key_blocks) line[static_cast<int64_t>(block) << kLog2RowsTogether] = shift + __log2f(sum);
    }
  }
}

template <class T, int Columns>
__global__ void __launch_bounds__(kThreads, 2) scores_kernel(const BlockScoresParams p, const __grid_constant__ CUtensorMap q, const __grid_constant__ CUtensorMap k) {
#ifdef DS_HOPPER
  extern __shared__ uint8_t memory[];
  auto& s = *reinterpret_cast<Shared*>((reinterpret_cast<uintptr_t>(memory) + 1023) / 1024 * 1024);
  const int columns = static_cast<int>((p.key_groups + kTile - 1) / kTile);
  const int row = blockIdx.x / columns * kTile, column = blockIdx.x % columns * kTile, head = blockIdx.y, batch = blockIdx.z;
  const Extent extent(p, batch);
  if (row >= extent.queries || column >= extent.visible(p, min(row + kTile, extent.queries) - 1)) return;
  const int panels = static_cast<int>(p.dim) / 64, chunks = p.depth * panels;
  if (threadIdx.x == 0) {
    for (int i = 0; i < kStages; i++) barrier_init(&s.full[i], 1), barrier_init(&s.empty[i], 8);
    barrier_init_fence();
  }
  __syncthreads();
  Ring<kStages> ring;
  if (threadIdx.x >= 256) {
    if (threadIdx.x == 256) {
      const int kv_head = head / static_cast<int>(p.heads / p.kv_heads);
      for (int chunk = 0; chunk < chunks; chunk++) {
        const int place = chunk / panels, panel = chunk % panels * 64;
        barrier_wait(&s.empty[ring.slot], ring.phase ^ 1);
        barrier_expect(&s.full[ring.slot], sizeof(s.a[0]) + sizeof(s.b[0]));
        copy_groups(s.a[ring.slot], &q, &s.full[ring.slot], panel, p.depth - 1 - place, row, head, batch);
        copy_groups(s.b[ring.slot], &k, &s.full[ring.slot], panel, place, column, kv_head, batch);
        ring.next();
      }
    }
  } else {
    const int group = __shfl_sync(~0u, threadIdx.x / 128, 0), warp = threadIdx.x / 32 % 4, lane = threadIdx.x % 32;
    float scores[kTile / 2];
#pragma unroll
    for (int i = 0; i < kTile / 2; i++) scores[i] = 0.0f;
    for (int chunk = 0; chunk < chunks; chunk++) {
      barrier_wait(&s.full[ring.slot], ring.phase);
      const uint64_t a = rows_descriptor(s.a[ring.slot] + group * 64 * 128), b = rows_descriptor(s.b[ring.slot]);
      product_fence();
#pragma unroll
      for (int i = 0; i < 4; i++) Product<T, kTile, false>::shared(scores, a + i * 2, b + i * 2, false);
      product_commit();
      product_wait<0>();
      settle(scores);
      __syncwarp();
      if (lane == 0) barrier_arrive(&s.empty[ring.slot]);
      ring.next();
    }
    store_sums<Columns>(p, extent, scores, row + group * 64 + warp * 16 + lane / 4, column, head, batch);
  }
#endif
}

bool map_groups(CUtensorMap* map, const void* data, int type, int64_t dim, int64_t depth, int64_t groups, int64_t heads, int64_t batch, int64_t row_stride,
                int64_t group_stride, int64_t head_stride, int64_t batch_stride) {
  const auto encode = tensor_map_encoder();
  if (encode == nullptr) return false;
  const auto size = [](int64_t n) { return static_cast<cuuint64_t>(n); };
  const cuuint64_t sizes[5] = {size(dim), size(depth), size(groups), size(heads), size(batch)};
  const cuuint64_t strides[4] = {size(row_stride * 2), size(group_stride * 2), size(head_stride * 2), size(batch_stride * 2)};
  const cuuint32_t box[5] = {64, 1, kTile, 1, 1}, steps[5] = {1, 1, 1, 1, 1};
  return encode(map, type == kBFloat16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 5, const_cast<void*>(data), sizes, strides, box, steps,
                CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

template <class T, int Columns>
int launch(const BlockScoresParams& p, cudaStream_t stream) {
  CUtensorMap q, k;
  if (!map_groups(&q, p.q, p.type, p.dim, p.depth, p.query_groups, p.heads, p.batch, p.q_row_stride, p.q_group_stride, p.q_head_stride, p.q_batch_stride) ||
      !map_groups(&k, p.k, p.type, p.dim, p.depth, p.key_groups, p.kv_heads, p.batch, p.k_row_stride, p.k_group_stride, p.k_head_stride, p.k_batch_stride))
    return cudaErrorInvalidValue;
  const int bytes = sizeof(Shared) + 1024;
  const auto status = cudaFuncSetAttribute(scores_kernel<T, Columns>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  if (status != cudaSuccess) return status;
  const auto tiles = [](int64_t n) { return static_cast<unsigned>((n + kTile - 1) / kTile); };
  scores_kernel<T, Columns><<<dim3(tiles(p.query_groups) * tiles(p.key_groups), static_cast<unsigned>(p.heads), static_cast<unsigned>(p.batch)), kThreads, bytes, stream>>>(p, q, k);
  return cudaGetLastError();
}

template <class T>
int launch(const BlockScoresParams& p, cudaStream_t stream) {
  switch (p.block_k / p.k_step) {
    case 4: return launch<T, 4>(p, stream);
    case 8: return launch<T, 8>(p, stream);
    case 16: return launch<T, 16>(p, stream);
    case 64: return launch<T, 64>(p, stream);
    default: return launch<T, 128>(p, stream);
  }
}

}  // namespace

bool block_scores_hopper_takes(const BlockScoresParams& p, int major, int minor) {
  const int per_block = p.block_k / p.k_step;
  const bool fits = per_block == 4 || per_block == 8 || per_block == 16 || per_block == 64 || per_block == 128;
  return major == 9 && minor == 0 && (p.type == kBFloat16 || p.type == kFloat16) && (p.dim == 64 || p.dim == 128) && fits && p.block_q / p.q_step <= kMostRowsOfBlock && p.heads < 65536 && p.batch < 65536;
}

int block_scores_hopper(const BlockScoresParams& p, void* stream) {
  const auto s = static_cast<cudaStream_t>(stream);
  const bool sampled = sampled_scores_hopper_takes(p);
  const int status = sampled ? sampled_scores_hopper(p, stream) : p.type == kBFloat16 ? launch<__nv_bfloat16>(p, s) : launch<__half>(p, s);
  if (status != cudaSuccess || (sampled && sampled_scores_hopper_finishes(p))) return status;
  return normalise_scores(p, stream);
}

}  // namespace deepseek
