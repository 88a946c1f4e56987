// A row lives in the registers of one warp (up to 512 columns) or one block; x and residual are read once, z and y written once.
#include "fused_norm/fused_norm_cuda.cuh"

namespace deepseek {
namespace {

constexpr int64_t kFewRows = 2048;

template <class R>
__device__ __forceinline__ void round_as(float (&value)[8]) {
  unpack(pack<R>(value), value);
}
template <>
__device__ __forceinline__ void round_as<float>(float (&)[8]) {}

// kThreads threads share a row, each with kVectors groups of 8 columns; a block of one warp a row holds kRows rows.
template <class T, class R, int kThreads, int kVectors, int kRows, bool kEarly = false>
__global__ void __launch_bounds__(kThreads * kRows) forward_kernel(const __grid_constant__ NormParams p, uint32_t threshold, float scale) {
  constexpr int kWarps = kThreads / 32;
  __shared__ float2 scratch[2][kWarps];
  const int lane = threadIdx.x % kThreads;
  const int64_t n = p.columns, row = static_cast<int64_t>(blockIdx.x) * kRows + threadIdx.x / kThreads;
  if (p.rng_used != nullptr && blockIdx.x == 0 && threadIdx.x < 2) p.rng_used[threadIdx.x] = p.rng[threadIdx.x];
  if (row >= p.rows) return;  // whole warps only: kRows > 1 where a row is a warp
  const Mask mask = mask_of(p, threshold, scale);
  const T* x = static_cast<const T*>(p.x) + row * n;
  const R* residual = static_cast<const R*>(p.residual) + (p.residual != nullptr ? row * n : 0);
  Raw8<T> raw_x[kVectors];
  Raw8<R> raw_residual[kVectors];
#pragma unroll
  for (int v = 0; v < kVectors; v++) {
    const int64_t c = (static_cast<int64_t>(v) * kThreads + lane) * 8;
    if (c >= n) continue;
    raw_x[v] = load_once(x + c);
    if (p.residual != nullptr) raw_residual[v] = load_once(residual + c);
  }
  // Few rows are a matter of latency: what does not wait for them is asked for and made at once. Many lack the registers.
  static_assert(!kEarly || kVectors == 1);
  RawVector8 raw_weight, raw_bias;
  PhiloxBlock random;
  if (kEarly && lane * 8 < n) {
    if (p.weight != nullptr) raw_weight = ask_vector8(p.weight, p.weight_type, lane * 8);
    if (p.bias != nullptr) raw_bias = ask_vector8(p.bias, p.weight_type, lane * 8);
    if (mask.threshold != 0) random = random_of(mask, row, lane);
  }
  float z[kVectors][8];
  float2 total = make_float2(0.0f, 0.0f);
#pragma unroll
  for (int v = 0; v < kVectors; v++) {
    const int64_t block = static_cast<int64_t>(v) * kThreads + lane;
    if (block * 8 >= n) {
#pragma unroll
      for (int i = 0; i < 8; i++) z[v][i] = 0.0f;
      continue;
    }
    unpack(raw_x[v], z[v]);
    if (p.shift != nullptr) {
      float other[8];
      load_vector8(p.shift, p.shift_type, block * 8, other);
#pragma unroll
      for (int i = 0; i < 8; i++) z[v][i] += other[i];
    }
    if (mask.threshold != 0) drop(mask, kEarly ? random : random_of(mask, row, block), z[v]);
    if (p.residual != nullptr) {
      float other[8];
      unpack(raw_residual[v], other);
#pragma unroll
      for (int i = 0; i < 8; i++) z[v][i] += other[i];
    }
    if (p.z != nullptr) {
      const Raw8<R> packed = pack<R>(z[v]);
      store8(static_cast<R*>(p.z) + row * n + block * 8, packed);
      unpack(packed, z[v]);
    } else {
      round_as<R>(z[v]);
    }
#pragma unroll
    for (int i = 0; i < 8; i++) total.x += z[v][i];
  }
  const float inverse = 1.0f / static_cast<float>(n);
  const float mean = p.rms ? 0.0f : block_sum<kWarps>(total, scratch[0]).x * inverse;
  float2 squares = make_float2(0.0f, 0.0f);
#pragma unroll
  for (int v = 0; v < kVectors; v++) {
    if ((static_cast<int64_t>(v) * kThreads + lane) * 8 >= n) continue;
#pragma unroll
    for (int i = 0; i < 8; i++) squares.x += (z[v][i] - mean) * (z[v][i] - mean);
  }
  const float rstd = rsqrtf(block_sum<kWarps>(squares, scratch[1]).x * inverse + p.epsilon);
  if (lane == 0) {
    if (!p.rms) p.mean[row] = mean;
    p.rstd[row] = rstd;
  }
#pragma unroll
  for (int v = 0; v < kVectors; v++) {
    const int64_t c = (static_cast<int64_t>(v) * kThreads + lane) * 8;
    if (c >= n) continue;
    float y[8], other[8];
#pragma unroll
    for (int i = 0; i < 8; i++) y[i] = (z[v][i] - mean) * rstd;
    if (p.weight != nullptr) {
      kEarly ? take_vector8(raw_weight, p.weight_type, other) : load_vector8(p.weight, p.weight_type, c, other);
#pragma unroll
      for (int i = 0; i < 8; i++) y[i] *= other[i];
    }
    if (p.bias != nullptr) {
      kEarly ? take_vector8(raw_bias, p.weight_type, other) : load_vector8(p.bias, p.weight_type, c, other);
#pragma unroll
      for (int i = 0; i < 8; i++) y[i] += other[i];
    }
    store8(static_cast<T*>(p.y) + row * n + c, pack<T>(y));
  }
}

// Any number of columns and any alignment: a block a row, which reads z again from where it wrote it.
template <class T, class R>
__global__ void __launch_bounds__(256) forward_any_kernel(const __grid_constant__ NormParams p, uint32_t threshold, float scale) {
  __shared__ float2 scratch[2][8];
  const int64_t n = p.columns, row = blockIdx.x;
  if (p.rng_used != nullptr && blockIdx.x == 0 && threadIdx.x < 2) p.rng_used[threadIdx.x] = p.rng[threadIdx.x];
  const Mask mask = mask_of(p, threshold, scale);
  const T* x = static_cast<const T*>(p.x) + row * n;
  const R* residual = static_cast<const R*>(p.residual) + (p.residual != nullptr ? row * n : 0);
  R* z = static_cast<R*>(p.z) + (p.z != nullptr ? row * n : 0);
  // Each thread takes groups of 8 columns, for dropout's sake.
  const auto value_at = [&](int64_t c) { return p.z != nullptr ? to_float(z[c]) : to_float(x[c]); };
  float2 total = make_float2(0.0f, 0.0f);
  for (int64_t block = threadIdx.x; block * 8 < n; block += 256) {
    float value[8];
#pragma unroll
    for (int i = 0; i < 8; i++) value[i] = block * 8 + i < n ? to_float(x[block * 8 + i]) + (p.shift != nullptr ? load_vector1(p.shift, p.shift_type, block * 8 + i) : 0.0f) : 0.0f;
    if (mask.threshold != 0) drop(mask, row, block, value);
#pragma unroll
    for (int i = 0; i < 8; i++) {
      const int64_t c = block * 8 + i;
      if (c >= n) continue;
      if (p.residual != nullptr) value[i] += to_float(residual[c]);
      const R stored = from_float<R>(value[i]);
      if (p.z != nullptr) z[c] = stored;
      total.x += to_float(stored);
    }
  }
  const float mean = p.rms ? 0.0f : block_sum<8>(total, scratch[0]).x / static_cast<float>(n);
  float2 squares = make_float2(0.0f, 0.0f);
  for (int64_t block = threadIdx.x; block * 8 < n; block += 256) {
    for (int64_t c = block * 8; c < n && c < block * 8 + 8; c++) {
      const float d = value_at(c) - mean;
      squares.x += d * d;
    }
  }
  const float rstd = rsqrtf(block_sum<8>(squares, scratch[1]).x / static_cast<float>(n) + p.epsilon);
  if (threadIdx.x == 0) {
    if (!p.rms) p.mean[row] = mean;
    p.rstd[row] = rstd;
  }
  for (int64_t block = threadIdx.x; block * 8 < n; block += 256) {
    for (int64_t c = block * 8; c < n && c < block * 8 + 8; c++) {
      float y = (value_at(c) - mean) * rstd;
      if (p.weight != nullptr) y *= load_vector1(p.weight, p.weight_type, c);
      if (p.bias != nullptr) y += load_vector1(p.bias, p.weight_type, c);
      static_cast<T*>(p.y)[row * n + c] = from_float<T>(y);
    }
  }
}

template <class T, class R>
void launch_forward(const NormParams& p) {
  const uint32_t threshold = dropout_threshold(p.p);
  const float scale = dropout_scale(p.p);
  const auto stream = stream_of(p);
  const auto rows = static_cast<unsigned>(p.rows);
  const int64_t n = p.columns;
  if (!vectorised(p) || n > 16384) {
    forward_any_kernel<T, R><<<rows, 256, 0, stream>>>(p, threshold, scale);
  } else if (n <= 256) {
    forward_kernel<T, R, 32, 1, 4><<<(rows + 3) / 4, 128, 0, stream>>>(p, threshold, scale);
  } else if (n <= 512) {
    forward_kernel<T, R, 32, 2, 4><<<(rows + 3) / 4, 128, 0, stream>>>(p, threshold, scale);
  } else if (n <= 1024 && p.rows <= kFewRows) {
    forward_kernel<T, R, 128, 1, 1, true><<<rows, 128, 0, stream>>>(p, threshold, scale);
  } else if (n <= 1024) {
    forward_kernel<T, R, 128, 1, 1><<<rows, 128, 0, stream>>>(p, threshold, scale);
  } else if (n <= 2048) {
    forward_kernel<T, R, 256, 1, 1><<<rows, 256, 0, stream>>>(p, threshold, scale);
  } else if (n <= 4096) {
    forward_kernel<T, R, 256, 2, 1><<<rows, 256, 0, stream>>>(p, threshold, scale);
  } else if (n <= 8192) {
    forward_kernel<T, R, 512, 2, 1><<<rows, 512, 0, stream>>>(p, threshold, scale);
  } else {
    forward_kernel<T, R, 1024, 2, 1><<<rows, 1024, 0, stream>>>(p, threshold, scale);
  }
}

template <class T>
void forward_of(const NormParams& p) { p.stream_type == p.type ? launch_forward<T, T>(p) : launch_forward<T, float>(p); }

}  // namespace

int norm_forward_cuda(const NormParams& p) {
  if (p.rows > 0x7fffffff) return cudaErrorInvalidValue;
  if (p.type == kBFloat16) {
    forward_of<bf16>(p);
  } else if (p.type == kFloat16) {
    forward_of<f16>(p);
  } else {
    launch_forward<float, float>(p);
  }
  return cudaGetLastError();
}

}  // namespace deepseek
