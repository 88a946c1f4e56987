// Rows of a matrix, on the CPU.
#pragma once

#include "common/vec.h"

#include <new>

namespace deepseek {
namespace DS_ISA {

// Rounded up to whole groups of 8 vectors.
static inline int64_t padded(int64_t columns) { return (columns + 8 * kWidth - 1) / (8 * kWidth) * (8 * kWidth); }

// A row of floats with room for whole groups of 8 vectors, on a cache line's border.
struct RowBuffer {
  explicit RowBuffer(int64_t columns) : data(static_cast<float*>(::operator new(static_cast<size_t>(padded(columns) + 1) * 4, std::align_val_t(64)))) {
    for (int64_t i = columns; i < padded(columns); i++) data[i] = 0;
  }
  ~RowBuffer() { ::operator delete(data, std::align_val_t(64)); }
  RowBuffer(const RowBuffer&) = delete;
  RowBuffer& operator=(const RowBuffer&) = delete;
  float* const data;
};

// Rows that one thread takes at least: about 16 k elements.
static inline int64_t row_grain(int64_t columns) { return columns >= 16384 ? 1 : 16384 / (columns > 0 ? columns : 1); }

// As many of the vector's elements as are left (none for left <= 0), the rest zero.
template <class T>
static inline vf load_part(const T* source, int64_t left) {
  if (left >= kWidth) return load(source);
  return left > 0 ? load_some(source, left) : vf{};
}

template <class T>
static inline void store_part(T* target, vf value, int64_t left) {
  if (left >= kWidth) {
    store(target, value);
  } else if (left > 0) {
    store_some(target, value, left);
  }
}

// The value as it reads back after being stored.
template <class T>
static inline vf rounded(vf value) {
  T kept[kWidth];
  store(kept, value);
  return load(kept);
}
template <>
inline vf rounded<float>(vf value) { return value; }
template <>
inline vf rounded<bf16>(vf value) { return as_float(bf16_words(value) & 0xffff0000u); }

template <class T>
static inline void store_row(T* target, const float* row, int64_t columns) {
  for (int64_t c = 0; c < columns; c += kWidth) store_part(target + c, load(row + c), columns - c);
}

}  // namespace DS_ISA
}  // namespace deepseek
