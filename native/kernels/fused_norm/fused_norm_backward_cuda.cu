// Blocks stay on the device, walk over rows with the next row's loads in flight, and keep their share of dweight and dbias in
// registers; a second kernel adds the shares in a fixed order, so results repeat bit for bit.
#include "fused_norm/fused_norm_cuda.cuh"

namespace deepseek {
namespace {

template <class T, class R, int kVectors>
struct GradientLoads {
  Raw8<T> dy[kVectors];
  Raw8<R> z[kVectors], dz[kVectors];
};

template <class T, class R, int kThreads, int kVectors>
__device__ __forceinline__ void fetch(const NormParams& p, int64_t row, GradientLoads<T, R, kVectors>& loads) {
#pragma unroll
  for (int v = 0; v < kVectors; v++) {
    const int64_t c = (static_cast<int64_t>(v) * kThreads + threadIdx.x) * 8;
    if (c >= p.columns || row >= p.rows) continue;
    const int64_t at = row * p.columns + c;
    loads.dy[v] = load_once(static_cast<const T*>(p.dy) + at);
    loads.z[v] = load_once(static_cast<const R*>(p.z) + at);
    if (p.dz != nullptr) loads.dz[v] = load_once(static_cast<const R*>(p.dz) + at);
  }
}

// Blocks of 128 threads that a multiprocessor holds, for gradients of half precision and of float32.
template <class R> constexpr int kBlocks = sizeof(R) == 2 ? 6 : 5;

template <class T, class R, int kThreads, int kVectors>
__global__ void __launch_bounds__(kThreads, kThreads == 128 ? kBlocks<R> : 1) backward_kernel(const __grid_constant__ NormParams p, uint32_t threshold, float scale) {
  constexpr int kWarps = kThreads / 32;
  __shared__ float2 scratch[2][kWarps];
  const int64_t n = p.columns;
  const Mask mask = mask_of(p, threshold, scale);
  float weight[kVectors][8], dweight[kVectors][8], dbias[kVectors][8], dshift[kVectors][8];
#pragma unroll
  for (int v = 0; v < kVectors; v++) {
    const int64_t c = (static_cast<int64_t>(v) * kThreads + threadIdx.x) * 8;
#pragma unroll
    for (int i = 0; i < 8; i++) {
      weight[v][i] = 1.0f;
      dweight[v][i] = dbias[v][i] = dshift[v][i] = 0.0f;
    }
    if (p.weight != nullptr && c < n) load_vector8(p.weight, p.weight_type, c, weight[v]);
  }
  GradientLoads<T, R, kVectors> next;
  fetch<T, R, kThreads, kVectors>(p, blockIdx.x, next);
  int parity = 0;
  for (int64_t row = blockIdx.x; row < p.rows; row += gridDim.x, parity ^= 1) {
    const GradientLoads<T, R, kVectors> now = next;
    fetch<T, R, kThreads, kVectors>(p, row + gridDim.x, next);
    const float mean = p.rms ? 0.0f : p.mean[row], rstd = p.rstd[row];
    float g[kVectors][8], x[kVectors][8];
    float2 sums = make_float2(0.0f, 0.0f);
#pragma unroll
    for (int v = 0; v < kVectors; v++) {
      if ((static_cast<int64_t>(v) * kThreads + threadIdx.x) * 8 >= n) continue;
      unpack(now.dy[v], g[v]);
      unpack(now.z[v], x[v]);
#pragma unroll
      for (int i = 0; i < 8; i++) {
        x[v][i] = (x[v][i] - mean) * rstd;
        dbias[v][i] += g[v][i];
        dweight[v][i] += g[v][i] * x[v][i];
        g[v][i] *= weight[v][i];
        sums.x += g[v][i];
        sums.y += g[v][i] * x[v][i];
      }
    }
    sums = block_sum<kWarps>(sums, scratch[parity]);
    const float c1 = p.rms ? 0.0f : sums.x / static_cast<float>(n), c2 = sums.y / static_cast<float>(n);
#pragma unroll
    for (int v = 0; v < kVectors; v++) {
      const int64_t block = static_cast<int64_t>(v) * kThreads + threadIdx.x, at = row * n + block * 8;
      if (block * 8 >= n) continue;
#pragma unroll
      for (int i = 0; i < 8; i++) g[v][i] = (g[v][i] - c1 - x[v][i] * c2) * rstd;
      if (p.dz != nullptr) {
        float other[8];
        unpack(now.dz[v], other);
#pragma unroll
        for (int i = 0; i < 8; i++) g[v][i] += other[i];
      }
      if (p.dresidual != nullptr) store8(static_cast<R*>(p.dresidual) + at, pack<R>(g[v]));
      if (mask.threshold != 0 && (p.dx != nullptr || p.dshift != nullptr)) drop(mask, row, block, g[v]);
      if (p.dx != nullptr) store8(static_cast<T*>(p.dx) + at, pack<T>(g[v]));
#pragma unroll
      for (int i = 0; i < 8; i++) dshift[v][i] += g[v][i];
    }
  }
  if (p.partial == nullptr) return;
#pragma unroll
  for (int v = 0; v < kVectors; v++) {
    const int64_t c = (static_cast<int64_t>(v) * kThreads + threadIdx.x) * 8;
    if (c >= n) continue;
    float* share = p.partial + static_cast<int64_t>(blockIdx.x) * 3 * n;
    store8(share + c, pack<float>(dweight[v]));
    store8(share + n + c, pack<float>(dbias[v]));
    if (p.dshift != nullptr) store8(share + 2 * n + c, pack<float>(dshift[v]));
  }
}

// Any number of columns: a block takes rows of its own and keeps its shares in memory that it alone writes.
template <class T, class R>
__global__ void __launch_bounds__(256) backward_any_kernel(const __grid_constant__ NormParams p, uint32_t threshold, float scale) {
  __shared__ float2 scratch[2][8];
  const int64_t n = p.columns;
  const Mask mask = mask_of(p, threshold, scale);
  float* share = p.partial + (p.partial != nullptr ? static_cast<int64_t>(blockIdx.x) * 3 * n : 0);
  if (p.partial != nullptr) {
    for (int64_t block = threadIdx.x; block * 8 < n; block += 256) {
      for (int64_t c = block * 8; c < n && c < block * 8 + 8; c++) share[c] = share[n + c] = share[2 * n + c] = 0.0f;
    }
  }
  int parity = 0;
  for (int64_t row = blockIdx.x; row < p.rows; row += gridDim.x, parity ^= 1) {
    const T* dy = static_cast<const T*>(p.dy) + row * n;
    const R* z = static_cast<const R*>(p.z) + row * n;
    const float mean = p.rms ? 0.0f : p.mean[row], rstd = p.rstd[row];
    const auto weight = [&](int64_t c) { return p.weight != nullptr ? load_vector1(p.weight, p.weight_type, c) : 1.0f; };
    float2 sums = make_float2(0.0f, 0.0f);
    for (int64_t block = threadIdx.x; block * 8 < n; block += 256) {
      for (int64_t c = block * 8; c < n && c < block * 8 + 8; c++) {
        const float d = to_float(dy[c]), x = (to_float(z[c]) - mean) * rstd, g = d * weight(c);
        sums.x += g;
        sums.y += g * x;
        if (p.partial != nullptr) {
          share[c] += d * x;
          share[n + c] += d;
        }
      }
    }
    sums = block_sum<8>(sums, scratch[parity]);
    const float c1 = p.rms ? 0.0f : sums.x / static_cast<float>(n), c2 = sums.y / static_cast<float>(n);
    for (int64_t block = threadIdx.x; block * 8 < n; block += 256) {
      float g[8];
#pragma unroll
      for (int i = 0; i < 8; i++) {
        const int64_t c = block * 8 + i;
        g[i] = 0.0f;
        if (c >= n) continue;
        g[i] = (to_float(dy[c]) * weight(c) - c1 - (to_float(z[c]) - mean) * rstd * c2) * rstd;
        if (p.dz != nullptr) g[i] += to_float(static_cast<const R*>(p.dz)[row * n + c]);
        if (p.dresidual != nullptr) static_cast<R*>(p.dresidual)[row * n + c] = from_float<R>(g[i]);
      }
      if (p.dx == nullptr && p.dshift == nullptr) continue;
      if (mask.threshold != 0) drop(mask, row, block, g);
#pragma unroll
      for (int i = 0; i < 8; i++) {
        if (block * 8 + i >= n) continue;
        if (p.dx != nullptr) static_cast<T*>(p.dx)[row * n + block * 8 + i] = from_float<T>(g[i]);
        if (p.dshift != nullptr) share[2 * n + block * 8 + i] += g[i];
      }
    }
  }
}

// Adds the shares of one column of dweight (blockIdx.y 0), dbias (1) or dshift (2), always in the same order.
__global__ void __launch_bounds__(256) reduce_kernel(const __grid_constant__ NormParams p) {
  __shared__ float sums[8][33];
  const int column = threadIdx.x % 32, group = threadIdx.x / 32;
  const int64_t c = static_cast<int64_t>(blockIdx.x) * 32 + column;
  void* out = blockIdx.y == 0 ? p.dweight : blockIdx.y == 1 ? p.dbias : p.dshift;
  if (out == nullptr) return;
  float total = 0.0f;
  if (c < p.columns) {
    const float* share = p.partial + blockIdx.y * p.columns + c;
#pragma unroll 4
    for (int64_t i = group; i < p.partials; i += 8) total += share[i * 3 * p.columns];
  }
  sums[group][column] = total;
  __syncthreads();
  if (group != 0 || c >= p.columns) return;
  for (int i = 1; i < 8; i++) total += sums[i][column];
  store_vector1(out, blockIdx.y == 2 ? p.shift_type : p.weight_type, c, total);
}

template <class T, class R>
void launch_backward(const NormParams& p) {
  const uint32_t threshold = dropout_threshold(p.p);
  const float scale = dropout_scale(p.p);
  const auto stream = stream_of(p);
  const auto blocks = static_cast<unsigned>(p.partials);
  const int64_t n = p.columns;
  if (!vectorised(p) || n > 8192) {
    backward_any_kernel<T, R><<<blocks, 256, 0, stream>>>(p, threshold, scale);
  } else if (n <= 256) {
    backward_kernel<T, R, 32, 1><<<blocks, 32, 0, stream>>>(p, threshold, scale);
  } else if (n <= 1024) {
    backward_kernel<T, R, 128, 1><<<blocks, 128, 0, stream>>>(p, threshold, scale);
  } else if (n <= 2048) {
    backward_kernel<T, R, 256, 1><<<blocks, 256, 0, stream>>>(p, threshold, scale);
  } else if (n <= 4096) {
    backward_kernel<T, R, 512, 1><<<blocks, 512, 0, stream>>>(p, threshold, scale);
  } else {
    backward_kernel<T, R, 1024, 1><<<blocks, 1024, 0, stream>>>(p, threshold, scale);
  }
  if (p.partial != nullptr) reduce_kernel<<<dim3(static_cast<unsigned>((n + 31) / 32), p.dshift != nullptr ? 3 : 2), 256, 0, stream>>>(p);
}

template <class T>
void backward_of(const NormParams& p) { p.stream_type == p.type ? launch_backward<T, T>(p) : launch_backward<T, float>(p); }

}  // namespace

// Blocks of the backward pass: what the device holds at once, so that each keeps its share over many rows; of few rows, each
// takes four at least, because every share is written and read once more.
int64_t norm_partials_cuda(int64_t rows, int64_t columns, bool wide) {
  const int64_t each = columns <= 256 ? 16 : columns <= 1024 ? (wide ? kBlocks<float> : kBlocks<bf16>) : columns <= 2048 ? 3 : 1, device = multiprocessors();
  const int64_t few = rows / 4 > device ? rows / 4 : device, blocks = each * device < few ? each * device : few;
  return blocks < rows ? blocks : rows;
}

int norm_backward_cuda(const NormParams& p) {
  if (p.type == kBFloat16) {
    backward_of<bf16>(p);
  } else if (p.type == kFloat16) {
    backward_of<f16>(p);
  } else {
    launch_backward<float, float>(p);
  }
  return cudaGetLastError();
}

}  // namespace deepseek
