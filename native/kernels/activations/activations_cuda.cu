#include "activations/activations.h"

#include "common/cuda_types.cuh"

namespace deepseek {
namespace {

constexpr float kTanhScale = 0.79788456080286536f, kTanhCube = 0.044715f;

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + __expf(-x)); }

// The normal distribution up to x, and its density without the factor 1 / sqrt(2 pi): for u = |x|, the part above u is
// exp(-u^2 / 2) t P(t) with t = 1 / (1 + 0.305 u), the form of Hastings (Approximations for Digital Computers, 1955). P was
// fitted for the least greatest relative error on 0 ... 14: 9.4e-8, in the tail too, where 1 - erf would cancel.
struct Normal {
  float below, density;
};
__device__ __forceinline__ Normal normal(float x) {
  constexpr float p[8] = {0.12163973f, 0.122466815f, 0.10342088f, 0.12102163f, -0.037976755f, 0.18571683f, -0.15298828f, 0.036699183f};
  const float t = __fdividef(1.0f, fmaf(0.305f, fabsf(x), 1.0f)), density = exp2f(-0.72134752f * x * x);
  float sum = p[7];
#pragma unroll
  for (int i = 6; i >= 0; i--) sum = fmaf(sum, t, p[i]);
  const float tail = sum * t * density;
  return {x > 0.0f ? 1.0f - tail : tail, density};
}

__device__ __forceinline__ float gelu(float x, bool by_tanh) {
  return by_tanh ? x * sigmoid(2.0f * kTanhScale * (x + kTanhCube * x * x * x)) : x * normal(x).below;
}

__device__ __forceinline__ float gelu_slope(float x, bool by_tanh) {
  if (!by_tanh) {
    const Normal n = normal(x);
    return n.below + x * 0.39894228040143268f * n.density;
  }
  const float s = sigmoid(2.0f * kTanhScale * (x + kTanhCube * x * x * x));
  return s + x * s * (1.0f - s) * (2.0f * kTanhScale) * (1.0f + 3.0f * kTanhCube * x * x);
}

// Group g holds elements 8g … 8g + 7 of the flattened tensor; kWide where all of them lie in one row, on 16-byte borders.
template <class T, bool kBackward, bool kWide>
__global__ void __launch_bounds__(256) activation_kernel(const __grid_constant__ ActivationParams p) {
  const int64_t count = p.rows * p.columns, at = (static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x) * 8;
  if (at >= count) return;
  const auto read = [&](const void* source, float(&value)[8]) {
    const T* from = static_cast<const T*>(source) + at;
    if (kWide) {
      unpack(load_once(from), value);
    } else {
#pragma unroll
      for (int i = 0; i < 8; i++) value[i] = at + i < count ? to_float(from[i]) : 0.0f;
    }
  };
  const auto write = [&](void* target, const float(&value)[8]) {
    T* to = static_cast<T*>(target) + at;
    if (kWide) {
      store8(to, pack<T>(value));
    } else {
#pragma unroll
      for (int i = 0; i < 8; i++) {
        if (at + i < count) to[i] = from_float<T>(value[i]);
      }
    }
  };
  const bool by_tanh = p.activation == kGeluTanh;
  float x[8], d[8], other[8];
  read(p.x, x);
  if (kBackward) read(p.dy, d);
  if (p.activation == kSwiGlu) {
    read(p.gate, other);
    float dgate[8];
#pragma unroll
    for (int i = 0; i < 8; i++) {
      const float s = sigmoid(x[i]);
      if (kBackward) {
        dgate[i] = d[i] * x[i] * s;
        x[i] = d[i] * other[i] * s * (1.0f + x[i] * (1.0f - s));
      } else {
        x[i] = x[i] * s * other[i];
      }
    }
    if (kBackward) write(p.dgate, dgate);
  } else {
    if (p.bias != nullptr) {
      if (kWide) {
        // A division of 64 bits costs as much as the activation of the eight.
        const int64_t column = count >> 32 == 0 ? static_cast<uint32_t>(at) % static_cast<uint32_t>(p.columns) : at % p.columns;
        load_vector8(p.bias, p.bias_type, column, other);
      } else {
#pragma unroll
        for (int i = 0; i < 8; i++) other[i] = load_vector1(p.bias, p.bias_type, (at + i) % p.columns);
      }
#pragma unroll
      for (int i = 0; i < 8; i++) x[i] += other[i];
    }
#pragma unroll
    for (int i = 0; i < 8; i++) x[i] = kBackward ? d[i] * gelu_slope(x[i], by_tanh) : gelu(x[i], by_tanh);
  }
  write(kBackward ? p.dx : p.y, x);
}

template <class T, bool kBackward>
void launch(const ActivationParams& p) {
  const auto blocks = static_cast<unsigned>((p.rows * p.columns + 2047) / 2048);
  bool wide = p.columns % 8 == 0;
  const void* const pointers[] = {p.x, p.bias, p.gate, p.y, p.dy, p.dx, p.dgate};
  for (const void* pointer : pointers) wide = wide && aligned16(pointer);
  const auto stream = static_cast<cudaStream_t>(p.stream);
  if (wide) {
    activation_kernel<T, kBackward, true><<<blocks, 256, 0, stream>>>(p);
  } else {
    activation_kernel<T, kBackward, false><<<blocks, 256, 0, stream>>>(p);
  }
}

template <bool kBackward>
int launch_type(const ActivationParams& p) {
  if (p.type == kBFloat16) {
    launch<bf16, kBackward>(p);
  } else if (p.type == kFloat16) {
    launch<f16, kBackward>(p);
  } else {
    launch<float, kBackward>(p);
  }
  return cudaGetLastError();
}

}  // namespace

int activation_forward_cuda(const ActivationParams& p) { return launch_type<false>(p); }
int activation_backward_cuda(const ActivationParams& p) { return launch_type<true>(p); }

}  // namespace deepseek
