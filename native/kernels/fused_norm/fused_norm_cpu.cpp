#include "fused_norm/fused_norm.h"

#include "common/philox_vec.h"
#include "common/row.h"

#include <cmath>
#include <cstring>
#include <memory>
#include <type_traits>

namespace deepseek {
namespace DS_ISA {
namespace {

struct Mask {
  uint64_t seed, offset;
  uint32_t threshold;
  vf scale;
  uint64_t blocks_of_row;

  explicit Mask(const NormParams& p)
      : seed(p.seed), offset(p.offset), threshold(dropout_threshold(p.p)), scale(broadcast(dropout_scale(p.p))),
        blocks_of_row(static_cast<uint64_t>((p.columns + 7) / 8)) {
    if (p.rng != nullptr) {
      seed += static_cast<uint64_t>(p.rng[0]);
      offset += static_cast<uint64_t>(p.rng[1]);
    }
  }

  // Of 8 vectors that start at a column divisible by 8.
  void apply(uint64_t block, vf* values) const {
    if (threshold >= 65536u) {
      for (int i = 0; i < 8; i++) values[i] = vf{};
    } else if (threshold != 0) {
      vu words[4];
      philox_vectors(seed, offset, block, words);
      for (int i = 0; i < 4; i++) drop(words[i], threshold, scale, values[2 * i], values[2 * i + 1]);
    }
  }
};

// Results that no cache of a core could hold until they are read again go past the caches: lines are then written without being read.
constexpr int64_t kStreamBytes = 8 << 20;

// Bytes ahead of use that inputs are asked for: a row of the common widths, and more than the processor foresees by itself.
constexpr int64_t kAhead = 4096;

template <class T>
inline void ask(const T* from) {
  for (size_t byte = 0; byte < kPhiloxElements * sizeof(T); byte += 64) __builtin_prefetch(reinterpret_cast<const char*>(from) + kAhead + byte);
}

// `count` elements, a multiple of 64 bytes from a 64-byte border, past the caches.
template <class T>
inline void pass(T* to, const T* from, size_t count) {
#if defined(__AVX512F__)
  for (size_t i = 0; i < count * sizeof(T) / 64; i++) _mm512_stream_si512(reinterpret_cast<__m512i*>(to) + i, _mm512_loadu_si512(reinterpret_cast<const __m512i*>(from) + i));
#elif defined(__AVX2__)
  for (size_t i = 0; i < count * sizeof(T) / 32; i++) _mm256_stream_si256(reinterpret_cast<__m256i*>(to) + i, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from) + i));
#else
  std::memcpy(to, from, count * sizeof(T));
#endif
}

// Writes 8 vectors; kRounded: their values are of T already.
template <class T, bool kPast, bool kRounded>
inline void write(T* to, const vf* values) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<T, bf16>) {
    // The upper halves of two vectors' words make one vector.
    vi places;
    for (int i = 0; i < kWidth; i++) places[i] = (4 * i + 1) | (4 * i + 3) << 16;
    for (int i = 0; i < 8; i += 2) {
      const vu low = kRounded ? as_uint(values[i]) : bf16_words(values[i]), high = kRounded ? as_uint(values[i + 1]) : bf16_words(values[i + 1]);
      const __m512i both = _mm512_permutex2var_epi16(reinterpret_cast<__m512i>(low), reinterpret_cast<__m512i>(places), reinterpret_cast<__m512i>(high));
      if (kPast) {
        _mm512_stream_si512(reinterpret_cast<__m512i*>(to + i * kWidth), both);
      } else {
        _mm512_storeu_si512(to + i * kWidth, both);
      }
    }
    return;
  }
#endif
  if constexpr (kPast && std::is_same_v<T, float>) {
    pass(to, reinterpret_cast<const float*>(values), kPhiloxElements);
  } else if constexpr (kPast) {
    T kept[kPhiloxElements];
    for (int i = 0; i < 8; i++) store(kept + i * kWidth, values[i]);
    pass(to, kept, kPhiloxElements);
  } else {
    for (int i = 0; i < 8; i++) store(to + i * kWidth, values[i]);
  }
}

// 8 vectors, as much of them as is left of the row.
template <class T>
inline void read(const T* from, int64_t left, vf* values) {
  if (left >= kPhiloxElements) {
    for (int i = 0; i < 8; i++) values[i] = load(from + i * kWidth);
  } else {
    for (int i = 0; i < 8; i++) values[i] = load_part(from + i * kWidth, left - i * kWidth);
  }
}
template <class T, bool kPast, bool kRounded>
inline void write_some(T* to, const vf* values, int64_t left) {
  if (left >= kPhiloxElements) {
    write<T, kPast, kRounded>(to, values);
  } else {
    for (int i = 0; i < 8; i++) store_part(to + i * kWidth, values[i], left - i * kWidth);
  }
}

// z of one row as floats, rounded as stored; returns their sum. `row` has room for a multiple of 8 · kWidth.
template <class T, class R, bool kPast>
float stream_row(const NormParams& p, const Mask& mask, int64_t r, float* row) {
  const int64_t n = p.columns;
  const T* x = static_cast<const T*>(p.x) + r * n;
  const R* residual = p.residual != nullptr ? static_cast<const R*>(p.residual) + r * n : nullptr;
  const auto* shift = static_cast<const float*>(p.shift);
  R* z = p.z != nullptr ? static_cast<R*>(p.z) + r * n : nullptr;
  const uint64_t block = static_cast<uint64_t>(r) * mask.blocks_of_row;
  vf total[4] = {};
  for (int64_t c = 0; c < n; c += kPhiloxElements) {
    const int64_t left = n - c;
    vf value[8], other[8];
    ask(x + c);
    read(x + c, left, value);
    if (shift != nullptr) {
      read(shift + c, left, other);
      for (int i = 0; i < 8; i++) value[i] += other[i];
    }
    mask.apply(block + static_cast<uint64_t>(c) / 8, value);
    if (residual != nullptr) {
      ask(residual + c);
      read(residual + c, left, other);
      for (int i = 0; i < 8; i++) value[i] += other[i];
    }
    for (int i = 0; i < 8; i++) {
      value[i] = rounded<R>(value[i]);
      store(row + c + i * kWidth, value[i]);
      total[i % 4] += value[i];
    }
    if (z != nullptr) write_some<R, kPast, true>(z + c, value, left);
  }
  return sum((total[0] + total[1]) + (total[2] + total[3]));
}

// Σ (value − centre)² over the row; places past its end hold zeros and are left out.
float squares(const float* row, int64_t n, float centre) {
  const vf shift = broadcast(centre);
  vf total[4] = {};
  int64_t c = 0;
  for (; c + 4 * kWidth <= n; c += 4 * kWidth) {
    for (int i = 0; i < 4; i++) {
      const vf d = load(row + c + i * kWidth) - shift;
      total[i] += d * d;
    }
  }
  float rest = 0;
  for (; c < n; c++) rest += (row[c] - centre) * (row[c] - centre);
  return sum((total[0] + total[1]) + (total[2] + total[3])) + rest;
}

template <class T, bool kPast>
void normalise_row(const float* row, int64_t n, float mean, float rstd, const float* weight, const float* bias, T* y) {
  const vf m = broadcast(mean), s = broadcast(rstd);
  for (int64_t c = 0; c < n; c += kPhiloxElements) {
    vf value[8], other[8];
    for (int i = 0; i < 8; i++) value[i] = (load(row + c + i * kWidth) - m) * s;
    if (weight != nullptr) {
      read(weight + c, n - c, other);
      for (int i = 0; i < 8; i++) value[i] *= other[i];
    }
    if (bias != nullptr) {
      read(bias + c, n - c, other);
      for (int i = 0; i < 8; i++) value[i] += other[i];
    }
    write_some<T, kPast, false>(y + c, value, n - c);
  }
}

template <class T, class R, bool kPast>
void forward_rows(const NormParams& p, const Mask& mask, int64_t first, int64_t last) {
  const int64_t n = p.columns;
  const auto* weight = static_cast<const float*>(p.weight);
  const auto* bias = static_cast<const float*>(p.bias);
  RowBuffer row(n);
  for (int64_t r = first; r < last; r++) {
    const float total = stream_row<T, R, kPast>(p, mask, r, row.data);
    const float mean = p.rms ? 0.0f : total / static_cast<float>(n);
    const float rstd = 1.0f / std::sqrt(squares(row.data, n, mean) / static_cast<float>(n) + p.epsilon);
    if (!p.rms) p.mean[r] = mean;
    p.rstd[r] = rstd;
    normalise_row<T, kPast>(row.data, n, mean, rstd, weight, bias, static_cast<T*>(p.y) + r * n);
  }
#if defined(__AVX2__)
  // What was written past the caches is seen by other threads after this.
  if (kPast) _mm_sfence();
#endif
}

// Whether these results, each of so many bytes an element (a null pointer has none), are written past the caches: they are large and
// whole lines.
struct Result {
  const void* to;
  size_t element;
};
template <size_t n>
bool past_caches(const NormParams& p, const Result (&results)[n]) {
  size_t bytes = 0;
  for (const auto& result : results) {
    if (result.to == nullptr) continue;
    if (reinterpret_cast<uintptr_t>(result.to) % 64 != 0 || static_cast<size_t>(p.columns) * result.element % 64 != 0) return false;
    bytes += static_cast<size_t>(p.rows * p.columns) * result.element;
  }
  return bytes >= kStreamBytes;
}

template <class T, class R>
void forward(const NormParams& p) {
  const Mask mask(p);
  if (p.rng != nullptr && p.rng_used != nullptr) {
    p.rng_used[0] = p.rng[0];
    p.rng_used[1] = p.rng[1];
  }
  const bool past = past_caches(p, {{p.y, sizeof(T)}, {p.z, sizeof(R)}});
  cpu::parallel_for(p.rows, row_grain(p.columns), [&](int64_t first, int64_t last) {
    past ? forward_rows<T, R, true>(p, mask, first, last) : forward_rows<T, R, false>(p, mask, first, last);
  });
}

// Sums of a group of rows, each with room for whole groups of 8 vectors, or null.
struct Shares {
  float *dweight, *dbias, *dshift;
};

inline void gather(float* share, const vf* terms) {
  for (int i = 0; i < 8; i++) store(share + i * kWidth, load(share + i * kWidth) + terms[i]);
}

// The gradients of one row, and its terms of the sums.
template <class T, class R, bool kPast>
void gradient_row(const NormParams& p, const Mask& mask, int64_t r, const Shares& shares) {
  const int64_t n = p.columns;
  const T* dy = static_cast<const T*>(p.dy) + r * n;
  const R* z = static_cast<const R*>(p.z) + r * n;
  const R* dz = p.dz != nullptr ? static_cast<const R*>(p.dz) + r * n : nullptr;
  const auto* weight = static_cast<const float*>(p.weight);
  const vf m = broadcast(p.rms ? 0.0f : p.mean[r]), s = broadcast(p.rstd[r]);
  vf sum_g[2] = {}, sum_gx[2] = {}, g[8], x[8], other[8];
  for (int64_t c = 0; c < n; c += kPhiloxElements) {
    const int64_t left = n - c;
    ask(dy + c);
    ask(z + c);
    if (dz != nullptr) ask(dz + c);
    read(dy + c, left, g);
    read(z + c, left, x);
    for (int i = 0; i < 8; i++) x[i] = (x[i] - m) * s;
    // Behind the row's end the gradient is zero, and so is every term.
    if (shares.dbias != nullptr) gather(shares.dbias + c, g);
    if (shares.dweight != nullptr) {
      for (int i = 0; i < 8; i++) other[i] = g[i] * x[i];
      gather(shares.dweight + c, other);
    }
    if (weight != nullptr) {
      read(weight + c, left, other);
      for (int i = 0; i < 8; i++) g[i] *= other[i];
    }
    for (int i = 0; i < 8; i++) {
      sum_g[i % 2] += g[i];
      sum_gx[i % 2] += g[i] * x[i];
    }
  }
  const vf c1 = broadcast(p.rms ? 0.0f : sum(sum_g[0] + sum_g[1]) / static_cast<float>(n)), c2 = broadcast(sum(sum_gx[0] + sum_gx[1]) / static_cast<float>(n));
  const uint64_t block = static_cast<uint64_t>(r) * mask.blocks_of_row;
  for (int64_t c = 0; c < n; c += kPhiloxElements) {
    const int64_t left = n - c;
    read(dy + c, left, g);
    read(z + c, left, x);
    if (weight != nullptr) {
      read(weight + c, left, other);
      for (int i = 0; i < 8; i++) g[i] *= other[i];
    }
    for (int i = 0; i < 8; i++) g[i] = (g[i] - c1 - (x[i] - m) * s * c2) * s;
    if (dz != nullptr) {
      read(dz + c, left, other);
      for (int i = 0; i < 8; i++) g[i] += other[i];
    }
    if (p.dresidual != nullptr) write_some<R, kPast, false>(static_cast<R*>(p.dresidual) + r * n + c, g, left);
    if (p.dx == nullptr && p.dshift == nullptr) continue;
    mask.apply(block + static_cast<uint64_t>(c) / 8, g);
    if (p.dx != nullptr) write_some<T, kPast, false>(static_cast<T*>(p.dx) + r * n + c, g, left);
    if (p.dshift != nullptr) gather(shares.dshift + c, g);
  }
}

template <class T, class R, bool kPast>
void gradient_rows(const NormParams& p, const Mask& mask, int64_t first, int64_t last, const Shares& shares) {
  for (int64_t r = first; r < last; r++) gradient_row<T, R, kPast>(p, mask, r, shares);
#if defined(__AVX2__)
  if (kPast) _mm_sfence();
#endif
}

template <class T, class R>
void backward(const NormParams& p) {
  const int64_t n = p.columns, groups = p.partials, width = padded(n);
  const Mask mask(p);
  const bool past = past_caches(p, {{p.dx, sizeof(T)}, {p.dresidual, sizeof(R)}});
  std::unique_ptr<float[]> sums(new float[static_cast<size_t>(3 * groups * width)]());
  cpu::parallel_for(groups, 1, [&](int64_t first, int64_t last) {
    for (int64_t group = first; group < last; group++) {
      float* share = sums.get() + 3 * group * width;
      const Shares shares{p.dweight != nullptr ? share : nullptr, p.dbias != nullptr ? share + width : nullptr, share + 2 * width};
      const int64_t from = group * p.rows / groups, to = (group + 1) * p.rows / groups;
      past ? gradient_rows<T, R, true>(p, mask, from, to, shares) : gradient_rows<T, R, false>(p, mask, from, to, shares);
    }
  });
  for (int which = 0; which < 3; which++) {
    auto* out = static_cast<float*>(which == 0 ? p.dweight : which == 1 ? p.dbias : p.dshift);
    if (out == nullptr) continue;
    for (int64_t c = 0; c < n; c++) out[c] = 0;
    for (int64_t group = 0; group < groups; group++) {
      const float* part = sums.get() + (3 * group + which) * width;
      for (int64_t c = 0; c < n; c++) out[c] += part[c];
    }
  }
}

template <class T>
void forward_of(const NormParams& p) { p.stream_type == p.type ? forward<T, T>(p) : forward<T, float>(p); }
template <class T>
void backward_of(const NormParams& p) { p.stream_type == p.type ? backward<T, T>(p) : backward<T, float>(p); }

}  // namespace

void norm_forward(const NormParams& p) {
  if (p.type == kBFloat16) return forward_of<bf16>(p);
  if (p.type == kFloat16) return forward_of<f16>(p);
  forward<float, float>(p);
}

void norm_backward(const NormParams& p) {
  if (p.type == kBFloat16) return backward_of<bf16>(p);
  if (p.type == kFloat16) return backward_of<f16>(p);
  backward<float, float>(p);
}

}  // namespace DS_ISA
}  // namespace deepseek
