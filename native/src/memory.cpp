#include "deepseek/memory.h"

#include "guard.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <c10/core/CPUAllocator.h>
#ifdef DEEPSEEK_CUDA
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>

using deepseek::guard;
using deepseek::require;

namespace {

std::atomic<int64_t> current{0}, peak{0}, allocations{0}, allocated{0}, limit{0};

void raise_peak(int64_t to) {
  auto seen = peak.load(std::memory_order_relaxed);
  while (seen < to && !peak.compare_exchange_weak(seen, to, std::memory_order_relaxed)) {}
}

// Counts what tensors of the host ask for. Each block carries its size in front of it; the memory itself is libtorch's as before.
class CountingAllocator final : public c10::Allocator {
 public:
  explicit CountingAllocator(c10::Allocator* inner) { inner_ = inner; }

  // The base declares one of these two, by libtorch's version.
  c10::DataPtr allocate(size_t bytes) const { return take(bytes); }
  c10::DataPtr allocate(size_t bytes) { return take(bytes); }
  c10::DeleterFnPtr raw_deleter() const override { return &give_back; }
  void copy_data(void* destination, const void* source, std::size_t bytes) const { std::memcpy(destination, source, bytes); }

 private:
  static constexpr size_t kHeader = deepseek::kBlockHeader;  // keeps the alignment that vector loads want
  static inline c10::Allocator* inner_ = nullptr;

  static c10::DataPtr take(size_t bytes) {
    const c10::Device device(c10::DeviceType::CPU);
    if (bytes == 0) return {nullptr, nullptr, &give_back, device};
    const auto size = static_cast<int64_t>(bytes);
    const auto now = current.fetch_add(size, std::memory_order_relaxed) + size;
    const auto most = limit.load(std::memory_order_relaxed);
    if (most > 0 && now > most) {
      current.fetch_sub(size, std::memory_order_relaxed);
      refuse(size, "the limit of " + std::to_string(most) + " bytes leaves too little");
    }
    char* block = nullptr;
    try {
      if (bytes > std::numeric_limits<size_t>::max() - kHeader) throw std::bad_alloc();
      block = static_cast<char*>(inner_->raw_allocate(bytes + kHeader));
    } catch (const std::exception&) {
      current.fetch_sub(size, std::memory_order_relaxed);
      refuse(size, "the system has not so much");
    }
    raise_peak(now);
    allocations.fetch_add(1, std::memory_order_relaxed);
    allocated.fetch_add(size, std::memory_order_relaxed);
    std::memcpy(block, &size, sizeof size);
    return {block + kHeader, block + kHeader, &give_back, device};
  }

  static void give_back(void* data) {
    if (data == nullptr) return;
    auto* const block = static_cast<char*>(data) - kHeader;
    int64_t size = 0;
    std::memcpy(&size, block, sizeof size);
    current.fetch_sub(size, std::memory_order_relaxed);
    inner_->raw_deallocate(block);
  }

  [[noreturn]] static void refuse(int64_t size, const std::string& why) {
    C10_THROW_ERROR(OutOfMemoryError, "out of host memory: " + std::to_string(size) + " bytes are asked for, " +
      std::to_string(current.load(std::memory_order_relaxed)) + " are in tensors, and " + why);
  }
};

// As this library is loaded: blocks from before are not counted, but give themselves back the way they came.
const bool installed = [] {
  c10::SetCPUAllocator(new CountingAllocator(c10::GetCPUAllocator()));
  return true;
}();

void require_device(int32_t device_type) { require(device_type == DS_CPU || device_type == DS_CUDA, "the device type is neither 0 (CPU) nor 1 (CUDA)"); }

#ifdef DEEPSEEK_CUDA
c10::DeviceIndex gpu(int32_t index) {
  at::globalContext().lazyInitDevice(c10::DeviceType::CUDA);
  require(index >= -1 && index < static_cast<int32_t>(c10::cuda::device_count()), "there is no CUDA device of this index");
  return index < 0 ? c10::cuda::current_device() : static_cast<c10::DeviceIndex>(index);
}
#endif

}  // namespace

ds_status ds_allocator_read(int32_t device_type, int32_t device_index, ds_allocator_stats* stats) noexcept {
  return guard("ds_allocator_read", [&] {
    require_device(device_type);
    require(stats != nullptr && stats->size == sizeof(ds_allocator_stats), "the struct is null or its size is not this version's");
    stats->unused = 0;
    if (device_type == DS_CPU) {
      stats->current = current.load(std::memory_order_relaxed);
      stats->peak = peak.load(std::memory_order_relaxed);
      stats->allocations = allocations.load(std::memory_order_relaxed);
      stats->allocated = allocated.load(std::memory_order_relaxed);
      return;
    }
#ifdef DEEPSEEK_CUDA
    const auto held = c10::cuda::CUDACachingAllocator::getDeviceStats(gpu(device_index));
    stats->current = held.allocated_bytes[0].current;
    stats->peak = held.allocated_bytes[0].peak;
    stats->allocations = held.allocation[0].allocated;
    stats->allocated = held.allocated_bytes[0].allocated;
#else
    (void)device_index;
    deepseek::fail(DS_NOT_FOUND, "this build of libtorch has no CUDA");
#endif
  });
}

ds_status ds_allocator_reset_peak(int32_t device_type, int32_t device_index) noexcept {
  return guard("ds_allocator_reset_peak", [&] {
    require_device(device_type);
    if (device_type == DS_CPU) {
      peak.store(current.load(std::memory_order_relaxed), std::memory_order_relaxed);
      return;
    }
#ifdef DEEPSEEK_CUDA
    c10::cuda::CUDACachingAllocator::resetPeakStats(gpu(device_index));
#else
    (void)device_index;
    deepseek::fail(DS_NOT_FOUND, "this build of libtorch has no CUDA");
#endif
  });
}

ds_status ds_allocator_set_limit(int64_t bytes) noexcept {
  return guard("ds_allocator_set_limit", [&] {
    require(bytes >= 0, "the limit is negative");
    limit.store(bytes, std::memory_order_relaxed);
  });
}

ds_status ds_allocator_keep(int64_t bytes) noexcept {
  return guard("ds_allocator_keep", [&] {
    require(bytes >= 0, "the bytes are negative");
#ifdef __GLIBC__
    // Requests above the threshold have mappings of their own, which are given back at once; it takes no greater one.
    constexpr int kLargestThreshold = 32 << 20;
    require(mallopt(M_MMAP_THRESHOLD, kLargestThreshold) == 1 && mallopt(M_TRIM_THRESHOLD, static_cast<int>(std::min<int64_t>(bytes, INT32_MAX))) == 1, "glibc refuses");
#endif
  });
}
