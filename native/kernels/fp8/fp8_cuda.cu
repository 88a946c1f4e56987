#include "fp8/fp8.h"

#include "common/cuda_types.cuh"

#include <cuda_fp8.h>

#include <type_traits>

namespace deepseek {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr float kInfinity = __builtin_huge_valf();

// Codes of eight values, in the order of memory. The processor's conversion rounds and saturates as fp8_encode does; only which
// of the codes for NaN it gives differs.
template <class F>
__device__ __forceinline__ uint2 encode8(const float (&value)[8], float scale) {
  constexpr auto kind = std::is_same<F, E4M3>::value ? __NV_E4M3 : __NV_E5M2;
  uint32_t pair[4];
#pragma unroll
  for (int i = 0; i < 4; i++) pair[i] = __nv_cvt_float2_to_fp8x2(make_float2(value[2 * i] * scale, value[2 * i + 1] * scale), __NV_SATFINITE, kind);
  return make_uint2(pair[0] | pair[1] << 16, pair[2] | pair[3] << 16);
}

__device__ __forceinline__ float larger_finite(float largest, float value) {
  const float magnitude = fabsf(value);
  return magnitude < kInfinity ? fmaxf(largest, magnitude) : largest;
}

// The block's largest in thread 0.
__device__ __forceinline__ float block_largest(float largest) {
  __shared__ float parts[kWarps];
#pragma unroll
  for (int lane = 16; lane > 0; lane /= 2) largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, lane));
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = largest;
  __syncthreads();
  if (threadIdx.x == 0) {
#pragma unroll
    for (int w = 1; w < kWarps; w++) largest = fmaxf(largest, parts[w]);
  }
  return largest;
}

// Magnitudes order as their bits do.
__device__ __forceinline__ void raise(float* amax, float largest) { atomicMax(reinterpret_cast<int*>(amax), __float_as_int(largest)); }

// Whether this block is the last of the grid to come here; what thread 0 of the others wrote before is then visible.
__device__ __forceinline__ bool is_last_block(unsigned* ticket, unsigned blocks) {
  __shared__ bool last;
  if (threadIdx.x == 0) {
    __threadfence();
    last = atomicAdd(ticket, 1u) == blocks - 1;
    __threadfence();
  }
  __syncthreads();
  return last;
}

template <class T, class F>
__global__ void __launch_bounds__(kThreads) encode_kernel(const __grid_constant__ Fp8CastParams p, int64_t vectors) {
  const float scale = *p.scale;
  const auto* x = static_cast<const T*>(p.x);
  float largest = 0;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kThreads, first = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  for (int64_t i = first; i < vectors; i += stride) {
    float value[8];
    unpack(load_once(x + 8 * i), value);
    reinterpret_cast<uint2*>(p.codes)[i] = encode8<F>(value, scale);
#pragma unroll
    for (int e = 0; e < 8; e++) largest = larger_finite(largest, value[e]);
  }
  for (int64_t i = 8 * vectors + first; i < p.elements; i += stride) {
    const float value = to_float(x[i]);
    p.codes[i] = fp8_encode<F>(value * scale);
    largest = larger_finite(largest, value);
  }
  largest = block_largest(largest);
  if (threadIdx.x == 0) raise(p.amax, largest);
}

template <class T, class F>
__global__ void __launch_bounds__(kThreads) decode_kernel(const __grid_constant__ Fp8CastParams p) {
  const float inverse = 1.0f / *p.scale;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < p.elements; i += stride) {
    static_cast<T*>(p.y)[i] = from_float<T>(fp8_decode<F>(p.codes[i]) * inverse);
  }
}

// Run by one whole warp.
__device__ __forceinline__ void rescale(float* history, int steps, float* scale, float amax, float largest, int margin) {
  const int lane = threadIdx.x % 32;
  float most = amax;
  for (int base = 0; base < steps; base += 32) {
    const int at = base + lane;
    const float next = at + 1 < steps ? history[at + 1] : amax;
    __syncwarp();
    if (at < steps) {
      history[at] = next;
      most = fmaxf(most, next);
    }
    __syncwarp();
  }
#pragma unroll
  for (int step = 16; step > 0; step /= 2) most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, step));
  if (lane == 0 && most > 0) *scale = fp8_scale(most, largest, margin);
}

__global__ void rescale_kernel(float* history, int steps, float* scale, const float* amax, float largest, int margin) { rescale(history, steps, scale, *amax, largest, margin); }

// A tile is 128 × 128. A thread reads 4 rows of 8 values, gives the rows' codes as they come and turns them, four codes to a word.
constexpr int kTile = 128;
constexpr int kTurnedStride = kTile / 4 + 1;  // words

// word i of the result: byte i of the four given.
__device__ __forceinline__ void turn4(uint32_t a, uint32_t b, uint32_t c, uint32_t d, uint32_t (&out)[4]) {
  const uint32_t ab = __byte_perm(a, b, 0x5140), cd = __byte_perm(c, d, 0x5140), ab2 = __byte_perm(a, b, 0x7362), cd2 = __byte_perm(c, d, 0x7362);
  out[0] = __byte_perm(ab, cd, 0x5410);
  out[1] = __byte_perm(ab, cd, 0x7632);
  out[2] = __byte_perm(ab2, cd2, 0x5410);
  out[3] = __byte_perm(ab2, cd2, 0x7632);
}

// GELU's tanh form (Hendrycks and Gimpel, arXiv 1606.08415) is x · s with s = sigmoid(2·√(2/π)·(x + 0.044715·x³)).
__device__ __forceinline__ float gelu_share(float x) { return __fdividef(1.0f, 1.0f + __expf(-1.59576912160573071f * (x + 0.044715f * x * x * x))); }

__device__ __forceinline__ float gelu_slope(float x) {
  const float s = gelu_share(x);
  return s + x * s * (1.0f - s) * 1.59576912160573071f * (1.0f + 0.134145f * x * x);
}

template <class T, class F, Fp8Made kMade, bool kSums>
__global__ void __launch_bounds__(kThreads) cast_kernel(const __grid_constant__ Fp8ScaledCastParams p) {
  __shared__ uint32_t tile[kTile * kTurnedStride];
  const float scale = p.again ? *p.before : *p.scale;
  const int64_t first_row = static_cast<int64_t>(blockIdx.y) * kTile, first_column = static_cast<int64_t>(blockIdx.x) * kTile;
  const int column = threadIdx.x % 16 * 8, row = threadIdx.x / 16 * 4;
  const int64_t c = first_column + column, which = kFp8Sources > 1 && c >= p.part ? c / p.part : 0;
  const auto* x = c < p.columns ? static_cast<const T*>(p.source[which]) + (c - which * p.part) : nullptr;
  float largest = 0;
  float sum[8] = {};
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int64_t r = first_row + row + half * 64;
    if (r < p.rows && c < p.columns) {  // both counts are multiples of 16
      Raw8<T> raw[4], kept[4];
#pragma unroll
      for (int i = 0; i < 4; i++) {
        raw[i] = load_once(x + (r + i) * p.part);
        if (kMade == Fp8Made::kSlope) kept[i] = load_once(static_cast<const T*>(p.kept) + (r + i) * p.columns + c);
      }
      uint2 codes[4];
#pragma unroll
      for (int i = 0; i < 4; i++) {
        float value[8];
        unpack(raw[i], value);
        if (kMade == Fp8Made::kGelu) {
#pragma unroll
          for (int e = 0; e < 8; e++) value[e] *= gelu_share(value[e]);
        }
        if (kMade == Fp8Made::kSlope) {
          float before[8];
          unpack(kept[i], before);
#pragma unroll
          for (int e = 0; e < 8; e++) value[e] *= gelu_slope(before[e]);
        }
        if (kSums) {
#pragma unroll
          for (int e = 0; e < 8; e++) sum[e] += value[e];
        }
        codes[i] = encode8<F>(value, scale);
#pragma unroll
        for (int e = 0; e < 8; e++) largest = larger_finite(largest, value[e]);
        *reinterpret_cast<uint2*>(p.codes + (r + i) * p.columns + c) = codes[i];
      }
      uint32_t turned[4];
      auto* target = tile + column * kTurnedStride + (row + half * 64) / 4;
      turn4(codes[0].x, codes[1].x, codes[2].x, codes[3].x, turned);
#pragma unroll
      for (int i = 0; i < 4; i++) target[i * kTurnedStride] = turned[i];
      turn4(codes[0].y, codes[1].y, codes[2].y, codes[3].y, turned);
#pragma unroll
      for (int i = 0; i < 4; i++) target[(4 + i) * kTurnedStride] = turned[i];
    }
  }
  largest = block_largest(largest);  // and a barrier: the tile is whole
  if (threadIdx.x == 0) raise(p.amax, largest);
  const int lane = threadIdx.x % 32;
  if (first_row + 4 * lane < p.rows) {
    for (int c = threadIdx.x / 32; c < kTile && first_column + c < p.columns; c += kWarps) {
      *reinterpret_cast<uint32_t*>(p.turned + (first_column + c) * p.rows + first_row + 4 * lane) = tile[c * kTurnedStride + lane];
    }
  }
  if (kSums) {
    // The tile's room, as [16][kTile] floats.
    static_assert(sizeof(tile) >= 16 * kTile * sizeof(float), "the sums do not fit");
    __syncthreads();
    auto* sums = reinterpret_cast<float*>(tile);
#pragma unroll
    for (int e = 0; e < 8; e++) sums[threadIdx.x / 16 * kTile + column + e] = sum[e];
    __syncthreads();
    if (threadIdx.x < kTile && first_column + threadIdx.x < p.columns) {
      float total = 0;
#pragma unroll
      for (int group = 0; group < 16; group++) total += sums[group * kTile + threadIdx.x];
      p.partial[blockIdx.y * p.columns + first_column + threadIdx.x] = total;
    }
  }
  if (is_last_block(p.ticket, gridDim.x * gridDim.y) && threadIdx.x < 32) {
    const float amax = *reinterpret_cast<volatile float*>(p.amax);
    __syncwarp();
    if (threadIdx.x == 0) {
      *p.used = scale;
      *p.inverse = 1.0f / scale;
      *p.amax = 0;
      *p.ticket = 0;
      if (p.before != nullptr) *p.before = scale;
    }
    if (!p.again) rescale(p.history, p.steps, p.scale, amax, p.largest, p.margin);
  }
}

__global__ void __launch_bounds__(256) join_kernel(const float* partial, int64_t partials, int64_t columns, int type, void* sum) {
  __shared__ float sums[8][33];
  const int column = threadIdx.x % 32, group = threadIdx.x / 32;
  const int64_t c = static_cast<int64_t>(blockIdx.x) * 32 + column;
  float total = 0.0f;
  if (c < columns) {
#pragma unroll 4
    for (int64_t i = group; i < partials; i += 8) total += partial[i * columns + c];
  }
  sums[group][column] = total;
  __syncthreads();
  if (group != 0 || c >= columns) return;
  for (int i = 1; i < 8; i++) total += sums[i][column];
  store_vector1(sum, type, c, total);
}

template <class T>
__global__ void __launch_bounds__(kThreads) range_kernel(const __grid_constant__ Fp8RangeParams p, double* result, unsigned long long* counts, float* amax, unsigned* ticket) {
  constexpr int kCounts = 2 + 2 * kMostFormats;
  uint32_t count[kCounts] = {};
  float largest = 0;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < p.elements; i += stride) {
    const float magnitude = fabsf(to_float(static_cast<const T*>(p.x)[i]));
    const bool finite = magnitude < kInfinity;
    largest = finite ? fmaxf(largest, magnitude) : largest;
    count[0] += finite && magnitude > 0;
    count[1] += !finite;
#pragma unroll
    for (int f = 0; f < kMostFormats; f++) {
      count[2 + 2 * f] += finite && magnitude > 0 && magnitude < p.floor[f];
      count[3 + 2 * f] += finite && magnitude > p.ceiling[f];
    }
  }
#pragma unroll
  for (int c = 0; c < kCounts; c++) {
    const unsigned sum = __reduce_add_sync(0xffffffffu, count[c]);
    if (threadIdx.x % 32 == 0 && sum > 0) atomicAdd(counts + c, static_cast<unsigned long long>(sum));
  }
  largest = block_largest(largest);
  if (threadIdx.x == 0) raise(amax, largest);
  // Every warp's sums must be there before this block counts as done.
  __threadfence();
  __syncthreads();
  if (is_last_block(ticket, gridDim.x) && threadIdx.x == 0) {
    result[0] = *reinterpret_cast<volatile float*>(amax);
    for (int c = 0; c < 2 + 2 * p.formats; c++) result[1 + c] = static_cast<double>(*reinterpret_cast<volatile unsigned long long*>(counts + c));
  }
}

unsigned grid_of(int64_t elements) {
  const int64_t needed = (elements + kThreads * 8 - 1) / (kThreads * 8), most = 8 * static_cast<int64_t>(multiprocessors());
  return static_cast<unsigned>(needed < most ? needed : most);
}

template <class T, class F>
void launch(const Fp8CastParams& p, bool back) {
  const auto stream = static_cast<cudaStream_t>(p.stream);
  if (back) {
    decode_kernel<T, F><<<grid_of(p.elements), kThreads, 0, stream>>>(p);
  } else {
    const bool vectors = aligned16(p.x) && reinterpret_cast<uintptr_t>(p.codes) % 8 == 0;
    encode_kernel<T, F><<<grid_of(p.elements), kThreads, 0, stream>>>(p, vectors ? p.elements / 8 : 0);
  }
}

template <class F>
int cast(const Fp8CastParams& p, bool back) {
  if (p.type == kBFloat16) {
    launch<bf16, F>(p, back);
  } else if (p.type == kFloat16) {
    launch<f16, F>(p, back);
  } else {
    launch<float, F>(p, back);
  }
  return cudaGetLastError();
}

template <class T, class F, Fp8Made kMade>
void scaled_cast(const Fp8ScaledCastParams& p) {
  const dim3 grid(static_cast<unsigned>((p.columns + kTile - 1) / kTile), static_cast<unsigned>((p.rows + kTile - 1) / kTile));
  const auto stream = static_cast<cudaStream_t>(p.stream);
  if (p.partial != nullptr) {
    cast_kernel<T, F, kMade, true><<<grid, kThreads, 0, stream>>>(p);
  } else {
    cast_kernel<T, F, kMade, false><<<grid, kThreads, 0, stream>>>(p);
  }
}

template <class T>
int scaled_cast(const Fp8ScaledCastParams& p) {
  // GELU is a forward pass, its slope a backward one.
  if (p.made == Fp8Made::kGelu) {
    scaled_cast<T, E4M3, Fp8Made::kGelu>(p);
  } else if (p.made == Fp8Made::kSlope) {
    scaled_cast<T, E5M2, Fp8Made::kSlope>(p);
  } else if (p.format == kE4M3) {
    scaled_cast<T, E4M3, Fp8Made::kValues>(p);
  } else {
    scaled_cast<T, E5M2, Fp8Made::kValues>(p);
  }
  return cudaGetLastError();
}

}  // namespace

int fp8_encode_cuda(const Fp8CastParams& p) { return p.format == kE4M3 ? cast<E4M3>(p, false) : cast<E5M2>(p, false); }
int fp8_decode_cuda(const Fp8CastParams& p) { return p.format == kE4M3 ? cast<E4M3>(p, true) : cast<E5M2>(p, true); }
int fp8_scaled_cast_cuda(const Fp8ScaledCastParams& p) { return p.type == kBFloat16 ? scaled_cast<bf16>(p) : p.type == kFloat16 ? scaled_cast<f16>(p) : scaled_cast<float>(p); }

int fp8_join_sums_cuda(const float* partial, int64_t partials, int64_t columns, int type, void* sum, void* stream) {
  join_kernel<<<static_cast<unsigned>((columns + 31) / 32), 256, 0, static_cast<cudaStream_t>(stream)>>>(partial, partials, columns, type, sum);
  return cudaGetLastError();
}

bool fp8_scaled_cast_fits(const Fp8ScaledCastParams& p) {
  // The grid's second dimension is the narrow one.
  return p.rows % 16 == 0 && p.columns % 16 == 0 && p.rows > 0 && p.columns > 0 && p.rows <= 65535LL * kTile && p.part % 8 == 0 && aligned16(p.source[0]) && aligned16(p.source[1]) && aligned16(p.source[2]) &&
         aligned16(p.kept) && aligned16(p.codes) && aligned16(p.turned);
}

int fp8_rescale_cuda(const Fp8RescaleParams& p) {
  rescale_kernel<<<1, 32, 0, static_cast<cudaStream_t>(p.stream)>>>(p.history, p.steps, p.scale, p.amax, p.largest, p.margin);
  return cudaGetLastError();
}

int fp8_range_cuda(const Fp8RangeParams& p, double* result, unsigned long long* work, void* on) {
  const auto stream = static_cast<cudaStream_t>(on);
  auto* amax = reinterpret_cast<float*>(work + 2 + 2 * kMostFormats);
  auto* ticket = reinterpret_cast<unsigned*>(amax + 1);
  if (p.type == kBFloat16) {
    range_kernel<bf16><<<grid_of(p.elements), kThreads, 0, stream>>>(p, result, work, amax, ticket);
  } else if (p.type == kFloat16) {
    range_kernel<f16><<<grid_of(p.elements), kThreads, 0, stream>>>(p, result, work, amax, ticket);
  } else {
    range_kernel<float><<<grid_of(p.elements), kThreads, 0, stream>>>(p, result, work, amax, ticket);
  }
  return cudaGetLastError();
}

}  // namespace deepseek
