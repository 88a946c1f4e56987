// The indexer's logits and FP8 rows on any CUDA device, by ordinary float32 arithmetic: 32 keys by 8 queries a thread block.
#include "indexer/indexer.h"

#include "common/cuda_types.cuh"

#include <cuda_fp8.h>

#include <cmath>

namespace deepseek {
namespace {

constexpr int kKeys = 32, kQueries = 8, kDim = 256;

struct E4m3 { __nv_fp8_storage_t bits; };
__device__ __forceinline__ float to_float(E4m3 x) { return __half2float(__half(__nv_cvt_fp8_to_halfraw(x.bits, __NV_E4M3))); }

__device__ __forceinline__ int64_t seen_by(const IndexerParams& p, int64_t b, int64_t t) {
  const int64_t length = p.lengths == nullptr ? p.keys : min(max(static_cast<int64_t>(p.lengths[b]), int64_t{0}), p.keys);
  return p.causal == 0 ? length : min(max(t + 1 + length - p.queries, int64_t{0}), length);
}

// Grid: (tiles of keys, tiles of queries, batch).
template <class T>
__global__ void __launch_bounds__(kKeys* kQueries) logits_kernel(const IndexerParams p, int64_t first, int64_t count) {
  __shared__ float keys[kKeys][kDim + 1], queries[kQueries][kDim];
  const int lane = threadIdx.x % kKeys, row = threadIdx.x / kKeys, dim = static_cast<int>(p.dim);
  const int64_t b = blockIdx.z, s = static_cast<int64_t>(blockIdx.x) * kKeys + lane, place = static_cast<int64_t>(blockIdx.y) * kQueries + row, t = first + place;
  const int64_t last = min(first + count, p.queries) - 1, latest = min(first + (static_cast<int64_t>(blockIdx.y) + 1) * kQueries - 1, last);
  const bool here = place < count && s < p.keys;
  float* target = p.logits + (b * count + place) * p.keys + s;
  if (static_cast<int64_t>(blockIdx.x) * kKeys >= seen_by(p, b, latest)) {
    if (here) *target = -INFINITY;
    return;
  }
  for (int i = threadIdx.x; i < kKeys * dim; i += kKeys * kQueries) {
    const int64_t key = static_cast<int64_t>(blockIdx.x) * kKeys + i / dim;
    keys[i / dim][i % dim] = key < p.keys ? to_float(static_cast<const T*>(p.k)[b * p.k_batch_stride + key * p.k_row_stride + i % dim]) : 0.0f;
  }
  float logit = 0.0f;
  for (int64_t h = 0; h < p.heads; h++) {
    __syncthreads();
    for (int i = threadIdx.x; i < kQueries * dim; i += kKeys * kQueries) {
      const int64_t query = static_cast<int64_t>(blockIdx.y) * kQueries + i / dim;
      queries[i / dim][i % dim] = query < count ? to_float(static_cast<const T*>(p.q)[((b * p.queries + first + query) * p.heads + h) * p.dim + i % dim]) : 0.0f;
    }
    __syncthreads();
    float product = 0.0f;
    for (int d = 0; d < dim; d++) product = fmaf(queries[row][d], keys[lane][d], product);
    if (here) logit = fmaf(p.weights[(b * p.queries + t) * p.heads + h], product < 0.0f ? 0.0f : product, logit);
  }
  if (!here) return;
  if (p.k_scale != nullptr) logit *= p.k_scale[b * p.k_scale_stride + s];
  *target = s < seen_by(p, b, t) ? logit : -INFINITY;
}

template <class T>
int launch(const IndexerParams& p, int64_t first, int64_t count) {
  const dim3 grid(static_cast<unsigned>((p.keys + kKeys - 1) / kKeys), static_cast<unsigned>((count + kQueries - 1) / kQueries), static_cast<unsigned>(p.batch));
  logits_kernel<T><<<grid, kKeys * kQueries, 0, static_cast<cudaStream_t>(p.stream)>>>(p, first, count);
  return cudaGetLastError();
}

// A warp a row.
__global__ void __launch_bounds__(128) quantize_kernel(const float* x, int64_t rows, int64_t dim, uint8_t* codes, float* scale) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * 4 + threadIdx.x / 32;
  if (row >= rows) return;
  const int lane = threadIdx.x % 32;
  float greatest = 0.0f;
  for (int64_t c = lane; c < dim; c += 32) greatest = fmaxf(greatest, fabsf(x[row * dim + c]));
#pragma unroll
  for (int step = 16; step > 0; step /= 2) greatest = fmaxf(greatest, __shfl_xor_sync(0xffffffffu, greatest, step));
  const float unit = greatest > 0.0f ? greatest / 448.0f : 1.0f;
  if (lane == 0) scale[row] = unit;
  for (int64_t c = lane; c < dim; c += 32) codes[row * dim + c] = __nv_cvt_float_to_fp8(x[row * dim + c] / unit, __NV_SATFINITE, __NV_E4M3);
}

}  // namespace

int indexer_logits_cuda(const IndexerParams& p, int64_t first, int64_t count) {
  if (p.dim > kDim) return cudaErrorInvalidValue;
  if (p.type == kE4m3) return launch<E4m3>(p, first, count);
  if (p.type == kBFloat16) return launch<bf16>(p, first, count);
  if (p.type == kFloat16) return launch<f16>(p, first, count);
  return launch<float>(p, first, count);
}

int quantize_e4m3_cuda(const float* x, int64_t rows, int64_t dim, uint8_t* codes, float* scale, void* stream) {
  quantize_kernel<<<static_cast<unsigned>((rows + 3) / 4), 128, 0, static_cast<cudaStream_t>(stream)>>>(x, rows, dim, codes, scale);
  return cudaGetLastError();
}

}  // namespace deepseek
