// Philox4x32-7 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011, table 2: seven rounds pass BigCrush):
// counter-based, so that any element's random number can be had again from (seed, offset, element index) and no dropout mask
// is ever stored.
//
// Element e of a tensor takes the 16-bit half (e % 2) of word (e % 8) / 2 of the block whose counter is
// {e / 8 low, e / 8 high, offset low, offset high}, under the key {seed low, seed high}; the CPU and CUDA kernels agree on this.
// An element is kept when its 16 bits are at or above round(p · 65536); the kept are scaled by the exact inverse of their share.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define DS_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define DS_HOST_DEVICE inline
#endif

namespace deepseek {
namespace {

constexpr uint32_t kPhiloxMultiplier0 = 0xD2511F53u, kPhiloxMultiplier1 = 0xCD9E8D57u;
constexpr uint32_t kPhiloxWeyl0 = 0x9E3779B9u, kPhiloxWeyl1 = 0xBB67AE85u;
constexpr int kPhiloxRounds = 7;

struct PhiloxBlock { uint32_t word[4]; };

DS_HOST_DEVICE PhiloxBlock philox(uint64_t seed, uint64_t offset, uint64_t index) {
  uint32_t c0 = static_cast<uint32_t>(index), c1 = static_cast<uint32_t>(index >> 32);
  uint32_t c2 = static_cast<uint32_t>(offset), c3 = static_cast<uint32_t>(offset >> 32);
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
#if defined(__CUDACC__)
#pragma unroll
#endif
  for (int round = 0; round < kPhiloxRounds; round++) {
    const uint64_t product0 = static_cast<uint64_t>(kPhiloxMultiplier0) * c0, product1 = static_cast<uint64_t>(kPhiloxMultiplier1) * c2;
    const uint32_t next0 = static_cast<uint32_t>(product1 >> 32) ^ c1 ^ k0, next2 = static_cast<uint32_t>(product0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<uint32_t>(product1);
    c3 = static_cast<uint32_t>(product0);
    c0 = next0;
    c2 = next2;
    k0 += kPhiloxWeyl0;
    k1 += kPhiloxWeyl1;
  }
  return {{c0, c1, c2, c3}};
}

// Of 65536 equally likely values, how many drop an element.
DS_HOST_DEVICE uint32_t dropout_threshold(double p) { return static_cast<uint32_t>(p * 65536.0 + 0.5); }
// What the kept elements are multiplied by.
DS_HOST_DEVICE float dropout_scale(double p) {
  const uint32_t dropped = dropout_threshold(p);
  return dropped >= 65536u ? 0.0f : static_cast<float>(65536.0 / (65536.0 - dropped));
}

}  // namespace
}  // namespace deepseek
