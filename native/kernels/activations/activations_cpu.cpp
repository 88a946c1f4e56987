#include "activations/activations.h"

#include "common/row.h"

namespace deepseek {
namespace DS_ISA {
namespace {

// The normal distribution function, by Abramowitz & Stegun 7.1.26 (error under 1e-7), and x's density.
void normal(vf x, vf& below, vf& density) {
  const vf half_square = x * x * 0.5f;
  const vf fall = exp(-half_square);
  const vf positive = vmax(x, -x) * 0.70710678118654752f;
  const vf t = 1.0f / (1.0f + positive * 0.3275911f);
  vf p = t * 1.061405429f - 1.453152027f;
  p = p * t + 1.421413741f;
  p = p * t - 0.284496736f;
  p = p * t + 0.254829592f;
  const vf tail = p * t * fall * 0.5f;
  below = select(x < 0.0f, tail, 1.0f - tail);
  density = fall * 0.39894228040143268f;
}

constexpr float kTanhScale = 0.79788456080286536f, kTanhCube = 0.044715f;

vf sigmoid(vf x) { return 1.0f / (1.0f + exp(-x)); }

vf gelu(vf x, bool by_tanh) {
  if (by_tanh) return x * sigmoid(2.0f * kTanhScale * (x + kTanhCube * x * x * x));
  vf below, density;
  normal(x, below, density);
  return x * below;
}

vf gelu_slope(vf x, bool by_tanh) {
  if (by_tanh) {
    const vf s = sigmoid(2.0f * kTanhScale * (x + kTanhCube * x * x * x));
    return s + x * s * (1.0f - s) * (2.0f * kTanhScale) * (1.0f + 3.0f * kTanhCube * x * x);
  }
  vf below, density;
  normal(x, below, density);
  return below + x * density;
}

template <class T>
void forward(const ActivationParams& p) {
  const int64_t n = p.columns;
  const auto* bias = static_cast<const float*>(p.bias);
  cpu::parallel_for(p.rows, row_grain(n), [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; r++) {
      const T* x = static_cast<const T*>(p.x) + r * n;
      T* y = static_cast<T*>(p.y) + r * n;
      for (int64_t c = 0; c < n; c += kWidth) {
        const int64_t left = n - c;
        vf value = load_part(x + c, left);
        if (p.activation == kSwiGlu) {
          value = value * sigmoid(value) * load_part(static_cast<const T*>(p.gate) + r * n + c, left);
        } else {
          if (bias != nullptr) value += load_part(bias + c, left);
          value = gelu(value, p.activation == kGeluTanh);
        }
        store_part(y + c, value, left);
      }
    }
  });
}

template <class T>
void backward(const ActivationParams& p) {
  const int64_t n = p.columns;
  const auto* bias = static_cast<const float*>(p.bias);
  cpu::parallel_for(p.rows, row_grain(n), [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; r++) {
      const T* x = static_cast<const T*>(p.x) + r * n;
      const T* dy = static_cast<const T*>(p.dy) + r * n;
      T* dx = static_cast<T*>(p.dx) + r * n;
      for (int64_t c = 0; c < n; c += kWidth) {
        const int64_t left = n - c;
        vf value = load_part(x + c, left);
        const vf d = load_part(dy + c, left);
        if (p.activation == kSwiGlu) {
          const vf s = sigmoid(value), gate = load_part(static_cast<const T*>(p.gate) + r * n + c, left);
          store_part(dx + c, d * gate * s * (1.0f + value * (1.0f - s)), left);
          store_part(static_cast<T*>(p.dgate) + r * n + c, d * value * s, left);
        } else {
          if (bias != nullptr) value += load_part(bias + c, left);
          store_part(dx + c, d * gelu_slope(value, p.activation == kGeluTanh), left);
        }
      }
    }
  });
}

}  // namespace

void activation_forward(const ActivationParams& p) {
  if (p.type == kBFloat16) return forward<bf16>(p);
  if (p.type == kFloat16) return forward<f16>(p);
  forward<float>(p);
}

void activation_backward(const ActivationParams& p) {
  if (p.type == kBFloat16) return backward<bf16>(p);
  if (p.type == kFloat16) return backward<f16>(p);
  backward<float>(p);
}

}  // namespace DS_ISA
}  // namespace deepseek
