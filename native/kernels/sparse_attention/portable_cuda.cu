// Block-sparse attention on any CUDA device, for any block size, float32, bfloat16 and float16, heads of up to 256:
// ordinary float32 arithmetic, four threads a row. Deterministic like the Hopper kernels, which are the fast ones.
#include "backward_lists.cuh"
#include "common/hopper.cuh"

namespace deepseek {
namespace {

constexpr int kRows = 64;        // of a tile, four threads each
constexpr int kThreads = 4 * kRows;
constexpr int kOthers = 16;      // rows of the other side in shared memory at a time
constexpr float kLn2 = 0.69314718055994530942f;
constexpr float kLog2e = 1.44269504088896340736f;

__device__ __forceinline__ float load(const float* p) { return *p; }
__device__ __forceinline__ float load(const __nv_bfloat16* p) { return __bfloat162float(*p); }
__device__ __forceinline__ float load(const __half* p) { return __half2float(*p); }
__device__ __forceinline__ void store(float* p, float x) { *p = x; }
__device__ __forceinline__ void store(__nv_bfloat16* p, float x) { *p = __float2bfloat16(x); }
__device__ __forceinline__ void store(__half* p, float x) { *p = __float2half(x); }

template <class T>
__device__ T* line(const AttentionTensor& t, int64_t batch, int64_t head, int64_t row) {
  return static_cast<T*>(t.data) + batch * t.batch_stride + head * t.head_stride + row * t.row_stride;
}

// A thread's quarter of a row: elements quarter, quarter + 4, ...; 0 where the row or the element does not exist.
template <class T, int Quarter>
__device__ void load_quarter(float (&x)[Quarter], const AttentionTensor& t, int64_t batch, int64_t head, int64_t row, bool exists, int dim) {
  const int lane = threadIdx.x % 4;
#pragma unroll
  for (int i = 0; i < Quarter; i++) x[i] = exists && 4 * i + lane < dim ? load(line<T>(t, batch, head, row) + 4 * i + lane) : 0.0f;
}
template <class T, int Quarter>
__device__ void store_quarter(const float (&x)[Quarter], float factor, const AttentionTensor& t, int64_t batch, int64_t head, int64_t row, bool exists, int dim) {
  const int lane = threadIdx.x % 4;
#pragma unroll
  for (int i = 0; i < Quarter; i++)
    if (4 * i + lane < dim) store(line<T>(t, batch, head, row) + 4 * i + lane, exists ? x[i] * factor : 0.0f);
}
// kOthers rows from `first`, those before `end`; the rest is 0.
template <class T, int Quarter>
__device__ void load_others(float (*to)[4 * Quarter], const AttentionTensor& t, int64_t batch, int64_t head, int first, int end, int dim) {
  for (int i = threadIdx.x; i < kOthers * 4 * Quarter; i += kThreads) {
    const int row = first + i / (4 * Quarter), d = i % (4 * Quarter);
    to[i / (4 * Quarter)][d] = row < end && d < dim ? load(line<T>(t, batch, head, row) + d) : 0.0f;
  }
}
template <int Quarter>
__device__ float dot(const float (&x)[Quarter], const float* y) {
  const int lane = threadIdx.x % 4;
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < Quarter; i++) sum = fmaf(x[i], y[4 * i + lane], sum);
  sum += __shfl_xor_sync(~0u, sum, 1);
  return sum + __shfl_xor_sync(~0u, sum, 2);
}
template <int Quarter>
__device__ void add(float (&x)[Quarter], float factor, const float* y) {
  const int lane = threadIdx.x % 4;
#pragma unroll
  for (int i = 0; i < Quarter; i++) x[i] = fmaf(factor, y[4 * i + lane], x[i]);
}

__device__ int length(const int32_t* lengths, int64_t batch, int64_t all) {
  return lengths == nullptr ? static_cast<int>(all) : min(max(lengths[batch], 0), static_cast<int>(all));
}

// Grid: (query blocks * tiles of a block, heads, batch). The backward's dQ is the same walk with other sums.
template <class T, int Quarter, bool Backward>
__global__ void __launch_bounds__(kThreads) queries_kernel(const SparseAttentionParams p) {
  __shared__ float keys[kOthers][4 * Quarter], values[kOthers][4 * Quarter];
  const int tiles = static_cast<int>((p.block_q + kRows - 1) / kRows), block_row = blockIdx.x / tiles;
  const int within = blockIdx.x % tiles * kRows + threadIdx.x / 4;
  const int64_t head = blockIdx.y, batch = blockIdx.z, kv_head = head / (p.heads / p.kv_heads);
  const int64_t row = block_row * p.block_q + within;
  const int q_length = length(p.q_lengths, batch, p.queries), k_length = length(p.k_lengths, batch, p.keys), dim = static_cast<int>(p.dim);
  const bool here = within < p.block_q && row < p.queries, exists = here && row < q_length;
  const int limit = !exists ? 0 : p.causal ? static_cast<int>(min(static_cast<int64_t>(k_length), row + k_length - q_length + 1)) : k_length;
  const float scale = p.scale * kLog2e;
  float query[Quarter], sums[Quarter], grad[Backward ? Quarter : 1];
  load_quarter<T>(query, p.q, batch, head, row, exists, dim);
  const int64_t statistics = (batch * p.heads + head) * ((p.queries + 127) / 128 * 128) + row;
  float lse2 = INFINITY, delta = 0.0f, maximum = -INFINITY, total = 0.0f;
  if constexpr (Backward) {
    load_quarter<T>(grad, p.grad_out, batch, head, row, exists, dim);
    if (exists) lse2 = p.lse2[statistics], delta = p.delta[statistics];
  }
#pragma unroll
  for (int i = 0; i < Quarter; i++) sums[i] = 0.0f;
  const int64_t list = (batch * p.index_heads + head / (p.heads / p.index_heads)) * p.query_blocks + block_row;
  const int count = min(max(p.block_count[list], 0), static_cast<int>(p.max_blocks));
  for (int entry = 0; entry < count; entry++) {
    const int64_t block = p.block_index[list * p.max_blocks + entry];
    if (block < 0 || block >= p.key_blocks) continue;
    const int end = static_cast<int>(min((block + 1) * p.block_k, static_cast<int64_t>(k_length)));
    for (int first = static_cast<int>(block * p.block_k); first < end; first += kOthers) {
      __syncthreads();
      load_others<T, Quarter>(keys, p.k, batch, kv_head, first, end, dim);
      load_others<T, Quarter>(values, p.v, batch, kv_head, first, end, dim);
      __syncthreads();
      for (int j = 0; j < kOthers; j++) {
        const float score = dot(query, keys[j]) * scale;
        const float moved = Backward ? dot(reinterpret_cast<float(&)[Quarter]>(grad), values[j]) : 0.0f;
        if (first + j >= min(limit, end)) continue;
        if constexpr (Backward) {
          add(sums, exp2f(score - lse2) * (moved - delta), keys[j]);
        } else {
          const float greatest = fmaxf(maximum, score), factor = exp2f(maximum - greatest), weight = exp2f(score - greatest);
          maximum = greatest;
          total = fmaf(total, factor, weight);
#pragma unroll
          for (int i = 0; i < Quarter; i++) sums[i] *= factor;
          add(sums, weight, values[j]);
        }
      }
    }
  }
  if (!here) return;
  if constexpr (Backward) {
    store_quarter<T>(sums, p.scale, p.grad_q, batch, head, row, exists, dim);
  } else {
    const bool any = total > 0.0f;
    store_quarter<T>(sums, any ? 1.0f / total : 0.0f, p.out, batch, head, row, any, dim);
    if (threadIdx.x % 4 == 0) p.lse[(batch * p.heads + head) * p.queries + row] = any ? (maximum + log2f(total)) * kLn2 : -INFINITY;
  }
}

// Grid: (key blocks * tiles of a block, key heads, batch).
template <class T, int Quarter>
__global__ void __launch_bounds__(kThreads) keys_kernel(const SparseAttentionParams p) {
  __shared__ float queries[kOthers][4 * Quarter], grads[kOthers][4 * Quarter];
  const int tiles = static_cast<int>((p.block_k + kRows - 1) / kRows), block_column = blockIdx.x / tiles;
  const int within = blockIdx.x % tiles * kRows + threadIdx.x / 4;
  const int64_t kv_head = blockIdx.y, batch = blockIdx.z, group = p.heads / p.kv_heads, padded = (p.queries + 127) / 128 * 128;
  const int64_t column = block_column * p.block_k + within;
  const int q_length = length(p.q_lengths, batch, p.queries), k_length = length(p.k_lengths, batch, p.keys), dim = static_cast<int>(p.dim);
  const bool here = within < p.block_k && column < p.keys, exists = here && column < k_length;
  const int64_t first_seeing = p.causal ? column - (k_length - q_length) : 0;
  const float scale = p.scale * kLog2e;
  float key[Quarter], value[Quarter], grad_k[Quarter], grad_v[Quarter];
  load_quarter<T>(key, p.k, batch, kv_head, column, exists, dim);
  load_quarter<T>(value, p.v, batch, kv_head, column, exists, dim);
#pragma unroll
  for (int i = 0; i < Quarter; i++) grad_k[i] = grad_v[i] = 0.0f;
  for (int64_t head = kv_head * group; head < (kv_head + 1) * group; head++) {
    const int64_t list = (batch * p.index_heads + head / (p.heads / p.index_heads)) * p.key_blocks + block_column;
    const int64_t statistics = (batch * p.heads + head) * padded;
    const int count = p.query_count[list];
    for (int entry = 0; entry < count; entry++) {
      const int64_t block = p.query_index[list * p.query_blocks + entry];
      const int end = static_cast<int>(min((block + 1) * p.block_q, static_cast<int64_t>(q_length)));
      for (int first = static_cast<int>(block * p.block_q); first < end; first += kOthers) {
        __syncthreads();
        load_others<T, Quarter>(queries, p.q, batch, head, first, end, dim);
        load_others<T, Quarter>(grads, p.grad_out, batch, head, first, end, dim);
        __syncthreads();
        for (int j = 0; j < kOthers; j++) {
          const float score = dot(key, queries[j]) * scale, moved = dot(value, grads[j]);
          const int row = first + j;
          if (row >= end || row < first_seeing || !exists) continue;
          const float weight = exp2f(score - p.lse2[statistics + row]);
          add(grad_v, weight, grads[j]);
          add(grad_k, weight * (moved - p.delta[statistics + row]), queries[j]);
        }
      }
    }
  }
  if (!here) return;
  store_quarter<T>(grad_k, p.scale, p.grad_k, batch, kv_head, column, exists, dim);
  store_quarter<T>(grad_v, 1.0f, p.grad_v, batch, kv_head, column, exists, dim);
}

template <class T, int Quarter>
int launch(const SparseAttentionParams& p, bool backward, cudaStream_t stream) {
  const auto tiles = [](int64_t blocks, int64_t size) { return static_cast<unsigned>(blocks * ((size + kRows - 1) / kRows)); };
  const dim3 rows(tiles(p.query_blocks, p.block_q), static_cast<unsigned>(p.heads), static_cast<unsigned>(p.batch));
  const dim3 columns(tiles(p.key_blocks, p.block_k), static_cast<unsigned>(p.kv_heads), static_cast<unsigned>(p.batch));
  if (!backward) {
    queries_kernel<T, Quarter, false><<<rows, kThreads, 0, stream>>>(p);
  } else {
    keys_kernel<T, Quarter><<<columns, kThreads, 0, stream>>>(p);
    queries_kernel<T, Quarter, true><<<rows, kThreads, 0, stream>>>(p);
  }
  return cudaGetLastError();
}

template <class T>
int launch(const SparseAttentionParams& p, bool backward, void* stream) {
  const auto s = static_cast<cudaStream_t>(stream);
  if (p.dim <= 64) return launch<T, 16>(p, backward, s);
  if (p.dim <= 128) return launch<T, 32>(p, backward, s);
  return p.dim <= 256 ? launch<T, 64>(p, backward, s) : static_cast<int>(cudaErrorInvalidValue);
}

int launch(const SparseAttentionParams& p, bool backward, void* stream) {
  if (p.type == kFloat32) return launch<float>(p, backward, stream);
  return p.type == kBFloat16 ? launch<__nv_bfloat16>(p, backward, stream) : launch<__half>(p, backward, stream);
}

}  // namespace

int sparse_attention_forward_portable(const SparseAttentionParams& p, void* stream) { return launch(p, false, stream); }

int sparse_attention_backward_portable(const SparseAttentionParams& p, void* stream) {
  const int status = sparse_attention_backward_lists(p, static_cast<cudaStream_t>(stream));
  return status == cudaSuccess ? launch(p, true, stream) : status;
}

}  // namespace deepseek
