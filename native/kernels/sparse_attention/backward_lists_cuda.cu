// Before the backward: row statistics, and the lists turned round, so that every key block knows the query blocks that see it.
#include "backward_lists.cuh"
#include "common/hopper.cuh"

namespace deepseek {
namespace {

constexpr float kLog2e = 1.44269504088896340736f;

__device__ __forceinline__ float as_float(float x) { return x; }
__device__ __forceinline__ float as_float(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ __forceinline__ float as_float(__half x) { return __half2float(x); }

// One warp a row. Rows that do not exist or see nothing get lse2 = +inf: their probabilities come out as 0.
template <class T>
__global__ void __launch_bounds__(256) row_statistics(const SparseAttentionParams p, int64_t padded) {
  const int64_t number = blockIdx.x * 8ll + threadIdx.x / 32;
  if (number >= p.batch * p.heads * padded) return;
  const int lane = threadIdx.x % 32;
  const int64_t row = number % padded, head = number / padded % p.heads, batch = number / padded / p.heads;
  const int64_t existing = p.q_lengths == nullptr ? p.queries : min(static_cast<int64_t>(p.q_lengths[batch]), p.queries);
  const float lse = row < existing ? p.lse[(batch * p.heads + head) * p.queries + row] : -INFINITY;
  float sum = 0.0f;
  if (lse > -INFINITY) {
    const T* o = static_cast<const T*>(p.out.data) + batch * p.out.batch_stride + head * p.out.head_stride + row * p.out.row_stride;
    const T* g = static_cast<const T*>(p.grad_out.data) + batch * p.grad_out.batch_stride + head * p.grad_out.head_stride + row * p.grad_out.row_stride;
    if (sizeof(T) == 2 && p.dim % 8 == 0) {  // 16 bytes a lane
      for (int d = lane * 8; d < p.dim; d += 256) {
        const uint4 x = *reinterpret_cast<const uint4*>(o + d), y = *reinterpret_cast<const uint4*>(g + d);
        const T *a = reinterpret_cast<const T*>(&x), *b = reinterpret_cast<const T*>(&y);
#pragma unroll
        for (int i = 0; i < static_cast<int>(16 / sizeof(T)); i++) sum += as_float(a[i]) * as_float(b[i]);
      }
    } else {
      for (int d = lane; d < p.dim; d += 32) sum += as_float(o[d]) * as_float(g[d]);
    }
  }
#pragma unroll
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
  if (lane == 0) {
    p.delta[number] = sum;
    p.lse2[number] = lse > -INFINITY ? lse * kLog2e : INFINITY;
  }
}

// One warp a list.
__global__ void __launch_bounds__(256) mark_blocks(const SparseAttentionParams p) {
  const int64_t list = blockIdx.x * 8ll + threadIdx.x / 32;
  if (list >= p.batch * p.index_heads * p.query_blocks) return;
  const int64_t head = list / p.query_blocks, block_row = list % p.query_blocks;
  const int count = min(max(p.block_count[list], 0), static_cast<int>(p.max_blocks));
  for (int i = threadIdx.x % 32; i < count; i += 32) {
    const int block = p.block_index[list * p.max_blocks + i];
    if (block >= 0 && block < p.key_blocks) p.block_map[(head * p.key_blocks + block) * p.query_blocks + block_row] = 1;
  }
}

// One warp a key block; its list comes out ascending.
__global__ void __launch_bounds__(256) collect_blocks(const SparseAttentionParams p) {
  const int64_t list = blockIdx.x * 8ll + threadIdx.x / 32;
  if (list >= p.batch * p.index_heads * p.key_blocks) return;
  const int lane = threadIdx.x % 32;
  int count = 0;
  for (int first = 0; first < p.query_blocks; first += 32) {
    const bool marked = first + lane < p.query_blocks && p.block_map[list * p.query_blocks + first + lane] != 0;
    const unsigned vote = __ballot_sync(~0u, marked);
    if (marked) p.query_index[list * p.query_blocks + count + __popc(vote & ((1u << lane) - 1))] = first + lane;
    count += __popc(vote);
  }
  if (lane == 0) p.query_count[list] = count;
}

unsigned warps(int64_t count) { return static_cast<unsigned>((count + 7) / 8); }

}  // namespace

int sparse_attention_backward_lists(const SparseAttentionParams& p, cudaStream_t stream) {
  const int64_t padded = (p.queries + 127) / 128 * 128;
  const auto rows = warps(p.batch * p.heads * padded);
  if (p.type == kFloat32) row_statistics<float><<<rows, 256, 0, stream>>>(p, padded);
  if (p.type == kBFloat16) row_statistics<__nv_bfloat16><<<rows, 256, 0, stream>>>(p, padded);
  if (p.type == kFloat16) row_statistics<__half><<<rows, 256, 0, stream>>>(p, padded);
  mark_blocks<<<warps(p.batch * p.index_heads * p.query_blocks), 256, 0, stream>>>(p);
  collect_blocks<<<warps(p.batch * p.index_heads * p.key_blocks), 256, 0, stream>>>(p);
  return cudaGetLastError();
}

}  // namespace deepseek
