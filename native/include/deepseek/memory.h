// What the allocators of tensors hold, and a limit for the host's.
#pragma once

#include "core.h"

typedef struct ds_allocator_stats {
  uint32_t size;  // sizeof(ds_allocator_stats), set by the caller
  uint32_t unused;
  int64_t current;      // bytes in tensors now
  int64_t peak;         // most bytes in tensors since the last reset
  int64_t allocations;  // requests served since the process started
  int64_t allocated;    // bytes of all these requests
} ds_allocator_stats;

// device_type 0: tensors of the host, counted as asked for since this library was loaded. 1: libtorch's caching allocator of a GPU,
// which rounds requests up; DS_NOT_FOUND without CUDA.
DS_API ds_status ds_allocator_read(int32_t device_type, int32_t device_index, ds_allocator_stats* stats) DS_NOEXCEPT;
// The peak starts again from the bytes in tensors now.
DS_API ds_status ds_allocator_reset_peak(int32_t device_type, int32_t device_index) DS_NOEXCEPT;
// Requests that would bring the host's tensors above so many bytes fail with DS_OUT_OF_MEMORY; 0 takes the limit away.
DS_API ds_status ds_allocator_set_limit(int64_t bytes) DS_NOEXCEPT;
// Up to so many bytes that tensors of the host freed stay with the process for the tensors to come, where the C library can be told
// (glibc); its own rule gives them back, and the next step's page faults bring them again. For processes that train.
DS_API ds_status ds_allocator_keep(int64_t bytes) DS_NOEXCEPT;
