#include "deepseek/device.h"

#include "guard.h"

#include <cstdio>
#include <dlfcn.h>
#include <sys/resource.h>
#include <unistd.h>

using deepseek::guard;
using deepseek::require;

namespace {

// libtorch does not pass its thread count on to OpenBLAS, which keeps threads of its own: small products would wake all of them.
void set_blas_threads(int threads) {
  static auto* const set = [] {
    void* library = dlopen("libopenblas.so.0", RTLD_LAZY | RTLD_NOLOAD);
    return library == nullptr ? nullptr : reinterpret_cast<void (*)(int)>(dlsym(library, "openblas_set_num_threads"));
  }();
  if (set != nullptr) set(threads);
}

}  // namespace

ds_status ds_device_set_threads(int32_t threads) noexcept {
  return guard("ds_device_set_threads", [&] {
    require(threads >= 1 && threads <= 1024, "the thread count is not between 1 and 1024");
    at::set_num_threads(threads);
    set_blas_threads(threads);
  });
}

ds_status ds_device_get_threads(int32_t* threads) noexcept {
  return guard("ds_device_get_threads", [&] {
    require(threads != nullptr, "the output pointer is null");
    *threads = at::get_num_threads();
  });
}

ds_status ds_device_set_deterministic(int32_t enabled) noexcept {
  return guard("ds_device_set_deterministic", [&] { at::globalContext().setDeterministicAlgorithms(enabled != 0, false); });
}

ds_status ds_device_cuda_count(int32_t* count) noexcept {
  return guard("ds_device_cuda_count", [&] {
    require(count != nullptr, "the output pointer is null");
    *count = at::hasCUDA() ? static_cast<int32_t>(at::detail::getCUDAHooks().getNumGPUs()) : 0;
  });
}

ds_status ds_device_memory(ds_memory_stats* stats) noexcept {
  return guard("ds_device_memory", [&] {
    require(stats != nullptr, "the output pointer is null");
    require(stats->size == sizeof(ds_memory_stats), "the struct's size is not this version's");
    long pages = 0;
    if (auto* file = std::fopen("/proc/self/statm", "r")) {
      long total = 0;
      if (std::fscanf(file, "%ld %ld", &total, &pages) != 2) pages = 0;
      std::fclose(file);
    }
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    stats->reserved = 0;
    stats->live_handles = deepseek::live_handles.load(std::memory_order_relaxed);
    stats->resident = static_cast<int64_t>(pages) * sysconf(_SC_PAGESIZE);
    stats->peak_resident = static_cast<int64_t>(usage.ru_maxrss) * 1024;
  });
}
