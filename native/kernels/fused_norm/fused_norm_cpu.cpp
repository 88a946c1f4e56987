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

  // Drops among `count` (at most 8 · kWidth) values that start at a column divisible by 8.
  void apply(uint64_t block, float* values) const {
    vu words[4];
    philox_vectors(seed, offset, block, words);
    for (int i = 0; i < 4; i++) {
      vf first = load(values + 2 * i * kWidth), second = load(values + (2 * i + 1) * kWidth);
      drop(words[i], threshold, scale, first, second);
      store(values + 2 * i * kWidth, first);
      store(values + (2 * i + 1) * kWidth, second);
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

// z of one row as floats, rounded as stored; returns their sum. `row` has room for a multiple of 8 · kWidth.
template <class T, class R, bool kPast>
float stream_row(const NormParams& p, const Mask& mask, int64_t r, float* row) {
  const int64_t n = p.columns, whole = n / kPhiloxElements * kPhiloxElements;
  const T* x = static_cast<const T*>(p.x) + r * n;
  const R* residual = p.residual != nullptr ? static_cast<const R*>(p.residual) + r * n : nullptr;
  const auto* shift = static_cast<const float*>(p.shift);
  R* z = p.z != nullptr ? static_cast<R*>(p.z) + r * n : nullptr;
  const uint64_t block = static_cast<uint64_t>(r) * mask.blocks_of_row;
  const bool dropping = mask.threshold != 0, all_dropped = mask.threshold >= 65536u;
  vf total[4] = {};
  for (int64_t c = 0; c < n; c += kPhiloxElements) {
    const bool full = c < whole;
    const int64_t left = n - c;
    vf value[8];
    if (full) {
      ask(x + c);
      if (residual != nullptr) ask(residual + c);
      for (int i = 0; i < 8; i++) value[i] = load(x + c + i * kWidth);
    } else {
      for (int i = 0; i < 8; i++) value[i] = load_part(x + c + i * kWidth, left - i * kWidth);
    }
    if (shift != nullptr) {
      for (int i = 0; i < 8; i++) value[i] += load_part(shift + c + i * kWidth, left - i * kWidth);
    }
    if (all_dropped) {
      for (auto& v : value) v = vf{};
    } else if (dropping) {
      vu words[4];
      philox_vectors(mask.seed, mask.offset, block + static_cast<uint64_t>(c) / 8, words);
      for (int i = 0; i < 4; i++) drop(words[i], mask.threshold, mask.scale, value[2 * i], value[2 * i + 1]);
    }
    if (residual != nullptr) {
      if (full) {
        for (int i = 0; i < 8; i++) value[i] += load(residual + c + i * kWidth);
      } else {
        for (int i = 0; i < 8; i++) value[i] += load_part(residual + c + i * kWidth, left - i * kWidth);
      }
    }
    for (int i = 0; i < 8; i++) {
      value[i] = rounded<R>(value[i]);
      store(row + c + i * kWidth, value[i]);
      total[i % 4] += value[i];
    }
    if (z != nullptr) {
      if (full) {
        write<R, kPast, true>(z + c, value);
      } else {
        for (int i = 0; i < 8; i++) store_part(z + c + i * kWidth, value[i], left - i * kWidth);
      }
    }
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
  int64_t c = 0;
  for (; c + kPhiloxElements <= n; c += kPhiloxElements) {
    vf value[8];
    for (int i = 0; i < 8; i++) value[i] = (load(row + c + i * kWidth) - m) * s;
    if (weight != nullptr) {
      for (int i = 0; i < 8; i++) value[i] *= load(weight + c + i * kWidth);
    }
    if (bias != nullptr) {
      for (int i = 0; i < 8; i++) value[i] += load(bias + c + i * kWidth);
    }
    write<T, kPast, false>(y + c, value);
  }
  for (; c < n; c += kWidth) {
    const int64_t left = n - c;
    vf value = (load(row + c) - m) * s;
    if (weight != nullptr) value *= load_part(weight + c, left);
    if (bias != nullptr) value += load_part(bias + c, left);
    store_part(y + c, value, left);
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

template <class T, class R>
void forward(const NormParams& p) {
  const int64_t n = p.columns;
  const Mask mask(p);
  if (p.rng != nullptr && p.rng_used != nullptr) {
    p.rng_used[0] = p.rng[0];
    p.rng_used[1] = p.rng[1];
  }
  const auto even = [&](const void* pointer, size_t element) { return reinterpret_cast<uintptr_t>(pointer) % 64 == 0 && static_cast<size_t>(n) * element % 64 == 0; };
  const int64_t bytes = p.rows * n * static_cast<int64_t>(sizeof(T) + (p.z != nullptr ? sizeof(R) : 0));
  const bool past = bytes >= kStreamBytes && even(p.y, sizeof(T)) && (p.z == nullptr || even(p.z, sizeof(R)));
  cpu::parallel_for(p.rows, row_grain(n), [&](int64_t first, int64_t last) {
    past ? forward_rows<T, R, true>(p, mask, first, last) : forward_rows<T, R, false>(p, mask, first, last);
  });
}

// One row's gradient of z into `row`, and its terms of dweight and dbias added to those of its group.
template <class T, class R>
void gradient_row(const NormParams& p, int64_t r, float* row, float* dweight, float* dbias) {
  const int64_t n = p.columns;
  const T* dy = static_cast<const T*>(p.dy) + r * n;
  const R* z = static_cast<const R*>(p.z) + r * n;
  const R* dz = p.dz != nullptr ? static_cast<const R*>(p.dz) + r * n : nullptr;
  const auto* weight = static_cast<const float*>(p.weight);
  const float rstd = p.rstd[r];
  const vf m = broadcast(p.rms ? 0.0f : p.mean[r]), s = broadcast(rstd);
  vf sum_g{}, sum_gx{};
  for (int64_t c = 0; c < n; c += kWidth) {
    const int64_t left = n - c;
    const vf d = load_part(dy + c, left);
    const vf x = (load_part(z + c, left) - m) * s;
    const vf g = weight != nullptr ? d * load_part(weight + c, left) : d;
    sum_g += g;
    sum_gx += g * x;
    if (dweight != nullptr) store(dweight + c, load(dweight + c) + d * x);
    if (dbias != nullptr) store(dbias + c, load(dbias + c) + d);
  }
  const vf c1 = broadcast(p.rms ? 0.0f : sum(sum_g) / static_cast<float>(n)), c2 = broadcast(sum(sum_gx) / static_cast<float>(n));
  for (int64_t c = 0; c < n; c += kWidth) {
    const int64_t left = n - c;
    const vf x = (load_part(z + c, left) - m) * s;
    vf g = load_part(dy + c, left);
    if (weight != nullptr) g *= load_part(weight + c, left);
    g = (g - c1 - x * c2) * s;
    if (dz != nullptr) g += load_part(dz + c, left);
    store(row + c, g);
  }
}

template <class T, class R>
void backward(const NormParams& p) {
  const int64_t n = p.columns, groups = p.partials, width = padded(n);
  const Mask mask(p);
  std::unique_ptr<float[]> sums(new float[static_cast<size_t>(3 * groups * width)]());
  cpu::parallel_for(groups, 1, [&](int64_t first, int64_t last) {
    RowBuffer row(n);
    for (int64_t group = first; group < last; group++) {
      float* dweight = p.dweight != nullptr ? sums.get() + 3 * group * width : nullptr;
      float* dbias = p.dbias != nullptr ? sums.get() + (3 * group + 1) * width : nullptr;
      float* dshift = sums.get() + (3 * group + 2) * width;
      for (int64_t r = group * p.rows / groups; r < (group + 1) * p.rows / groups; r++) {
        gradient_row<T, R>(p, r, row.data, dweight, dbias);
        if (p.dresidual != nullptr) store_row(static_cast<R*>(p.dresidual) + r * n, row.data, n);
        if (p.dx == nullptr && p.dshift == nullptr) continue;
        if (mask.threshold >= 65536u) {
          for (int64_t c = 0; c < n; c++) row.data[c] = 0;
        } else if (mask.threshold != 0) {
          const uint64_t block = static_cast<uint64_t>(r) * mask.blocks_of_row;
          for (int64_t c = 0; c < n; c += kPhiloxElements) mask.apply(block + static_cast<uint64_t>(c) / 8, row.data + c);
        }
        if (p.dx != nullptr) store_row(static_cast<T*>(p.dx) + r * n, row.data, n);
        if (p.dshift == nullptr) continue;
        for (int64_t c = 0; c < n; c++) dshift[c] += row.data[c];
      }
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
