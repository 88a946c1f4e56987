// Hopper's instructions as functions: barriers in shared memory, the bulk tensor copy engine, warpgroup matrix products.
// PTX ISA 8.0, sections 9.7.13 (mbarrier), 9.7.9 (cp.async.bulk.tensor) and 9.7.15 (wgmma).
#pragma once

#include <cuda.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

// Code for other processors is compiled without the bodies of the Hopper kernels, which are not launched there.
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define DS_HOPPER
#endif

namespace deepseek::hopper {

__device__ __forceinline__ uint32_t shared_address(const void* p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }

__device__ __forceinline__ void barrier_init(uint64_t* bar, uint32_t count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(bar)), "r"(count) : "memory");
}
__device__ __forceinline__ void barrier_init_fence() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
__device__ __forceinline__ void barrier_expect(uint64_t* bar, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(bar)), "r"(bytes) : "memory");
}
__device__ __forceinline__ void barrier_arrive(uint64_t* bar) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(bar)) : "memory");
}
__device__ __forceinline__ void barrier_wait(uint64_t* bar, uint32_t parity) {
  asm volatile(
      "{\n.reg .pred done;\n"
      "again:\nmbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n@done bra ready;\nbra again;\nready:\n}" ::"r"(shared_address(bar)),
      "r"(parity)
      : "memory");
}

// Position in a ring of shared-memory slots, each with a barrier `full` and a barrier `empty`.
template <int Slots>
struct Ring {
  int slot = 0;
  uint32_t phase = 0;
  __device__ __forceinline__ void next() {
    if (++slot == Slots) slot = 0, phase ^= 1;
  }
};

// Among `threads` threads of the block, by number.
__device__ __forceinline__ void named_sync(int id, int threads) { asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory"); }
__device__ __forceinline__ void named_arrive(int id, int threads) { asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory"); }

// Ordinary stores to shared memory become visible to the tensor cores and the copy engine.
__device__ __forceinline__ void async_proxy_fence() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

template <int Registers>
__device__ __forceinline__ void more_registers() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Registers)); }
template <int Registers>
__device__ __forceinline__ void fewer_registers() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Registers)); }

// A box of a four-dimensional tensor to shared memory; coordinates from the innermost.
__device__ __forceinline__ void copy_box(void* to, const CUtensorMap* map, uint64_t* bar, int c0, int c1, int c2, int c3) {
  asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(shared_address(to)),
               "l"(reinterpret_cast<uint64_t>(map)), "r"(shared_address(bar)), "r"(c0), "r"(c1), "r"(c2), "r"(c3)
               : "memory");
}
__device__ __forceinline__ void prefetch_map(const CUtensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(reinterpret_cast<uint64_t>(map)) : "memory");
}
// A contiguous piece; address and size multiples of 16 bytes.
__device__ __forceinline__ void copy_bytes(void* to, const void* from, uint32_t bytes, uint64_t* bar) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(shared_address(to)), "l"(from), "r"(bytes),
               "r"(shared_address(bar))
               : "memory");
}

// 16 bytes to shared memory, or zeros instead. By ordinary means, not the copy engine: readers of the async proxy need
// async_proxy_fence() behind their wait.
__device__ __forceinline__ void copy_16(uint32_t to, const void* from, bool exists) {
  asm volatile("cp.async.cg.shared.global.L2::256B [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(exists ? 16 : 0) : "memory");
}
// Arrives when this thread's copies so far are done; the barrier's count must have this arrival in it.
__device__ __forceinline__ void copies_arrive(uint64_t* bar) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(shared_address(bar)) : "memory");
}

__device__ __forceinline__ void product_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void product_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int Pending>
__device__ __forceinline__ void product_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Pending) : "memory"); }
// Keeps the compiler from moving uses of the registers over the wait before this, or their making to behind this.
template <int N>
__device__ __forceinline__ void settle(float (&d)[N]) {
#pragma unroll
  for (int i = 0; i < N; i++) asm volatile("" : "+f"(d[i])::"memory");
}
template <int N>
__device__ __forceinline__ void settle(uint32_t (&d)[N]) {
#pragma unroll
  for (int i = 0; i < N; i++) asm volatile("" : "+r"(d[i])::"memory");
}

// Matrices lie in shared memory as panels of 64 columns (128 bytes) with the 128-byte swizzle; 8 rows are 1024 bytes.
// Depth along a row (K-major): 16 elements further are 32 bytes further.
__device__ __forceinline__ uint64_t rows_descriptor(const void* p) {
  return static_cast<uint64_t>((shared_address(p) & 0x3FFFF) >> 4) | (1ull << 16) | (64ull << 32) | (1ull << 62);
}
// Depth along the columns (MN-major): 16 rows further are 2048 bytes further; panels are `panel` bytes apart.
__device__ __forceinline__ uint64_t columns_descriptor(const void* p, uint32_t panel) {
  return static_cast<uint64_t>((shared_address(p) & 0x3FFFF) >> 4) | (static_cast<uint64_t>(panel >> 4) << 16) | (64ull << 32) | (1ull << 62);
}

// The accumulators of an instruction, by name and as operands: 32 or 64 of them.
#define DS_NAMES_32 \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define DS_NAMES_64 \
  DS_NAMES_32 ", " \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define DS_SUMS_32(d) \
  "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), \
  "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]), \
  "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), \
  "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
#define DS_SUMS_64(d) \
  DS_SUMS_32(d), \
  "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), \
  "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]), \
  "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]), \
  "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])

// d[64 x N] (+)= a * b, depth 16; b transposed (MN-major) when Columns. `first` overwrites d.
template <class T, int N, bool Columns>
struct Product;

// SUMS accumulators; then the numbers of the operands behind them: A, B, A_FIRST with two descriptors; R0 to R3, RB, R_FIRST with a in registers.
#define DS_PRODUCT(N, SUMS, A, B, A_FIRST, R0, R1, R2, R3, RB, R_FIRST, T, PTX, COLUMNS, TRANSPOSED) \
  template <> \
  struct Product<T, N, COLUMNS> { \
    static __device__ __forceinline__ void shared(float (&d)[SUMS], uint64_t a, uint64_t b, bool first) { \
      asm volatile("{\n.reg .pred p;\nsetp.eq.b32 p, %" #A_FIRST ", 0;\nwgmma.mma_async.sync.aligned.m64n" #N "k16.f32." PTX " {" DS_NAMES_##SUMS "}" \
      ", %" #A ", %" #B ", p, 1, 1, 0, " TRANSPOSED ";\n}" : DS_SUMS_##SUMS(d) : "l"(a), "l"(b), "r"(static_cast<int>(first))); \
    } \
    static __device__ __forceinline__ void registers(float (&d)[SUMS], const uint32_t* a, uint64_t b, bool first) { \
      asm volatile("{\n.reg .pred p;\nsetp.eq.b32 p, %" #R_FIRST ", 0;\nwgmma.mma_async.sync.aligned.m64n" #N "k16.f32." PTX " {" DS_NAMES_##SUMS "}" \
      ", {%" #R0 ", %" #R1 ", %" #R2 ", %" #R3 "}, %" #RB ", p, 1, 1, " TRANSPOSED ";\n}" : DS_SUMS_##SUMS(d) \
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(first))); \
    } \
  };
#define DS_PRODUCT_64(...) DS_PRODUCT(64, 32, 32, 33, 34, 32, 33, 34, 35, 36, 37, __VA_ARGS__)
#define DS_PRODUCT_128(...) DS_PRODUCT(128, 64, 64, 65, 66, 64, 65, 66, 67, 68, 69, __VA_ARGS__)

#define DS_PRODUCTS(N)                                               \
  DS_PRODUCT_##N(__nv_bfloat16, "bf16.bf16", false, "0") DS_PRODUCT_##N(__nv_bfloat16, "bf16.bf16", true, "1") \
  DS_PRODUCT_##N(__half, "f16.f16", false, "0") DS_PRODUCT_##N(__half, "f16.f16", true, "1")
DS_PRODUCTS(64)
DS_PRODUCTS(128)

// d[64 x 128] (+)= a[64 x 32] * b[128 x 32]^T of FP8 E4M3, both in shared memory. The tensor cores keep about 14 bits of a sum.
__device__ __forceinline__ void product_e4m3(float (&d)[64], uint64_t a, uint64_t b, bool first) {
  asm volatile("{\n.reg .pred p;\nsetp.eq.b32 p, %66, 0;\nwgmma.mma_async.sync.aligned.m64n128k32.f32.e4m3.e4m3 {" DS_NAMES_64 "}, %64, %65, p, 1, 1;\n}"
               : DS_SUMS_64(d)
               : "l"(a), "l"(b), "r"(static_cast<int>(first)));
}

__device__ __forceinline__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

template <class T>
__device__ __forceinline__ uint32_t pack(float low, float high);
template <>
__device__ __forceinline__ uint32_t pack<__nv_bfloat16>(float low, float high) {
  uint32_t r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
}
template <>
__device__ __forceinline__ uint32_t pack<__half>(float low, float high) {
  uint32_t r;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
}

}  // namespace deepseek::hopper
