// Gather attention on any CUDA device by ordinary float32 arithmetic: a warp a query and head forward and for dQ, a warp a key
// for dK and dV, which looks itself up in every list (they ascend). Deterministic: no atomics, sums in order of the queries.
#include "gather_attention/gather_attention.h"

#include "common/cuda_types.cuh"

#include <cmath>

namespace deepseek {
namespace {

constexpr int kWarps = 4;
constexpr unsigned kAll = 0xffffffffu;

__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(kAll, value, step);
  return value;
}

template <class T>
__device__ __forceinline__ T* row_of(const AttentionTensor& t, int64_t b, int64_t h, int64_t r) {
  return static_cast<T*>(t.data) + b * t.batch_stride + h * t.head_stride + r * t.row_stride;
}

// A lane's elements of a row: lane, lane + 32 …
template <int E, class T>
__device__ __forceinline__ void load_row(float (&x)[E], const T* row, int dim) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int i = 0; i < E; i++) x[i] = lane + 32 * i < dim ? to_float(row[lane + 32 * i]) : 0.0f;
}
template <int E, class T>
__device__ __forceinline__ void store_row(T* row, const float (&x)[E], float factor, int dim) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int i = 0; i < E; i++) {
    if (lane + 32 * i < dim) row[lane + 32 * i] = from_float<T>(x[i] * factor);
  }
}
template <int E>
__device__ __forceinline__ float dot(const float (&a)[E], const float (&b)[E]) {
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < E; i++) sum = fmaf(a[i], b[i], sum);
  return warp_sum(sum);
}
template <int E>
__device__ __forceinline__ void add(float (&to)[E], float factor, const float (&x)[E]) {
#pragma unroll
  for (int i = 0; i < E; i++) to[i] = fmaf(factor, x[i], to[i]);
}

struct List {
  const int32_t* index;
  int count;
  bool good;
};
__device__ __forceinline__ List list_of(const GatherAttentionParams& p, int64_t b, int64_t t) {
  const int count = p.count[b * p.queries + t];
  const bool good = count >= 0 && count <= p.capacity;
  return {p.index + (b * p.queries + t) * p.capacity, good ? count : 0, good};
}

// Backward: dQ and the sums of grad_out · out that both parts of it need.
template <class T, int E, bool Backward>
__global__ void __launch_bounds__(32 * kWarps) queries_kernel(const GatherAttentionParams p) {
  const int64_t unit = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (unit >= p.batch * p.heads * p.queries) return;
  const int64_t t = unit % p.queries, h = unit / p.queries % p.heads, b = unit / p.queries / p.heads, kv = h / (p.heads / p.kv_heads);
  const int dim = static_cast<int>(p.dim);
  float query[E], sums[E] = {}, grad[E], key[E], value[E];
  load_row<E>(query, row_of<const T>(p.q, b, h, t), dim);
  float greatest = -INFINITY, total = 0.0f, lse = 0.0f, delta = 0.0f;
  if (Backward) {
    load_row<E>(grad, row_of<const T>(p.grad_out, b, h, t), dim);
    load_row<E>(value, row_of<const T>(p.out, b, h, t), dim);
    delta = dot(grad, value);
    lse = p.lse[unit];
    if (threadIdx.x % 32 == 0) p.delta[unit] = delta;
  }
  List list = list_of(p, b, t);
  int before = -1;
  for (int j = 0; j < list.count && list.good; j++) {
    const int place = list.index[j];
    list.good = place > before && place < p.keys;
    if (!list.good) break;
    before = place;
    load_row<E>(key, row_of<const T>(p.k, b, kv, place), dim);
    load_row<E>(value, row_of<const T>(p.v, b, kv, place), dim);
    const float score = dot(query, key) * p.scale;
    if (Backward) {
      add(sums, expf(score - lse) * (dot(grad, value) - delta) * p.scale, key);
    } else {
      const float top = fmaxf(greatest, score), shrink = expf(greatest - top), weight = expf(score - top);
      greatest = top;
      total = fmaf(total, shrink, weight);
#pragma unroll
      for (int i = 0; i < E; i++) sums[i] *= shrink;
      add(sums, weight, value);
    }
  }
  const float fault = nanf("");
  if (Backward) {
    store_row<E>(row_of<T>(p.grad_q, b, h, t), sums, list.good ? 1.0f : fault, dim);
  } else {
    const bool seen = list.count > 0;
    store_row<E>(row_of<T>(p.out, b, h, t), sums, !list.good ? fault : seen ? 1.0f / total : 0.0f, dim);
    if (threadIdx.x % 32 == 0) p.lse[unit] = !list.good ? fault : seen ? greatest + logf(total) : -INFINITY;
  }
}

// Whether a list names a key.
__device__ __forceinline__ bool names(const List& list, int key) {
  int low = 0, high = list.count;
  while (low < high) {
    const int middle = (low + high) / 2;
    if (list.index[middle] < key) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low < list.count && list.index[low] == key;
}

template <class T, int E>
__global__ void __launch_bounds__(32 * kWarps) keys_kernel(const GatherAttentionParams p) {
  const int64_t unit = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (unit >= p.batch * p.kv_heads * p.keys) return;
  const int64_t j = unit % p.keys, kv = unit / p.keys % p.kv_heads, b = unit / p.keys / p.kv_heads, group = p.heads / p.kv_heads;
  const int dim = static_cast<int>(p.dim), lane = threadIdx.x % 32;
  float key[E], value[E], grad_k[E] = {}, grad_v[E] = {}, query[E], grad[E];
  load_row<E>(key, row_of<const T>(p.k, b, kv, j), dim);
  load_row<E>(value, row_of<const T>(p.v, b, kv, j), dim);
  for (int64_t first = 0; first < p.queries; first += 32) {
    const bool mine = first + lane < p.queries && names(list_of(p, b, first + lane), static_cast<int>(j));
    unsigned hits = __ballot_sync(kAll, mine);
    while (hits != 0) {
      const int64_t t = first + __ffs(static_cast<int>(hits)) - 1;
      hits &= hits - 1;
      for (int64_t h = kv * group; h < (kv + 1) * group; h++) {
        const int64_t row = (b * p.heads + h) * p.queries + t;
        load_row<E>(query, row_of<const T>(p.q, b, h, t), dim);
        load_row<E>(grad, row_of<const T>(p.grad_out, b, h, t), dim);
        const float weight = expf(dot(query, key) * p.scale - p.lse[row]);
        add(grad_v, weight, grad);
        add(grad_k, weight * (dot(grad, value) - p.delta[row]) * p.scale, query);
      }
    }
  }
  store_row<E>(row_of<T>(p.grad_k, b, kv, j), grad_k, 1.0f, dim);
  store_row<E>(row_of<T>(p.grad_v, b, kv, j), grad_v, 1.0f, dim);
}

template <class T, int E>
int launch(const GatherAttentionParams& p, bool backward) {
  const auto stream = static_cast<cudaStream_t>(p.stream);
  const auto blocks = [](int64_t units) { return static_cast<unsigned>((units + kWarps - 1) / kWarps); };
  const unsigned queries = blocks(p.batch * p.heads * p.queries);
  if (!backward) {
    queries_kernel<T, E, false><<<queries, 32 * kWarps, 0, stream>>>(p);
  } else {
    queries_kernel<T, E, true><<<queries, 32 * kWarps, 0, stream>>>(p);
    keys_kernel<T, E><<<blocks(p.batch * p.kv_heads * p.keys), 32 * kWarps, 0, stream>>>(p);
  }
  return cudaGetLastError();
}

template <class T>
int launch(const GatherAttentionParams& p, bool backward) {
  if (p.dim <= 64) return launch<T, 2>(p, backward);
  if (p.dim <= 128) return launch<T, 4>(p, backward);
  return p.dim <= 256 ? launch<T, 8>(p, backward) : static_cast<int>(cudaErrorInvalidValue);
}

int launch_any(const GatherAttentionParams& p, bool backward) {
  if (p.type == kFloat32) return launch<float>(p, backward);
  return p.type == kBFloat16 ? launch<bf16>(p, backward) : launch<f16>(p, backward);
}

}  // namespace

int gather_attention_forward_cuda(const GatherAttentionParams& p) { return launch_any(p, false); }
int gather_attention_backward_cuda(const GatherAttentionParams& p) { return launch_any(p, true); }

}  // namespace deepseek
