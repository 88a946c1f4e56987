// CUDA devices: facts, memory, streams, events and graphs. Without CUDA in libtorch every call but ds_device_cuda_count
// answers DS_NOT_FOUND. Handles are owned by the caller. A device index of -1 stands for the current device.
#pragma once

#include "core.h"

typedef struct ds_cuda_device {
  uint32_t size;  // sizeof(ds_cuda_device), set by the caller
  int32_t major;  // compute capability
  int32_t minor;
  int32_t multiprocessors;
  int64_t total_memory;  // bytes
  int64_t free_memory;   // bytes, of all processes
  int64_t l2_cache;      // bytes
  int32_t threads;          // resident on a multiprocessor at most, as are the following
  int32_t blocks;
  int32_t registers;
  int32_t shared_memory;    // bytes
  int32_t reserved_shared;  // bytes of it that every block takes besides its own
  int32_t unused;
  char name[128];        // zero-terminated
} ds_cuda_device;

// What libtorch's allocator holds on one device; bytes but for the counts.
typedef struct ds_cuda_memory {
  uint32_t size;  // sizeof(ds_cuda_memory), set by the caller
  uint32_t unused;
  int64_t allocated;       // in tensors
  int64_t peak_allocated;  // since the last reset
  int64_t reserved;        // taken from the device
  int64_t peak_reserved;
  int64_t device_allocations;  // times the device was asked for memory, ever
  int64_t retries;             // allocations that succeeded only after the cache was given back
  int64_t failures;            // allocations that failed
} ds_cuda_memory;

typedef struct ds_stream_s* ds_stream;
typedef struct ds_event_s* ds_event;
typedef struct ds_graph_s* ds_graph;

DS_API ds_status ds_cuda_device_info(int32_t device, ds_cuda_device* info) DS_NOEXCEPT;
DS_API ds_status ds_cuda_set_device(int32_t device) DS_NOEXCEPT;
// Waits until the device has done everything asked of it; faults of earlier work are told here.
DS_API ds_status ds_cuda_synchronize(int32_t device) DS_NOEXCEPT;
DS_API ds_status ds_cuda_memory_stats(int32_t device, ds_cuda_memory* stats) DS_NOEXCEPT;
DS_API ds_status ds_cuda_reset_peaks(int32_t device) DS_NOEXCEPT;
// Gives cached memory back to the device.
DS_API ds_status ds_cuda_empty_cache(void) DS_NOEXCEPT;
// Whether float32 matrix products and convolutions may round their inputs to TF32.
DS_API ds_status ds_cuda_allow_tf32(int32_t allowed) DS_NOEXCEPT;
// Lets cuDNN time its convolution algorithms on first use of a shape and keep the fastest.
DS_API ds_status ds_cuda_benchmark_convolutions(int32_t enabled) DS_NOEXCEPT;
// Which fused attention may be chosen: bits 1 flash, 2 memory-efficient, 4 cuDNN; plain matrix products stay the fallback.
DS_API ds_status ds_cuda_allow_attention(int32_t kinds) DS_NOEXCEPT;

// A stream of the device's pool, and which stream this thread's operators go to.
DS_API ds_status ds_stream_new(int32_t device, int32_t high_priority, ds_stream* out) DS_NOEXCEPT;
DS_API ds_status ds_stream_free(ds_stream stream) DS_NOEXCEPT;
// Makes the stream current, after all work already asked of the one before; *previous is to be given to ds_stream_leave.
DS_API ds_status ds_stream_enter(ds_stream stream, ds_stream* previous) DS_NOEXCEPT;
// Makes `previous` current again, after all work of the stream left, and frees it.
DS_API ds_status ds_stream_leave(ds_stream previous) DS_NOEXCEPT;
DS_API ds_status ds_stream_synchronize(ds_stream stream) DS_NOEXCEPT;

DS_API ds_status ds_event_new(ds_event* out) DS_NOEXCEPT;
DS_API ds_status ds_event_free(ds_event event) DS_NOEXCEPT;
// Marks the present end of the current stream.
DS_API ds_status ds_event_record(ds_event event) DS_NOEXCEPT;
DS_API ds_status ds_event_synchronize(ds_event event) DS_NOEXCEPT;
// Milliseconds between two recorded events; waits for both.
DS_API ds_status ds_event_elapsed(ds_event begin, ds_event end, double* milliseconds) DS_NOEXCEPT;

// A CUDA graph. Between begin and end, work asked of the current stream (not the default one) is recorded, not done; its
// tensors come from a memory pool of the graph's own and keep their addresses.
DS_API ds_status ds_graph_new(ds_graph* out) DS_NOEXCEPT;
DS_API ds_status ds_graph_free(ds_graph graph) DS_NOEXCEPT;
DS_API ds_status ds_graph_begin(ds_graph graph) DS_NOEXCEPT;
DS_API ds_status ds_graph_end(ds_graph graph) DS_NOEXCEPT;
DS_API ds_status ds_graph_replay(ds_graph graph) DS_NOEXCEPT;
