// Products of small matrices of float32, on the CPU: four rows of one factor, broadcast, times vectors of the other.
#pragma once

#include "common/vec.h"

#include <memory>
#include <new>

namespace deepseek {
namespace DS_ISA {

struct AlignedDelete {
  void operator()(float* data) const { ::operator delete[](data, std::align_val_t(64)); }
};
using Matrix = std::unique_ptr<float[], AlignedDelete>;

// Room on a cache line's border, so that no vector lies across two; what it holds is not set.
static inline Matrix floats(int64_t count) { return Matrix(static_cast<float*>(::operator new[](static_cast<size_t>(count) * sizeof(float), std::align_val_t(64)))); }

#if defined(__AVX512F__)
constexpr int kVectors = 4;
#else
constexpr int kVectors = 2;
#endif

// C[4, n · kWidth] (+)= A[4, k] · B[k, n · kWidth]; A's rows and columns lie `row` and `column` apart.
template <int n>
static inline void four_rows(int64_t k, const float* a, int64_t row, int64_t column, const float* b, int64_t b_stride, float* c, int64_t c_stride, bool add) {
  vf sums[4][n];
  for (int r = 0; r < 4; r++) {
    for (int v = 0; v < n; v++) sums[r][v] = add ? load(c + r * c_stride + v * kWidth) : vf{};
  }
  for (int64_t i = 0; i < k; i++) {
    vf other[n];
    for (int v = 0; v < n; v++) other[v] = load(b + i * b_stride + v * kWidth);
    for (int r = 0; r < 4; r++) {
      const vf factor = broadcast(a[r * row + i * column]);
      for (int v = 0; v < n; v++) sums[r][v] += factor * other[v];
    }
  }
  for (int r = 0; r < 4; r++) {
    for (int v = 0; v < n; v++) store(c + r * c_stride + v * kWidth, sums[r][v]);
  }
}

// C[rows, width] (+)= A · B; rows a multiple of 4, width of kWidth.
static inline void multiply(int64_t rows, int64_t width, int64_t k, const float* a, int64_t row, int64_t column, const float* b, int64_t b_stride, float* c, int64_t c_stride, bool add) {
  for (int64_t r = 0; r < rows; r += 4) {
    int64_t w = 0;
    for (; w + kVectors * kWidth <= width; w += kVectors * kWidth) four_rows<kVectors>(k, a + r * row, row, column, b + w, b_stride, c + r * c_stride + w, c_stride, add);
    for (; w < width; w += kWidth) four_rows<1>(k, a + r * row, row, column, b + w, b_stride, c + r * c_stride + w, c_stride, add);
  }
}

}  // namespace DS_ISA
}  // namespace deepseek
