// A thread keeps eight columns and walks over rows with four of them in flight; neighbouring blocks work on neighbouring rows. Sums stay
// in registers, and a second kernel adds the blocks' shares in a fixed order, so results repeat bit for bit.
#include "linear/gradients.h"

#include "common/cuda_types.cuh"

namespace deepseek::linear {
namespace {

constexpr int kMost = 512, kFlight = 4;  // threads of a block; rows

__device__ __forceinline__ float gelu_slope(float x) {
  constexpr float kScale = 2 * 0.79788456080286536f, kCube = 0.044715f;
  const float s = __fdividef(1.0f, 1.0f + __expf(-kScale * (x + kCube * x * x * x)));
  return s + x * s * (1.0f - s) * kScale * (1.0f + 3.0f * kCube * x * x);
}

template <class T, bool kGelu>
__global__ void __launch_bounds__(kMost) column_kernel(const __grid_constant__ ColumnSums p) {
  const int64_t c = (static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x) * 8;
  if (c >= p.columns) return;
  const auto* source = static_cast<const T*>(p.source[c / p.part]) + c % p.part;
  const auto* kept = static_cast<const T*>(p.kept) + c;
  auto* out = static_cast<T*>(p.out) + c;
  const int64_t step = gridDim.x;
  float sum[8] = {};
  for (int64_t row = blockIdx.x; row < p.rows; row += kFlight * step) {
    Raw8<T> raw[kFlight], before[kFlight];
#pragma unroll
    for (int i = 0; i < kFlight; i++) {
      const int64_t r = row + i * step;
      if (r >= p.rows) continue;
      raw[i] = load_once(source + r * p.part);
      if (kGelu) before[i] = load_once(kept + r * p.columns);
    }
#pragma unroll
    for (int i = 0; i < kFlight; i++) {
      const int64_t r = row + i * step;
      if (r >= p.rows) continue;
      float value[8], x[8];
      unpack(raw[i], value);
      if (kGelu) {
        unpack(before[i], x);
#pragma unroll
        for (int l = 0; l < 8; l++) value[l] *= gelu_slope(x[l]);
      }
      if (p.out != nullptr) store8(out + r * p.columns, kGelu ? pack<T>(value) : raw[i]);
#pragma unroll
      for (int l = 0; l < 8; l++) sum[l] += value[l];
    }
  }
  store8(p.partial + blockIdx.x * p.columns + c, pack<float>(sum));
}

// The blocks' shares of one column.
__global__ void __launch_bounds__(256) join_kernel(const __grid_constant__ ColumnSums p) {
  __shared__ float sums[8][33];
  const int column = threadIdx.x % 32, group = threadIdx.x / 32;
  const int64_t c = static_cast<int64_t>(blockIdx.x) * 32 + column;
  float total = 0.0f;
  if (c < p.columns) {
#pragma unroll 4
    for (int64_t i = group; i < p.partials; i += 8) total += p.partial[i * p.columns + c];
  }
  sums[group][column] = total;
  __syncthreads();
  if (group != 0 || c >= p.columns) return;
  for (int i = 1; i < 8; i++) total += sums[i][column];
  store_vector1(p.sum, p.type, c, total);
}

int64_t threads_of(int64_t columns) {
  const int64_t wanted = (columns / 8 + 31) / 32 * 32;
  return wanted < kMost ? wanted : kMost;
}

template <class T>
void launch(const ColumnSums& p) {
  const auto stream = static_cast<cudaStream_t>(p.stream);
  const auto threads = static_cast<unsigned>(threads_of(p.columns));
  const dim3 grid(static_cast<unsigned>(p.partials), static_cast<unsigned>((p.columns / 8 + threads - 1) / threads));
  if (p.kept != nullptr) {
    column_kernel<T, true><<<grid, threads, 0, stream>>>(p);
  } else {
    column_kernel<T, false><<<grid, threads, 0, stream>>>(p);
  }
  join_kernel<<<static_cast<unsigned>((p.columns + 31) / 32), 256, 0, stream>>>(p);
}

}  // namespace

// About 768 threads a multiprocessor in all, each with two flights of rows at least.
int64_t column_partials_cuda(int64_t rows, int64_t columns) {
  const int64_t threads = threads_of(columns), tiles = (columns / 8 + threads - 1) / threads;
  const int64_t each = 768 / (threads * tiles), wanted = multiprocessors() * (each < 1 ? 1 : each), most = rows / (2 * kFlight);
  return most < 1 ? 1 : wanted < most ? wanted : most;
}

int column_sums_cuda(const ColumnSums& p) {
  if (p.type == kBFloat16) {
    launch<bf16>(p);
  } else if (p.type == kFloat16) {
    launch<f16>(p);
  } else {
    launch<float>(p);
  }
  return cudaGetLastError();
}

}  // namespace deepseek::linear
