// What the CPU kernels share: the choice of instruction set at run time, and threads. No header of libtorch.
#pragma once

#include <cstdint>

namespace deepseek::cpu {

// Instruction sets in rising order; a *_cpu.cpp is compiled once for each, its functions in the namespace DS_ISA.
enum Isa : int { kPortable = 0, kAvx2 = 1, kAvx512 = 2 };

// The set in use: the best that this processor has, or a lower one set by set_isa().
int isa() noexcept;
// Limits the set (tests compare them); returns the former limit. Levels above what the processor has are lowered to it.
int set_isa(int level) noexcept;

// Runs body(context, first, last) over [0, count) on the threads of whoever links the kernels (libtorch's: common/cpu.cpp, ONNX Runtime's:
// onnx/threads.cpp), in pieces of at least `grain`. What body throws is thrown here.
void parallel_ranges(int64_t count, int64_t grain, void (*body)(void*, int64_t, int64_t), void* context);
// Threads that parallel_ranges uses at most.
int threads() noexcept;

template <class Body>
inline void parallel_for(int64_t count, int64_t grain, Body&& body) {
  parallel_ranges(count, grain, [](void* context, int64_t first, int64_t last) { (*static_cast<Body*>(context))(first, last); },
                  const_cast<void*>(static_cast<const void*>(&body)));
}

template <class Function>
inline Function choose(Function portable, Function avx2, Function avx512) noexcept {
  const int level = isa();
  return level >= kAvx512 ? avx512 : level >= kAvx2 ? avx2 : portable;
}

}  // namespace deepseek::cpu

// DS_CPU_DECLARE(void, name, (const Params&)) declares a kernel in every instruction set; DS_CPU(name) chooses one.
#if defined(__x86_64__)
#define DS_CPU_DECLARE(result, name, parameters) \
  namespace portable { result name parameters; } \
  namespace avx2 { result name parameters; }     \
  namespace avx512 { result name parameters; }
#define DS_CPU(name) (::deepseek::cpu::choose(&portable::name, &avx2::name, &avx512::name))
#else
#define DS_CPU_DECLARE(result, name, parameters) \
  namespace portable { result name parameters; }
#define DS_CPU(name) (&portable::name)
#endif
