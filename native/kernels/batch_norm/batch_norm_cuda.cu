// Forward: a pass that reads x for the statistics, a small kernel that puts the shares together, and a pass that reads x (and
// the residual) again and writes y. Without training only the last.
#include "batch_norm/batch_norm_cuda.cuh"

namespace deepseek {
namespace {

constexpr int kStatisticsUnroll = 4, kApplyUnroll = 4, kResident = 4;

template <class T>
__global__ void __launch_bounds__(kThreads, kResident) statistics_kernel(const __grid_constant__ BatchNormParams p, int tx, int ty, int64_t tiles) {
  constexpr int kUnroll = unrolled<T>(kStatisticsUnroll);
  const Place at = place_of(p, tx, ty);
  const T* x = static_cast<const T*>(p.x) + at.column;
  const int64_t step = static_cast<int64_t>(ty) * kUnroll, start = (tiles - 1 - blockIdx.x) * step;
  float centre[8], sum[8], squares[8];
#pragma unroll
  for (int i = 0; i < 8; i++) centre[i] = sum[i] = squares[i] = 0.0f;
  if (at.active) {
    unpack(load_own(x + start * p.columns), centre);
    for (int64_t tile = tiles - 1 - blockIdx.x; tile >= 0; tile -= gridDim.x) {
      const int64_t row = tile * step + at.row;
      Raw8<T> raw[kUnroll];
#pragma unroll
      for (int u = 0; u < kUnroll; u++) {
        if (row + u * ty < p.rows) raw[u] = load_once(x + (row + u * ty) * p.columns);
      }
#pragma unroll
      for (int u = 0; u < kUnroll; u++) {
        if (row + u * ty >= p.rows) continue;
        float value[8];
        unpack(raw[u], value);
#pragma unroll
        for (int i = 0; i < 8; i++) {
          const float d = value[i] - centre[i];
          sum[i] += d;
          squares[i] = fmaf(d, d, squares[i]);
        }
      }
    }
  }
  // Rows of this block: all its tiles are whole but for the last of the matrix, which block 0 has.
  const int64_t mine = (tiles - 1 - blockIdx.x) / gridDim.x + 1;
  const int64_t count = mine * step - (blockIdx.x == 0 ? tiles * step - p.rows : 0);
  const int64_t first = static_cast<int64_t>(blockIdx.y) * tx * 8;
  float* share = p.partial + static_cast<int64_t>(blockIdx.x) * 2 * p.columns;
  reduce_block(sum, squares, tx, ty, [&](int vector, int i, float a, float b) {
    const int64_t column = first + vector * 8 + i;
    if (column >= p.columns) return;
    const float inverse = 1.0f / static_cast<float>(count);
    const float shift = to_float(static_cast<const T*>(p.x)[start * p.columns + column]);
    share[column] = shift + a * inverse;
    share[p.columns + column] = fmaxf(b - a * a * inverse, 0.0f);
  });
}

// Shares to mean and deviation. 32 channels a block; the order of additions is fixed.
constexpr int kGroups = 32;
__global__ void __launch_bounds__(32 * kGroups) finish_statistics_kernel(const __grid_constant__ BatchNormParams p, int64_t step, int64_t tiles) {
  __shared__ double sums[2][kGroups][33];
  const int lane = threadIdx.x % 32, group = threadIdx.x / 32;
  const int64_t column = static_cast<int64_t>(blockIdx.x) * 32 + lane;
  const int64_t each = tiles / p.partials, rest = tiles % p.partials;
  double total = 0, squares = 0;
  if (column < p.columns) {
#pragma unroll 4
    for (int64_t share = group; share < p.partials; share += kGroups) {
      const double count = static_cast<double>((each + (share < rest ? 1 : 0)) * step - (share == 0 ? tiles * step - p.rows : 0));
      const double mean = p.partial[share * 2 * p.columns + column], deviation = p.partial[(share * 2 + 1) * p.columns + column];
      total += count * mean;
      squares += deviation + count * mean * mean;
    }
  }
  sums[0][group][lane] = total;
  sums[1][group][lane] = squares;
  __syncthreads();
  if (group != 0 || column >= p.columns) return;
  for (int i = 1; i < kGroups; i++) {
    total += sums[0][i][lane];
    squares += sums[1][i][lane];
  }
  const double count = static_cast<double>(p.rows), mean = total / count;
  double deviation = squares - total * mean;
  deviation = deviation > 0 ? deviation : deviation == deviation ? 0 : deviation;
  p.mean[column] = static_cast<float>(mean);
  p.spread[column] = static_cast<float>(1 / sqrt(deviation / count + p.epsilon));
  if (p.running_mean != nullptr) p.running_mean[column] = static_cast<float>((1 - p.momentum) * p.running_mean[column] + p.momentum * mean);
  if (p.running_variance != nullptr) p.running_variance[column] = static_cast<float>((1 - p.momentum) * p.running_variance[column] + p.momentum * (deviation / (count - 1)));
}

template <class T, bool kResidual>
__global__ void __launch_bounds__(kThreads, kResident) apply_kernel(const __grid_constant__ BatchNormParams p, int tx, int ty, int64_t tiles) {
  constexpr int kUnroll = unrolled<T>(kResidual ? kApplyUnroll / 2 : kApplyUnroll);
  const Place at = place_of(p, tx, ty);
  if (!at.active) return;
  const T* x = static_cast<const T*>(p.x) + at.column;
  const T* residual = static_cast<const T*>(p.residual) + (kResidual ? at.column : 0);
  T* y = static_cast<T*>(p.y) + at.column;
  float mean[8], scale[8], bias[8];
  load_scale(p, at.column, mean, scale);
  load_floats(p.bias + at.column, bias);
  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const int64_t row = tile * ty * kUnroll + at.row;
    Raw8<T> raw[kUnroll], added[kUnroll];
#pragma unroll
    for (int u = 0; u < kUnroll; u++) {
      const int64_t offset = (row + u * ty) * p.columns;
      if (row + u * ty >= p.rows) continue;
      raw[u] = load_last(x + offset);
      if (kResidual) added[u] = load_last(residual + offset);
    }
#pragma unroll
    for (int u = 0; u < kUnroll; u++) {
      if (row + u * ty >= p.rows) continue;
      float value[8];
      unpack(raw[u], value);
#pragma unroll
      for (int i = 0; i < 8; i++) value[i] = fmaf(value[i] - mean[i], scale[i], bias[i]);
      if (kResidual) {
        float other[8];
        unpack(added[u], other);
        unsigned bits = 0;
#pragma unroll
        for (int i = 0; i < 8; i++) {
          value[i] += other[i];
          bits |= (value[i] <= 0.0f ? 0u : 1u) << i;
        }
        if (p.mask != nullptr) p.mask[((row + u * ty) * p.columns + at.column) / 8] = static_cast<uint8_t>(bits);
      }
      if (p.relu) {
#pragma unroll
        for (int i = 0; i < 8; i++) value[i] = value[i] <= 0.0f ? 0.0f : value[i];
      }
      store8(y + (row + u * ty) * p.columns, pack<T>(value));
    }
  }
}

template <class T>
Walk statistics_walk(const BatchNormParams& p) { return walk_of(p.rows, p.columns, unrolled<T>(kStatisticsUnroll), kResident); }

template <class T, bool kResidual>
void apply(const BatchNormParams& p) {
  const Walk walk = walk_of(p.rows, p.columns, unrolled<T>(kResidual ? kApplyUnroll / 2 : kApplyUnroll), kResident);
  apply_kernel<T, kResidual><<<walk.grid(), walk.threads(), 0, stream_of(p)>>>(p, walk.tx, walk.ty, walk.tiles);
}

template <class T>
void forward_of(const BatchNormParams& p) {
  if (p.training) {
    const Walk walk = statistics_walk<T>(p);
    const int64_t step = static_cast<int64_t>(walk.ty) * unrolled<T>(kStatisticsUnroll);
    statistics_kernel<T><<<walk.grid(), walk.threads(), 0, stream_of(p)>>>(p, walk.tx, walk.ty, walk.tiles);
    finish_statistics_kernel<<<static_cast<unsigned>((p.columns + 31) / 32), 32 * kGroups, 0, stream_of(p)>>>(p, step, walk.tiles);
  }
  p.residual != nullptr ? apply<T, true>(p) : apply<T, false>(p);
}

}  // namespace

int64_t batch_norm_partials_cuda(const BatchNormParams& p) { return (p.type == kFloat32 ? statistics_walk<float>(p) : statistics_walk<bf16>(p)).blocks; }

int batch_norm_forward_cuda(const BatchNormParams& p) {
  if (p.type == kBFloat16) {
    forward_of<bf16>(p);
  } else if (p.type == kFloat16) {
    forward_of<f16>(p);
  } else {
    forward_of<float>(p);
  }
  return cudaGetLastError();
}

}  // namespace deepseek
