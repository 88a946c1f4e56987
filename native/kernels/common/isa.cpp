// The instruction set in use. Compiled once, for any processor, without libtorch.
#include "common/cpu.h"

#include <algorithm>
#include <atomic>

namespace deepseek::cpu {
namespace {

int best() noexcept {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c")) {
    const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    return wide ? kAvx512 : kAvx2;
  }
#endif
  return kPortable;
}

const int kBest = best();
std::atomic<int> current{kBest};

}  // namespace

int isa() noexcept { return current.load(std::memory_order_relaxed); }

int set_isa(int level) noexcept { return current.exchange(std::clamp<int>(level, kPortable, kBest), std::memory_order_relaxed); }

}  // namespace deepseek::cpu
