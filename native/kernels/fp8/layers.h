// What linear layers in eight-bit floats share: matrices cast under a layer's scales, and products of codes.
#pragma once

#include "common/operator.h"
#include "fp8/fp8.h"

#include <utility>
#include <vector>

namespace deepseek {

// The operators fp8_encode, fp8_decode and fp8_rescale_.
std::tuple<at::Tensor, at::Tensor> fp8_encoded(const at::Tensor& x, const at::Tensor& scale, int64_t format);
at::Tensor fp8_decoded(const at::Tensor& codes, const at::Tensor& scale, int64_t format, at::ScalarType dtype);
void fp8_follow(const at::Tensor& history, const at::Tensor& scale, const at::Tensor& amax, double largest, int64_t margin);

// Codes [rows, columns] of a matrix and [columns, rows] of it turned, the scale they were made under and its inverse.
struct Codes {
  at::Tensor codes, turned, used, inverse;
  Fp8Format format;

  Codes swapped() const { return {turned, codes, used, inverse, format}; }
};

// A layer's scales: float32 [3, steps + 4], rows for its input, weight and output gradient, each a history of `steps` maxima, the scale,
// the scale of the last cast and two words of work that are 0 between calls. Tensors whose bit is set in `flags` set their scale for
// themselves, as a layer's first ones do; otherwise it is the one that the steps before left (delayed scaling). A forward pass that is
// repeated (activation checkpointing) takes the scales of the last one and changes none.
struct Scales {
  enum Row : int { kInput = 0, kWeight = 1, kGradient = 2 };
  enum Flag : int64_t { kFirstForward = 1, kFirstBackward = 2, kRepeated = 4 };
  static constexpr int64_t kExtra = 4;
  static constexpr int kFlags = 3;

  at::Tensor state;
  int64_t margin, flags;

  int64_t steps() const { return state.size(1) - kExtra; }
  bool is_first(Row row) const { return (flags & (row == kGradient ? kFirstBackward : kFirstForward)) != 0; }
  bool is_repeated(Row row) const { return row != kGradient && (flags & kRepeated) != 0; }
  void check(const at::Tensor& x, const char* op) const;
};

struct Cast {
  std::vector<at::Tensor> sources;  // up to kFp8Sources matrices side by side
  Fp8Made made = Fp8Made::kValues;
  at::Tensor kept{};  // of Fp8Made::kSlope
};

// The codes; and, where `sums` is a type, what is cast summed over its rows before it is, in that type.
std::pair<Codes, at::Tensor> cast(const Cast& what, const Scales& scales, Scales::Row row, c10::optional<at::ScalarType> sums = c10::nullopt);
// A weight [out, in], cast as it lies.
Codes cast_weight(const at::Tensor& weight, const Scales& scales);

// a [m, k] · b [n, k]ᵀ + bias -> [m, n] of a type, laid out as `like` if that is given. By the matrix cores where a GPU has them for
// eight bits and all sizes are multiples of 16; elsewhere the codes are decoded and multiplied in float32.
at::Tensor product(const Codes& a, const Codes& b, const at::Tensor& bias, at::ScalarType type, bool fast, const at::Tensor& like = {});

}  // namespace deepseek
