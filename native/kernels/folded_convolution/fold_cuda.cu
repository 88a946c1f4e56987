#include "folded_convolution/fold.h"

#include "common/cuda_types.cuh"

namespace deepseek {
namespace {

constexpr int kThreads = 256;

// A thread writes 8 channels of one square; a block lies in one row of squares.
template <class T, class Out>
__global__ void __launch_bounds__(kThreads) fold_kernel(const __grid_constant__ FoldParams p) {
  const int vectors = static_cast<int>(p.out_channels / 8), width = static_cast<int>(p.width / 2) + p.before + p.after, height = static_cast<int>(p.height / 2) + p.before + p.after;
  const int at = static_cast<int>(blockIdx.y * kThreads + threadIdx.x);
  if (at >= width * vectors) return;
  const int64_t image = blockIdx.x / height;
  const int row = static_cast<int>(blockIdx.x % height), column = at / vectors, first = at % vectors * 8, channels = static_cast<int>(p.channels);
  const int h = 2 * (row - p.before), w = 2 * (column - p.before);
  const bool inside = h >= 0 && h < p.height && w >= 0 && w < p.width;
  const T* x = static_cast<const T*>(p.x) + image * p.strides[0];
  float value[8];
#pragma unroll
  for (int i = 0; i < 8; i++) {
    const int place = (first + i) / channels, c = (first + i) % channels;
    value[i] = inside && place < 4 ? to_float(x[c * p.strides[1] + (h + place / 2) * p.strides[2] + (w + place % 2) * p.strides[3]]) : 0.0f;
  }
  store8(static_cast<Out*>(p.y) + ((image * height + row) * width + column) * p.out_channels + first, pack<Out>(value));
}

template <class T, class Out>
void launch(const FoldParams& p) {
  const int64_t height = p.height / 2 + p.before + p.after, width = p.width / 2 + p.before + p.after;
  const dim3 grid(static_cast<unsigned>(p.batch * height), static_cast<unsigned>((width * (p.out_channels / 8) + kThreads - 1) / kThreads));
  fold_kernel<T, Out><<<grid, kThreads, 0, static_cast<cudaStream_t>(p.stream)>>>(p);
}

template <class T>
void launch_from(const FoldParams& p) { p.out_type == kBFloat16 ? launch<T, bf16>(p) : p.out_type == kFloat16 ? launch<T, f16>(p) : launch<T, float>(p); }

}  // namespace

int fold_cuda(const FoldParams& p) {
  p.type == kBFloat16 ? launch_from<bf16>(p) : p.type == kFloat16 ? launch_from<f16>(p) : launch_from<float>(p);
  return cudaGetLastError();
}

}  // namespace deepseek
