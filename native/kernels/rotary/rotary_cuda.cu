#include "rotary/rotary.h"

#include "common/cuda_types.cuh"

namespace deepseek {
namespace {

// A thread turns eight pairs (kWide: halves apart, on 16-byte borders) or one.
template <class T, bool kWide>
__global__ void __launch_bounds__(256) rotary_kernel(const __grid_constant__ RotaryParams p) {
  constexpr int kPairs = kWide ? 8 : 1;
  const int64_t half = p.width / 2, groups = half / kPairs, g = static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x;
  const int64_t row = g / groups, i = g % groups * kPairs;
  if (row >= p.rows) return;
  const float* cosine = p.cosine + row % p.positions * half + i;
  const float* sine = p.sine + row % p.positions * half + i;
  const float sign = p.back ? -1.0f : 1.0f;
  const int64_t at = row * p.width;
  if (kWide) {
    float a[8], b[8], c[8], s[8];
    unpack(load_once(static_cast<const T*>(p.x) + at + i), a);
    unpack(load_once(static_cast<const T*>(p.x) + at + half + i), b);
    unpack(load_kept(cosine), c);
    unpack(load_kept(sine), s);
#pragma unroll
    for (int j = 0; j < 8; j++) {
      const float first = a[j], second = b[j], turned = sign * s[j];
      a[j] = first * c[j] - second * turned;
      b[j] = first * turned + second * c[j];
    }
    store8(static_cast<T*>(p.y) + at + i, pack<T>(a));
    store8(static_cast<T*>(p.y) + at + half + i, pack<T>(b));
    return;
  }
  const int64_t one = at + (p.interleaved ? 2 * i : i), two = at + (p.interleaved ? 2 * i + 1 : half + i);
  const float a = to_float(static_cast<const T*>(p.x)[one]), b = to_float(static_cast<const T*>(p.x)[two]), s = sign * sine[0];
  static_cast<T*>(p.y)[one] = from_float<T>(a * cosine[0] - b * s);
  static_cast<T*>(p.y)[two] = from_float<T>(a * s + b * cosine[0]);
}

template <class T>
void launch(const RotaryParams& p) {
  const int64_t half = p.width / 2;
  const auto stream = static_cast<cudaStream_t>(p.stream);
  if (!p.interleaved && half % 8 == 0 && aligned16(p.x) && aligned16(p.y) && aligned16(p.cosine) && aligned16(p.sine)) {
    rotary_kernel<T, true><<<static_cast<unsigned>((p.rows * half / 8 + 255) / 256), 256, 0, stream>>>(p);
  } else {
    rotary_kernel<T, false><<<static_cast<unsigned>((p.rows * half + 255) / 256), 256, 0, stream>>>(p);
  }
}

}  // namespace

int rotary_cuda(const RotaryParams& p) {
  if (p.type == kBFloat16) {
    launch<bf16>(p);
  } else if (p.type == kFloat16) {
    launch<f16>(p);
  } else {
    launch<float>(p);
  }
  return cudaGetLastError();
}

}  // namespace deepseek
