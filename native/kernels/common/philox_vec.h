// Philox blocks for 8 · kWidth elements at a time.
#pragma once

#include "common/philox.h"
#include "common/vec.h"

namespace deepseek {
namespace DS_ISA {

// 64-bit products of the low halves of 64-bit lanes.
#if defined(__AVX512F__) || defined(__AVX2__)
typedef uint64_t vw __attribute__((vector_size(4 * kWidth)));
static inline vw multiply_low_halves(vw a, uint32_t factor) {
#if defined(__AVX512F__)
  return reinterpret_cast<vw>(_mm512_mul_epu32(reinterpret_cast<__m512i>(a), _mm512_set1_epi64(factor)));
#else
  return reinterpret_cast<vw>(_mm256_mul_epu32(reinterpret_cast<__m256i>(a), _mm256_set1_epi64x(factor)));
#endif
}
// The high half of each 64-bit lane in its low half; above, anything. A shuffle leaves the port of shifts to the products.
static inline vw high_to_low(vw a) {
#if defined(__AVX512F__)
  return reinterpret_cast<vw>(_mm512_shuffle_epi32(reinterpret_cast<__m512i>(a), static_cast<_MM_PERM_ENUM>(0xF5)));
#else
  return reinterpret_cast<vw>(_mm256_shuffle_epi32(reinterpret_cast<__m256i>(a), 0xF5));
#endif
}
// The low halves of both, in turn.
static inline vu beside(vw even, vw odd) {
#if defined(__AVX512F__)
  return reinterpret_cast<vu>(_mm512_mask_shuffle_epi32(reinterpret_cast<__m512i>(even), 0xAAAA, reinterpret_cast<__m512i>(odd), static_cast<_MM_PERM_ENUM>(0xA0)));
#else
  return reinterpret_cast<vu>(_mm256_blend_epi32(reinterpret_cast<__m256i>(even), _mm256_slli_epi64(reinterpret_cast<__m256i>(odd), 32), 0xAA));
#endif
}
#endif

// Within each 128-bit part: {a0, b0, a1, b1} and {a2, b2, a3, b3}; the same in pairs of words.
static inline vu low_words(vu a, vu b) {
#if defined(__AVX512F__)
  return reinterpret_cast<vu>(_mm512_unpacklo_epi32(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
#elif defined(__AVX2__)
  return reinterpret_cast<vu>(_mm256_unpacklo_epi32(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
#else
  return vu{a[0], b[0], a[1], b[1]};
#endif
}
static inline vu high_words(vu a, vu b) {
#if defined(__AVX512F__)
  return reinterpret_cast<vu>(_mm512_unpackhi_epi32(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
#elif defined(__AVX2__)
  return reinterpret_cast<vu>(_mm256_unpackhi_epi32(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
#else
  return vu{a[2], b[2], a[3], b[3]};
#endif
}
static inline vu low_pairs(vu a, vu b) {
#if defined(__AVX512F__)
  return reinterpret_cast<vu>(_mm512_unpacklo_epi64(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
#elif defined(__AVX2__)
  return reinterpret_cast<vu>(_mm256_unpacklo_epi64(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
#else
  return vu{a[0], a[1], b[0], b[1]};
#endif
}
static inline vu high_pairs(vu a, vu b) {
#if defined(__AVX512F__)
  return reinterpret_cast<vu>(_mm512_unpackhi_epi64(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
#elif defined(__AVX2__)
  return reinterpret_cast<vu>(_mm256_unpackhi_epi64(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
#else
  return vu{a[2], a[3], b[2], b[3]};
#endif
}

constexpr int kPhiloxElements = 8 * kWidth;

// The 16-bit random numbers of elements 8·block … 8·block + 8·kWidth − 1, in order, two to a word, in four vectors.
static inline void philox_vectors(uint64_t seed, uint64_t offset, uint64_t block, vu words[4]) {
  // Lane 4·part + r of the counters is block + r · kWidth / 4 + part: the transposition below then leaves the order natural.
  vu lane;
  for (int i = 0; i < kWidth; i++) lane[i] = static_cast<uint32_t>((i % 4) * (kWidth / 4) + i / 4);
  const vu base = vu{} + static_cast<uint32_t>(block);
  vu c0 = base + lane;
  vu c1 = static_cast<uint32_t>(block >> 32) + reinterpret_cast<vu>((c0 < base) & 1);
  vu c2 = vu{} + static_cast<uint32_t>(offset), c3 = vu{} + static_cast<uint32_t>(offset >> 32);
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
#if defined(__AVX512F__) || defined(__AVX2__)
  // Even and odd lanes apart, each in the low half of a 64-bit lane: the multiplier reads no more than that half, so what
  // the upper halves hold does not matter until the end.
  vw even[4], odd[4];
  const vu words_in[4] = {c0, c1, c2, c3};
  for (int i = 0; i < 4; i++) {
    even[i] = reinterpret_cast<vw>(words_in[i]);
    odd[i] = even[i] >> 32;
  }
  for (int round = 0; round < kPhiloxRounds; round++) {
    for (int parity = 0; parity < 2; parity++) {
      vw* c = parity == 0 ? even : odd;
      const vw product0 = multiply_low_halves(c[0], kPhiloxMultiplier0), product1 = multiply_low_halves(c[2], kPhiloxMultiplier1);
      c[0] = high_to_low(product1) ^ c[1] ^ static_cast<uint64_t>(k0);
      c[2] = high_to_low(product0) ^ c[3] ^ static_cast<uint64_t>(k1);
      c[1] = product1;
      c[3] = product0;
    }
    k0 += kPhiloxWeyl0;
    k1 += kPhiloxWeyl1;
  }
  vu* const out[4] = {&c0, &c1, &c2, &c3};
  for (int i = 0; i < 4; i++) *out[i] = beside(even[i], odd[i]);
#else
  for (int lane_of = 0; lane_of < kWidth; lane_of++) {
    const PhiloxBlock block_of = philox(seed, offset, static_cast<uint64_t>(c1[lane_of]) << 32 | c0[lane_of]);
    c0[lane_of] = block_of.word[0];
    c1[lane_of] = block_of.word[1];
    c2[lane_of] = block_of.word[2];
    c3[lane_of] = block_of.word[3];
  }
  (void)k0;
  (void)k1;
#endif
  const vu a = low_words(c0, c1), b = low_words(c2, c3), c = high_words(c0, c1), d = high_words(c2, c3);
  words[0] = low_pairs(a, b);
  words[1] = high_pairs(a, b);
  words[2] = low_pairs(c, d);
  words[3] = high_pairs(c, d);
}

// Dropout of 2 · kWidth elements whose random numbers are `words`: the kept times scale, the dropped 0 (even where they are NaN).
static inline void drop(vu words, uint32_t threshold, vf scale, vf& first, vf& second) {
#if defined(__AVX512F__)
  const __mmask32 kept = _mm512_cmpge_epu16_mask(reinterpret_cast<__m512i>(words), _mm512_set1_epi16(static_cast<int16_t>(threshold)));
  first = reinterpret_cast<vf>(_mm512_maskz_mul_ps(static_cast<__mmask16>(kept), reinterpret_cast<__m512>(first), reinterpret_cast<__m512>(scale)));
  second = reinterpret_cast<vf>(_mm512_maskz_mul_ps(static_cast<__mmask16>(kept >> 16), reinterpret_cast<__m512>(second), reinterpret_cast<__m512>(scale)));
#elif defined(__AVX2__)
  const __m256i w = reinterpret_cast<__m256i>(words), t = _mm256_set1_epi16(static_cast<int16_t>(threshold));
  const __m256i kept = _mm256_cmpeq_epi16(_mm256_max_epu16(w, t), w);
  const __m256i low = _mm256_cvtepi16_epi32(_mm256_castsi256_si128(kept)), high = _mm256_cvtepi16_epi32(_mm256_extracti128_si256(kept, 1));
  first = reinterpret_cast<vf>(_mm256_and_ps(reinterpret_cast<__m256>(first * scale), _mm256_castsi256_ps(low)));
  second = reinterpret_cast<vf>(_mm256_and_ps(reinterpret_cast<__m256>(second * scale), _mm256_castsi256_ps(high)));
#else
  for (int i = 0; i < kWidth; i++) {
    first[i] = ((words[i / 2] >> (16 * (i % 2))) & 0xffffu) >= threshold ? first[i] * scale[i] : 0.0f;
    second[i] = ((words[(kWidth + i) / 2] >> (16 * (i % 2))) & 0xffffu) >= threshold ? second[i] * scale[i] : 0.0f;
  }
#endif
}

}  // namespace DS_ISA
}  // namespace deepseek
