// A thread takes 8 channels of one place; a block lies in one row of the image that it writes. What neighbouring windows share
// comes from the caches: from memory every element is read once.
#include "max_pool/max_pool.h"

#include "common/cuda_types.cuh"

namespace deepseek {
namespace {

constexpr int kThreads = 256;

// kSide: the window's sides if both are that, 0 for any.
template <class T, int kSide>
__global__ void __launch_bounds__(kThreads) forward_kernel(const __grid_constant__ MaxPoolParams p) {
  const int vectors = static_cast<int>(p.channels / 8), rows = kSide > 0 ? kSide : p.kernel[0], columns = kSide > 0 ? kSide : p.kernel[1];
  const int at = static_cast<int>(blockIdx.y * kThreads + threadIdx.x);
  if (at >= p.out_width * vectors) return;
  const int64_t image = blockIdx.x / p.out_height;
  const int oh = static_cast<int>(blockIdx.x % p.out_height), ow = at / vectors, vector = at % vectors;
  const int top = oh * p.stride[0] - p.padding[0], left = ow * p.stride[1] - p.padding[1];
  const T* x = static_cast<const T*>(p.x) + image * p.height * p.width * p.channels + vector * 8;
  float best[8];
  unsigned place[8];
#pragma unroll
  for (int i = 0; i < 8; i++) {
    best[i] = -INFINITY;
    place[i] = static_cast<unsigned>((top < 0 ? -top : 0) * columns + (left < 0 ? -left : 0));  // the first inside, if all are -infinity
  }
#pragma unroll
  for (int r = 0; r < rows; r++) {
    const int h = top + r;
    if (h < 0 || h >= p.height) continue;
#pragma unroll
    for (int q = 0; q < columns; q++) {
      const int w = left + q;
      if (w < 0 || w >= p.width) continue;
      float value[8];
      unpack(load_kept(x + (h * p.width + w) * p.channels), value);
#pragma unroll
      for (int i = 0; i < 8; i++) {
        if (value[i] > best[i] || value[i] != value[i]) {
          best[i] = value[i];
          place[i] = static_cast<unsigned>(r * columns + q);
        }
      }
    }
  }
  const int64_t out = ((image * p.out_height + oh) * p.out_width + ow) * p.channels + vector * 8;
  store8(static_cast<T*>(p.y) + out, pack<T>(best));
  if (p.place == nullptr) return;
  *reinterpret_cast<uint2*>(p.place + out) = make_uint2(place[0] | place[1] << 8 | place[2] << 16 | place[3] << 24, place[4] | place[5] << 8 | place[6] << 16 | place[7] << 24);
}

template <class T>
__global__ void __launch_bounds__(kThreads) backward_kernel(const __grid_constant__ MaxPoolParams p) {
  const int vectors = static_cast<int>(p.channels / 8);
  const int at = static_cast<int>(blockIdx.y * kThreads + threadIdx.x);
  if (at >= p.width * vectors) return;
  const int64_t image = blockIdx.x / p.height;
  const int h = static_cast<int>(blockIdx.x % p.height), w = at / vectors, vector = at % vectors;
  // Windows that hold this element: those that start at most the window's side before it.
  const int below = h + p.padding[0], right = w + p.padding[1];
  const int first_row = below < p.kernel[0] ? 0 : (below - p.kernel[0]) / p.stride[0] + 1, last_row = min(below / p.stride[0], static_cast<int>(p.out_height) - 1);
  const int first_column = right < p.kernel[1] ? 0 : (right - p.kernel[1]) / p.stride[1] + 1, last_column = min(right / p.stride[1], static_cast<int>(p.out_width) - 1);
  const int64_t base = image * p.out_height * p.out_width * p.channels + vector * 8;
  float sum[8];
#pragma unroll
  for (int i = 0; i < 8; i++) sum[i] = 0.0f;
  for (int oh = first_row; oh <= last_row; oh++) {
    for (int ow = first_column; ow <= last_column; ow++) {
      const unsigned mine = static_cast<unsigned>((below - oh * p.stride[0]) * p.kernel[1] + right - ow * p.stride[1]);
      const int64_t from = base + (oh * p.out_width + ow) * p.channels;
      const uint2 place = __ldg(reinterpret_cast<const uint2*>(p.place + from));
      float value[8];
      unpack(load_kept(static_cast<const T*>(p.x) + from), value);
#pragma unroll
      for (int i = 0; i < 8; i++) sum[i] += ((i < 4 ? place.x >> (8 * i) : place.y >> (8 * (i - 4))) & 255u) == mine ? value[i] : 0.0f;
    }
  }
  store8(static_cast<T*>(p.y) + ((image * p.height + h) * p.width + w) * p.channels + vector * 8, pack<T>(sum));
}

dim3 grid_of(int64_t rows, int64_t columns, int64_t channels) { return dim3(static_cast<unsigned>(rows), static_cast<unsigned>((columns * (channels / 8) + kThreads - 1) / kThreads)); }

template <class T>
void forward_of(const MaxPoolParams& p) {
  const dim3 grid = grid_of(p.batch * p.out_height, p.out_width, p.channels);
  const auto stream = static_cast<cudaStream_t>(p.stream);
  if (p.kernel[0] == 3 && p.kernel[1] == 3) {
    forward_kernel<T, 3><<<grid, kThreads, 0, stream>>>(p);
  } else if (p.kernel[0] == 2 && p.kernel[1] == 2) {
    forward_kernel<T, 2><<<grid, kThreads, 0, stream>>>(p);
  } else {
    forward_kernel<T, 0><<<grid, kThreads, 0, stream>>>(p);
  }
}

template <class T>
void backward_of(const MaxPoolParams& p) {
  backward_kernel<T><<<grid_of(p.batch * p.height, p.width, p.channels), kThreads, 0, static_cast<cudaStream_t>(p.stream)>>>(p);
}

}  // namespace

int max_pool_forward_cuda(const MaxPoolParams& p) {
  p.type == kBFloat16 ? forward_of<bf16>(p) : p.type == kFloat16 ? forward_of<f16>(p) : forward_of<float>(p);
  return cudaGetLastError();
}

int max_pool_backward_cuda(const MaxPoolParams& p) {
  p.type == kBFloat16 ? backward_of<bf16>(p) : p.type == kFloat16 ? backward_of<f16>(p) : backward_of<float>(p);
  return cudaGetLastError();
}

}  // namespace deepseek
