#include "fp8/fp8.h"

#include "common/row.h"

#include <mutex>

namespace deepseek {
namespace DS_ISA {
namespace {

constexpr int64_t kGrain = 32768;
constexpr int64_t kBlock = 256;

// Runs body(values, first, count) over blocks of x as floats.
template <class T, class Body>
void blocks(const T* x, int64_t from, int64_t to, Body&& body) {
  alignas(64) float values[kBlock + 8 * kWidth];
  for (int64_t first = from; first < to; first += kBlock) {
    const int64_t count = to - first < kBlock ? to - first : kBlock;
    for (int64_t c = 0; c < count; c += kWidth) store(values + c, load_part(x + first + c, count - c));
    body(values, first, count);
  }
}

template <class T, class F>
void encode(const Fp8CastParams& p) {
  const float scale = *p.scale;
  float amax = 0;
  std::mutex merging;
  cpu::parallel_for(p.elements, kGrain, [&](int64_t from, int64_t to) {
    float largest = 0;
    blocks(static_cast<const T*>(p.x), from, to, [&](const float* values, int64_t first, int64_t count) {
      for (int64_t i = 0; i < count; i++) p.codes[first + i] = fp8_encode<F>(values[i] * scale);
      for (int64_t i = 0; i < count; i++) {
        const uint32_t magnitude = fp8_bits(values[i]) & 0x7fffffffu;
        const float finite = magnitude < 0x7f800000u ? fp8_float(magnitude) : 0.0f;
        largest = finite > largest ? finite : largest;
      }
    });
    const std::lock_guard<std::mutex> lock(merging);
    amax = largest > amax ? largest : amax;
  });
  *p.amax = amax;
}

template <class T, class F>
void decode(const Fp8CastParams& p) {
  const float inverse = 1.0f / *p.scale;
  float table[256];
  for (int code = 0; code < 256; code++) table[code] = fp8_decode<F>(static_cast<uint8_t>(code)) * inverse;
  cpu::parallel_for(p.elements, kGrain, [&](int64_t from, int64_t to) {
    alignas(64) float values[kBlock + 8 * kWidth];
    for (int64_t first = from; first < to; first += kBlock) {
      const int64_t count = to - first < kBlock ? to - first : kBlock;
      for (int64_t i = 0; i < count; i++) values[i] = table[p.codes[first + i]];
      store_row(static_cast<T*>(p.y) + first, values, count);
    }
  });
}

template <class T>
void range(Fp8RangeParams& p) {
  std::mutex merging;
  cpu::parallel_for(p.elements, kGrain, [&](int64_t from, int64_t to) {
    int64_t nonzero = 0, broken = 0, below[kMostFormats] = {}, above[kMostFormats] = {};
    float largest = 0;
    blocks(static_cast<const T*>(p.x), from, to, [&](const float* values, int64_t, int64_t count) {
      alignas(64) float magnitudes[kBlock];
      int32_t present = 0, odd = 0;
      for (int64_t i = 0; i < count; i++) {
        const uint32_t bits = fp8_bits(values[i]) & 0x7fffffffu;
        const bool finite = bits < 0x7f800000u;
        magnitudes[i] = finite ? fp8_float(bits) : 0.0f;
        odd += finite ? 0 : 1;
        present += magnitudes[i] > 0 ? 1 : 0;
        largest = magnitudes[i] > largest ? magnitudes[i] : largest;
      }
      nonzero += present;
      broken += odd;
      for (int f = 0; f < p.formats; f++) {
        int32_t small = 0, big = 0;
        for (int64_t i = 0; i < count; i++) {
          small += magnitudes[i] > 0 && magnitudes[i] < p.floor[f] ? 1 : 0;
          big += magnitudes[i] > p.ceiling[f] ? 1 : 0;
        }
        below[f] += small;
        above[f] += big;
      }
    });
    const std::lock_guard<std::mutex> lock(merging);
    p.amax = largest > p.amax ? largest : p.amax;
    p.nonzero += static_cast<double>(nonzero);
    p.broken += static_cast<double>(broken);
    for (int f = 0; f < p.formats; f++) {
      p.below[f] += static_cast<double>(below[f]);
      p.above[f] += static_cast<double>(above[f]);
    }
  });
}

template <class T>
void encode(const Fp8CastParams& p) { p.format == kE4M3 ? encode<T, E4M3>(p) : encode<T, E5M2>(p); }
template <class T>
void decode(const Fp8CastParams& p) { p.format == kE4M3 ? decode<T, E4M3>(p) : decode<T, E5M2>(p); }

}  // namespace

void fp8_encode_all(const Fp8CastParams& p) { p.type == kBFloat16 ? encode<bf16>(p) : p.type == kFloat16 ? encode<f16>(p) : encode<float>(p); }
void fp8_decode_all(const Fp8CastParams& p) { p.type == kBFloat16 ? decode<bf16>(p) : p.type == kFloat16 ? decode<f16>(p) : decode<float>(p); }
void fp8_range(Fp8RangeParams& p) { p.type == kBFloat16 ? range<bf16>(p) : p.type == kFloat16 ? range<f16>(p) : range<float>(p); }

}  // namespace DS_ISA
}  // namespace deepseek
