#include "common/cpu.h"

#include "common/operator.h"

#include <ATen/Parallel.h>

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

int64_t limit_isa(int64_t level) { return set_isa(static_cast<int>(std::clamp<int64_t>(level, 0, kAvx512))); }

}  // namespace

int isa() noexcept { return current.load(std::memory_order_relaxed); }

int set_isa(int level) noexcept { return current.exchange(std::clamp<int>(level, kPortable, kBest), std::memory_order_relaxed); }

int threads() noexcept { return at::in_parallel_region() ? 1 : at::get_num_threads(); }

void parallel_ranges(int64_t count, int64_t grain, void (*body)(void*, int64_t, int64_t), void* context) {
  at::parallel_for(0, count, grain, [=](int64_t first, int64_t last) { body(context, first, last); });
}

}  // namespace deepseek::cpu

// cpu_isa_(level): limits the CPU kernels to an instruction set (0 portable, 1 AVX2, 2 AVX-512), returns the former limit.
TORCH_LIBRARY_FRAGMENT(deepseek, m) {
  m.def("cpu_isa_(int level) -> int", deepseek::cpu::limit_isa);
}
