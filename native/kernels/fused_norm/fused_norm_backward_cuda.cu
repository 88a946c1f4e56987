// Blocks stay on the device, walk over rows and keep their share of dweight and dbias in registers; a second kernel adds the
// shares in a fixed order, so results repeat bit for bit. On Hopper the copy engine brings rows into shared memory some
// rows ahead; elsewhere, and for rows too long for that, the next row's loads are in flight while a row is worked on.
#include "fused_norm/fused_norm_cuda.cuh"

#include "common/hopper.cuh"

namespace deepseek {
namespace {

// A row as it lies in memory, and what a thread keeps over all its rows.
template <class T, class R, int kVectors>
struct GradientLoads {
  Raw8<T> dy[kVectors];
  Raw8<R> z[kVectors], dz[kVectors];
};

template <int kVectors>
struct Shares {
  float weight[kVectors][8], dweight[kVectors][8], dbias[kVectors][8], dshift[kVectors][8];
};

template <int kThreads>
__device__ __forceinline__ int64_t column_of(int v) { return (static_cast<int64_t>(v) * kThreads + threadIdx.x) * 8; }

template <int kThreads, int kVectors>
__device__ __forceinline__ void begin(const NormParams& p, Shares<kVectors>& shares) {
#pragma unroll
  for (int v = 0; v < kVectors; v++) {
    const int64_t c = column_of<kThreads>(v);
#pragma unroll
    for (int i = 0; i < 8; i++) {
      shares.weight[v][i] = 1.0f;
      shares.dweight[v][i] = shares.dbias[v][i] = shares.dshift[v][i] = 0.0f;
    }
    if (p.weight != nullptr && c < p.columns) load_vector8(p.weight, p.weight_type, c, shares.weight[v]);
  }
}

// Mean and inverse deviation; asked for a row ahead, for nothing can begin without them.
__device__ __forceinline__ float2 statistics(const NormParams& p, int64_t row) {
  return row < p.rows ? make_float2(p.rms ? 0.0f : __ldg(p.mean + row), __ldg(p.rstd + row)) : make_float2(0.0f, 0.0f);
}

// The row's terms of dweight and dbias, and its two sums; g becomes dy · weight, x the normalised row.
template <class T, class R, int kThreads, int kVectors>
__device__ __forceinline__ float2 weigh(const NormParams& p, const GradientLoads<T, R, kVectors>& row, float2 statistics, Shares<kVectors>& shares, float (&g)[kVectors][8], float (&x)[kVectors][8]) {
  float2 sums = make_float2(0.0f, 0.0f);
#pragma unroll
  for (int v = 0; v < kVectors; v++) {
    if (column_of<kThreads>(v) >= p.columns) continue;
    unpack(row.dy[v], g[v]);
    unpack(row.z[v], x[v]);
#pragma unroll
    for (int i = 0; i < 8; i++) {
      x[v][i] = (x[v][i] - statistics.x) * statistics.y;
      shares.dbias[v][i] += g[v][i];
      shares.dweight[v][i] += g[v][i] * x[v][i];
      g[v][i] *= shares.weight[v][i];
      sums.x += g[v][i];
      sums.y += g[v][i] * x[v][i];
    }
  }
  return sums;
}

// The row's results from its sums.
template <class T, class R, int kThreads, int kVectors, bool kShift>
__device__ __forceinline__ void finish(const NormParams& p, const Mask& mask, int64_t row, float2 sums, float rstd, const Raw8<R> (&dz)[kVectors], Shares<kVectors>& shares, float (&g)[kVectors][8],
                                       const float (&x)[kVectors][8]) {
  const float inverse = 1.0f / static_cast<float>(p.columns), c1 = p.rms ? 0.0f : sums.x * inverse, c2 = sums.y * inverse;
#pragma unroll
  for (int v = 0; v < kVectors; v++) {
    const int64_t c = column_of<kThreads>(v), at = row * p.columns + c;
    if (c >= p.columns) continue;
#pragma unroll
    for (int i = 0; i < 8; i++) g[v][i] = (g[v][i] - c1 - x[v][i] * c2) * rstd;
    if (p.dz != nullptr) {
      float other[8];
      unpack(dz[v], other);
#pragma unroll
      for (int i = 0; i < 8; i++) g[v][i] += other[i];
    }
    if (p.dresidual != nullptr) store8(static_cast<R*>(p.dresidual) + at, pack<R>(g[v]));
    if (mask.threshold != 0 && (p.dx != nullptr || kShift)) drop(mask, row, c / 8, g[v]);
    if (p.dx != nullptr) store8(static_cast<T*>(p.dx) + at, pack<T>(g[v]));
    if (kShift) {
#pragma unroll
      for (int i = 0; i < 8; i++) shares.dshift[v][i] += g[v][i];
    }
  }
}

template <int kThreads, int kVectors, bool kShift>
__device__ __forceinline__ void end(const NormParams& p, const Shares<kVectors>& shares) {
  if (p.partial == nullptr) return;
#pragma unroll
  for (int v = 0; v < kVectors; v++) {
    const int64_t c = column_of<kThreads>(v);
    if (c >= p.columns) continue;
    float* share = p.partial + static_cast<int64_t>(blockIdx.x) * 3 * p.columns;
    store8(share + c, pack<float>(shares.dweight[v]));
    store8(share + p.columns + c, pack<float>(shares.dbias[v]));
    if (kShift) store8(share + 2 * p.columns + c, pack<float>(shares.dshift[v]));
  }
}

template <class T, class R, int kThreads, int kVectors>
__device__ __forceinline__ void fetch(const NormParams& p, int64_t row, GradientLoads<T, R, kVectors>& loads) {
#pragma unroll
  for (int v = 0; v < kVectors; v++) {
    const int64_t c = column_of<kThreads>(v), at = row * p.columns + c;
    if (c >= p.columns || row >= p.rows) continue;
    loads.dy[v] = load_once(static_cast<const T*>(p.dy) + at);
    loads.z[v] = load_once(static_cast<const R*>(p.z) + at);
    if (p.dz != nullptr) loads.dz[v] = load_once(static_cast<const R*>(p.dz) + at);
  }
}

// Any device: the next row's loads wait in registers.
template <class T, class R, int kThreads, int kBlocks, bool kShift>
__global__ void __launch_bounds__(kThreads, kThreads <= 128 ? kBlocks : 1) backward_kernel(const __grid_constant__ NormParams p, uint32_t threshold, float scale) {
  constexpr int kWarps = kThreads / 32;
  __shared__ float2 scratch[2][kWarps];
  const Mask mask = mask_of(p, threshold, scale);
  Shares<1> shares;
  begin<kThreads>(p, shares);
  float2 next_statistics = statistics(p, blockIdx.x);
  GradientLoads<T, R, 1> next;
  fetch<T, R, kThreads>(p, blockIdx.x, next);
  int parity = 0;
  for (int64_t row = blockIdx.x; row < p.rows; row += gridDim.x, parity ^= 1) {
    const GradientLoads<T, R, 1> now = next;
    const float2 of_row = next_statistics;
    fetch<T, R, kThreads>(p, row + gridDim.x, next);
    next_statistics = statistics(p, row + gridDim.x);
    float g[1][8], x[1][8];
    const float2 sums = block_sum<kWarps>(weigh<T, R, kThreads>(p, now, of_row, shares, g, x), scratch[parity]);
    finish<T, R, kThreads, 1, kShift>(p, mask, row, sums, of_row.y, now.dz, shares, g, x);
  }
  end<kThreads, 1, kShift>(p, shares);
}

constexpr int kStages = 3;

template <class T>
__device__ __forceinline__ Raw8<T> load_shared(const uint8_t* row, int64_t c) {
  Raw8<T> raw;
#pragma unroll
  for (int i = 0; i < static_cast<int>(sizeof(T)) / 2; i++) raw.part[i] = reinterpret_cast<const uint4*>(row + c * sizeof(T))[i];
  return raw;
}

// Hopper and later: the copy engine brings the rows of dy, z and dz into shared memory, `stages` rows ahead of use.
template <class T, class R, int kThreads, int kBlocks, bool kShift>
__global__ void __launch_bounds__(kThreads, kBlocks) staged_kernel(const __grid_constant__ NormParams p, uint32_t threshold, float scale, int stages) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  constexpr int kWarps = kThreads / 32;
  extern __shared__ __align__(128) uint8_t memory[];
  __shared__ uint64_t full[kStages];
  __shared__ float2 scratch[2][kWarps];
  const Mask mask = mask_of(p, threshold, scale);
  const int64_t n = p.columns, c = column_of<kThreads>(0);
  const auto bytes_t = static_cast<uint32_t>(n * sizeof(T)), bytes_r = static_cast<uint32_t>(n * sizeof(R)), stage = bytes_t + (p.dz != nullptr ? 2 : 1) * bytes_r;
  if (threadIdx.x == 0) {
    for (int i = 0; i < stages; i++) hopper::barrier_init(&full[i], 1);
    hopper::barrier_init_fence();
  }
  __syncthreads();
  const auto order = [&](int64_t row, int slot) {
    if (row >= p.rows) return;
    uint8_t* to = memory + slot * stage;
    hopper::barrier_expect(&full[slot], stage);
    hopper::copy_bytes(to, static_cast<const T*>(p.dy) + row * n, bytes_t, &full[slot]);
    hopper::copy_bytes(to + bytes_t, static_cast<const R*>(p.z) + row * n, bytes_r, &full[slot]);
    if (p.dz != nullptr) hopper::copy_bytes(to + bytes_t + bytes_r, static_cast<const R*>(p.dz) + row * n, bytes_r, &full[slot]);
  };
  if (threadIdx.x == 0) {
    for (int i = 0; i < stages; i++) order(blockIdx.x + static_cast<int64_t>(i) * gridDim.x, i);
  }
  Shares<1> shares;
  begin<kThreads>(p, shares);
  float2 next_statistics = statistics(p, blockIdx.x);
  int parity = 0, slot = 0;
  uint32_t phase = 0;
  for (int64_t row = blockIdx.x; row < p.rows; row += gridDim.x, parity ^= 1) {
    const float2 of_row = next_statistics;
    next_statistics = statistics(p, row + gridDim.x);
    hopper::barrier_wait(&full[slot], phase);
    const uint8_t* from = memory + slot * stage;
    GradientLoads<T, R, 1> now;
    if (c < n) {
      now.dy[0] = load_shared<T>(from, c);
      now.z[0] = load_shared<R>(from + bytes_t, c);
      if (p.dz != nullptr) now.dz[0] = load_shared<R>(from + bytes_t + bytes_r, c);
    }
    float g[1][8], x[1][8];
    const float2 sums = block_sum<kWarps>(weigh<T, R, kThreads>(p, now, of_row, shares, g, x), scratch[parity]);
    // Every thread has read its part of the row, for all have met in the sum: the slot is free.
    if (threadIdx.x == 0) order(row + static_cast<int64_t>(stages) * gridDim.x, slot);
    if (++slot == stages) slot = 0, phase ^= 1;
    finish<T, R, kThreads, 1, kShift>(p, mask, row, sums, of_row.y, now.dz, shares, g, x);
  }
  end<kThreads, 1, kShift>(p, shares);
#endif
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

// Adds the shares of 32 columns of dweight (blockIdx.y 0), dbias (1) or dshift (2), always in the same order.
__global__ void __launch_bounds__(1024) reduce_kernel(const __grid_constant__ NormParams p) {
  __shared__ float sums[32][33];
  const int column = threadIdx.x % 32, group = threadIdx.x / 32;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * 32, c = first + column;
  void* out = blockIdx.y == 0 ? p.dweight : blockIdx.y == 1 ? p.dbias : p.dshift;
  if (out == nullptr) return;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");  // launched before the shares are complete
#endif
  float total = 0.0f;
  if (c < p.columns) {
    const float* share = p.partial + blockIdx.y * p.columns + c;
#pragma unroll 8
    for (int64_t i = group; i < p.partials; i += 32) total += __ldcg(share + i * 3 * p.columns);
  }
  sums[group][column] = total;
  __syncthreads();
  total = sums[column][group];
#pragma unroll
  for (int step = 16; step > 0; step /= 2) total += __shfl_xor_sync(0xffffffffu, total, step);
  if (column == 0 && first + group < p.columns) store_vector1(out, blockIdx.y == 2 ? p.shift_type : p.weight_type, first + group, total);
}

// How a row of so many columns is spread: threads of a block, and blocks that a multiprocessor is to hold.
struct Shape {
  int threads, blocks, stages;  // threads 0: any columns; stages 0: without the copy engine
  int bytes;                    // shared memory of a block
};

int size_of(int type) { return type == kFloat32 ? 4 : 2; }

Shape shape_of(const NormParams& p) {
  const int64_t n = p.columns;
  if (!vectorised(p) || n > 8192) return {0, 1, 0, 0};
  if (n <= 256) return {32, 16, 0, 0};
  Shape shape = n <= 1024 ? Shape{128, 5, 0, 0} : n <= 2048 ? Shape{256, 3, 0, 0} : n <= 4096 ? Shape{512, 2, 0, 0} : Shape{1024, 1, 0, 0};
  constexpr int64_t kShared = 216 * 1024;
  const int64_t stage = n * (size_of(p.type) + (p.dz != nullptr ? 2 : 1) * size_of(p.stream_type)), fit = kShared / shape.blocks / stage;
  if (on_hopper() && fit >= 2) {
    shape.stages = static_cast<int>(fit < kStages ? fit : kStages);
    shape.bytes = static_cast<int>(stage) * shape.stages;
  } else if (n > 1024) {
    shape.blocks = n <= 2048 ? 2 : 1;  // rows in registers take twice as many of them
  }
  return shape;
}

template <class T, class R, int kThreads, int kBlocks, bool kShift>
int launch_rows(const NormParams& p, const Shape& shape) {
  const auto blocks = static_cast<unsigned>(p.partials);
  if constexpr (kThreads > 32) {
    if (shape.stages > 0) {
      const auto kernel = staged_kernel<T, R, kThreads, kBlocks, kShift>;
      const auto status = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shape.bytes);
      if (status == cudaSuccess) kernel<<<blocks, kThreads, shape.bytes, stream_of(p)>>>(p, dropout_threshold(p.p), dropout_scale(p.p), shape.stages);
      return status;
    }
  }
  backward_kernel<T, R, kThreads, kBlocks, kShift><<<blocks, kThreads, 0, stream_of(p)>>>(p, dropout_threshold(p.p), dropout_scale(p.p));
  return cudaSuccess;
}

template <class T, class R, bool kShift>
int launch_shape(const NormParams& p) {
  const Shape shape = shape_of(p);
  switch (shape.threads) {
    case 32: return launch_rows<T, R, 32, 16, kShift>(p, shape);
    case 128: return launch_rows<T, R, 128, 5, kShift>(p, shape);
    case 256: return launch_rows<T, R, 256, 3, kShift>(p, shape);
    case 512: return launch_rows<T, R, 512, 2, kShift>(p, shape);
    case 1024: return launch_rows<T, R, 1024, 1, kShift>(p, shape);
    default: break;
  }
  backward_any_kernel<T, R><<<static_cast<unsigned>(p.partials), 256, 0, stream_of(p)>>>(p, dropout_threshold(p.p), dropout_scale(p.p));
  return cudaSuccess;
}

template <class T, class R>
int launch_backward(const NormParams& p) {
  const int status = p.dshift != nullptr ? launch_shape<T, R, true>(p) : launch_shape<T, R, false>(p);
  if (status != cudaSuccess || p.partial == nullptr) return status;
  // Hopper launches the second kernel while the first one's last blocks run; it waits for the shares by itself.
  cudaLaunchConfig_t config{};
  cudaLaunchAttribute early{};
  early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  early.val.programmaticStreamSerializationAllowed = 1;
  config.gridDim = dim3(static_cast<unsigned>((p.columns + 31) / 32), p.dshift != nullptr ? 3 : 2);
  config.blockDim = dim3(1024);
  config.stream = stream_of(p);
  config.attrs = &early;
  config.numAttrs = on_hopper() ? 1 : 0;
  return cudaLaunchKernelEx(&config, reduce_kernel, p);
}

template <class T>
int backward_of(const NormParams& p) { return p.stream_type == p.type ? launch_backward<T, T>(p) : launch_backward<T, float>(p); }

}  // namespace

// Blocks of the backward pass: what the device holds at once, so that each keeps its share over many rows; of few rows, each
// takes four at least, because every share is written and read once more.
int64_t norm_partials_cuda(const NormParams& p) {
  const int64_t device = multiprocessors(), few = p.rows / 4 > device ? p.rows / 4 : device, all = shape_of(p).blocks * device, blocks = all < few ? all : few;
  return blocks < p.rows ? blocks : p.rows;
}

int norm_backward_cuda(const NormParams& p) {
  const int status = p.type == kBFloat16 ? backward_of<bf16>(p) : p.type == kFloat16 ? backward_of<f16>(p) : launch_backward<float, float>(p);
  return status != cudaSuccess ? status : static_cast<int>(cudaGetLastError());
}

}  // namespace deepseek
