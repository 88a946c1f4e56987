// Backward: a pass that reads gradient and x and sums g and g·(x − mean) of each channel, g being the gradient that ReLU let
// through; a small kernel that puts the shares together; and a pass that reads both again and writes
// dx = (g − mean(g) − x̂ · mean(g · x̂)) · rstd · weight. With a residual the first pass writes g, its gradient, and the second reads it.
#include "batch_norm/batch_norm_cuda.cuh"

namespace deepseek {
namespace {

constexpr int kGroupsInFlight = 2, kReduceResident = 3, kApplyResident = 3;

// What ReLU did to the gradient: nothing, is found again from x, or was kept as bits.
enum class Mask { kNone, kFromX, kBits };

template <class T, Mask kMask, bool kOther>
__global__ void __launch_bounds__(kThreads, kReduceResident) sums_kernel(const __grid_constant__ BatchNormParams p, int tx, int ty, int64_t tiles) {
  constexpr int kUnroll = unrolled<T>(kGroupsInFlight);
  const Place at = place_of(p, tx, ty);
  const T* x = static_cast<const T*>(p.x) + at.column;
  const T* dy = static_cast<const T*>(p.dy) + at.column;
  const T* second = kOther ? static_cast<const T*>(p.other) + at.column : nullptr;
  float sum[8], product[8];
#pragma unroll
  for (int i = 0; i < 8; i++) sum[i] = product[i] = 0.0f;
  if (at.active) {
    float mean[8], scale[8], bias[8];
    load_scale(p, at.column, mean, scale);
    load_floats(p.bias + at.column, bias);
    for (int64_t tile = tiles - 1 - blockIdx.x; tile >= 0; tile -= gridDim.x) {
      const int64_t row = tile * ty * kUnroll + at.row;
      Raw8<T> raw_x[kUnroll], raw_g[kUnroll], raw_other[kUnroll];
      unsigned bits[kUnroll];
#pragma unroll
      for (int u = 0; u < kUnroll; u++) {
        const int64_t offset = (row + u * ty) * p.columns;
        if (row + u * ty >= p.rows) continue;
        raw_x[u] = load_once(x + offset);
        raw_g[u] = load_once(dy + offset);
        if (kOther) raw_other[u] = load_once(second + offset);
        if (kMask == Mask::kBits) bits[u] = p.mask[(offset + at.column) / 8];
      }
#pragma unroll
      for (int u = 0; u < kUnroll; u++) {
        if (row + u * ty >= p.rows) continue;
        float g[8], d[8];
        unpack(raw_g[u], g);
        unpack(raw_x[u], d);
        if (kOther) {
          float more[8];
          unpack(raw_other[u], more);
#pragma unroll
          for (int i = 0; i < 8; i++) g[i] += more[i];
        }
        if (kMask == Mask::kBits) {
#pragma unroll
          for (int i = 0; i < 8; i++) g[i] = (bits[u] >> i & 1u) != 0 ? g[i] : 0.0f;
          const Raw8<T> kept = pack<T>(g);
          store8(static_cast<T*>(p.dresidual) + at.column + (row + u * ty) * p.columns, kept);
          unpack(kept, g);
        }
#pragma unroll
        for (int i = 0; i < 8; i++) {
          d[i] -= mean[i];
          if (kMask == Mask::kFromX) g[i] = fmaf(d[i], scale[i], bias[i]) <= 0.0f ? 0.0f : g[i];
          sum[i] += g[i];
          product[i] = fmaf(g[i], d[i], product[i]);
        }
      }
    }
  }
  const int64_t first = static_cast<int64_t>(blockIdx.y) * tx * 8;
  float* share = p.partial + static_cast<int64_t>(blockIdx.x) * 2 * p.columns;
  reduce_block(sum, product, tx, ty, [&](int vector, int i, float a, float b) {
    const int64_t column = first + vector * 8 + i;
    if (column >= p.columns) return;
    share[column] = a;
    share[p.columns + column] = b;
  });
}

constexpr int kGroups = 32;
__global__ void __launch_bounds__(32 * kGroups) finish_sums_kernel(const __grid_constant__ BatchNormParams p) {
  __shared__ double sums[2][kGroups][33];
  const int lane = threadIdx.x % 32, group = threadIdx.x / 32;
  const int64_t column = static_cast<int64_t>(blockIdx.x) * 32 + lane;
  double total = 0, product = 0;
  if (column < p.columns) {
#pragma unroll 4
    for (int64_t share = group; share < p.partials; share += kGroups) {
      total += p.partial[share * 2 * p.columns + column];
      product += p.partial[(share * 2 + 1) * p.columns + column];
    }
  }
  sums[0][group][lane] = total;
  sums[1][group][lane] = product;
  __syncthreads();
  if (group != 0 || column >= p.columns) return;
  for (int i = 1; i < kGroups; i++) {
    total += sums[0][i][lane];
    product += sums[1][i][lane];
  }
  const double rstd = p.training ? p.spread[column] : 1 / sqrt(p.spread[column] + p.epsilon), scale = rstd * p.weight[column];
  if (p.dweight != nullptr) p.dweight[column] = static_cast<float>(product * rstd);
  if (p.dbias != nullptr) p.dbias[column] = static_cast<float>(total);
  // dx = scale · g + first · (x − mean) + second; running statistics do not depend on x.
  p.coefficients[column] = p.training ? static_cast<float>(-scale * rstd * rstd * product / static_cast<double>(p.rows)) : 0.0f;
  p.coefficients[p.columns + column] = p.training ? static_cast<float>(-scale * total / static_cast<double>(p.rows)) : 0.0f;
}

template <class T, bool kMasked>
__global__ void __launch_bounds__(kThreads, kApplyResident) gradient_kernel(const __grid_constant__ BatchNormParams p, const void* gradient, int tx, int ty, int64_t tiles) {
  constexpr int kUnroll = unrolled<T>(kGroupsInFlight);
  const Place at = place_of(p, tx, ty);
  if (!at.active) return;
  const T* x = static_cast<const T*>(p.x) + at.column;
  const T* dy = static_cast<const T*>(gradient) + at.column;
  T* dx = static_cast<T*>(p.dx) + at.column;
  float mean[8], scale[8], bias[8], slope[8], constant[8];
  load_scale(p, at.column, mean, scale);
  if (kMasked) load_floats(p.bias + at.column, bias);
  load_floats(p.coefficients + at.column, slope);
  load_floats(p.coefficients + p.columns + at.column, constant);
  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const int64_t row = tile * ty * kUnroll + at.row;
    Raw8<T> raw_x[kUnroll], raw_g[kUnroll];
#pragma unroll
    for (int u = 0; u < kUnroll; u++) {
      const int64_t offset = (row + u * ty) * p.columns;
      if (row + u * ty >= p.rows) continue;
      raw_x[u] = load_last(x + offset);
      raw_g[u] = load_last(dy + offset);
    }
#pragma unroll
    for (int u = 0; u < kUnroll; u++) {
      if (row + u * ty >= p.rows) continue;
      float g[8], d[8];
      unpack(raw_g[u], g);
      unpack(raw_x[u], d);
#pragma unroll
      for (int i = 0; i < 8; i++) {
        d[i] -= mean[i];
        if (kMasked) g[i] = fmaf(d[i], scale[i], bias[i]) <= 0.0f ? 0.0f : g[i];
        g[i] = fmaf(g[i], scale[i], fmaf(d[i], slope[i], constant[i]));
      }
      store8(dx + (row + u * ty) * p.columns, pack<T>(g));
    }
  }
}

template <class T>
Walk sums_walk(const BatchNormParams& p) { return walk_of(p.rows, p.columns, unrolled<T>(kGroupsInFlight), kReduceResident); }

template <class T>
void backward_of(const BatchNormParams& p) {
  const auto stream = stream_of(p);
  const Walk sums = sums_walk<T>(p);
  const auto launch = [&](auto kernel) { kernel<<<sums.grid(), sums.threads(), 0, stream>>>(p, sums.tx, sums.ty, sums.tiles); };
  const bool masked = p.relu && p.mask == nullptr;
  if (p.mask != nullptr) {
    p.other != nullptr ? launch(sums_kernel<T, Mask::kBits, true>) : launch(sums_kernel<T, Mask::kBits, false>);
  } else {
    masked ? launch(sums_kernel<T, Mask::kFromX, false>) : launch(sums_kernel<T, Mask::kNone, false>);
  }
  finish_sums_kernel<<<static_cast<unsigned>((p.columns + 31) / 32), 32 * kGroups, 0, stream>>>(p);
  if (p.dx == nullptr) return;
  const Walk walk = walk_of(p.rows, p.columns, unrolled<T>(kGroupsInFlight), kApplyResident);
  const void* gradient = p.mask != nullptr ? p.dresidual : p.dy;
  if (masked) {
    gradient_kernel<T, true><<<walk.grid(), walk.threads(), 0, stream>>>(p, gradient, walk.tx, walk.ty, walk.tiles);
  } else {
    gradient_kernel<T, false><<<walk.grid(), walk.threads(), 0, stream>>>(p, gradient, walk.tx, walk.ty, walk.tiles);
  }
}

}  // namespace

int64_t batch_norm_gradient_partials_cuda(const BatchNormParams& p) { return (p.type == kFloat32 ? sums_walk<float>(p) : sums_walk<bf16>(p)).blocks; }

int batch_norm_backward_cuda(const BatchNormParams& p) {
  if (p.type == kBFloat16) {
    backward_of<bf16>(p);
  } else if (p.type == kFloat16) {
    backward_of<f16>(p);
  } else {
    backward_of<float>(p);
  }
  return cudaGetLastError();
}

}  // namespace deepseek
