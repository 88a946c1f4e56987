// The CPU kernels' threads are libtorch's; tests limit the instruction set through the dispatcher.
#include "common/cpu.h"

#include "common/operator.h"

#include <ATen/Parallel.h>

#include <algorithm>

namespace deepseek::cpu {

int threads() noexcept { return at::in_parallel_region() ? 1 : at::get_num_threads(); }

void parallel_ranges(int64_t count, int64_t grain, void (*body)(void*, int64_t, int64_t), void* context) {
  at::parallel_for(0, count, grain, [=](int64_t first, int64_t last) { body(context, first, last); });
}

namespace {

int64_t limit_isa(int64_t level) { return set_isa(static_cast<int>(std::clamp<int64_t>(level, 0, kAvx512))); }

}  // namespace
}  // namespace deepseek::cpu

// cpu_isa_(level): limits the CPU kernels to an instruction set (0 portable, 1 AVX2, 2 AVX-512), returns the former limit.
TORCH_LIBRARY_FRAGMENT(deepseek, m) {
  m.def("cpu_isa_(int level) -> int", deepseek::cpu::limit_isa);
}
