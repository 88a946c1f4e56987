// Threads, determinism and memory.
#pragma once

#include "core.h"

typedef struct ds_memory_stats {
  uint32_t size;  // sizeof(ds_memory_stats), set by the caller
  uint32_t reserved;
  int64_t live_handles;    // tensor handles given out and not yet freed
  int64_t resident;        // bytes of the process in memory
  int64_t peak_resident;   // most bytes it ever had in memory
} ds_memory_stats;

// Threads that one operator may use on the CPU, at least 1.
DS_API ds_status ds_device_set_threads(int32_t threads) DS_NOEXCEPT;
DS_API ds_status ds_device_get_threads(int32_t* threads) DS_NOEXCEPT;
// Refuses operators that have no deterministic form.
DS_API ds_status ds_device_set_deterministic(int32_t enabled) DS_NOEXCEPT;
// Number of CUDA devices that can be used.
DS_API ds_status ds_device_cuda_count(int32_t* count) DS_NOEXCEPT;
DS_API ds_status ds_device_memory(ds_memory_stats* stats) DS_NOEXCEPT;
