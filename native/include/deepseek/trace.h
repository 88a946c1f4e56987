// Records what the operators of one thread, and the backward passes it starts, do: times, nesting, shapes, memory. Nothing is
// registered with libtorch while no trace runs.
#pragma once

#include "core.h"

typedef struct ds_trace_s* ds_trace;

enum {
  DS_TRACE_OPERATOR = 0,  // a call through the dispatcher, or one declared by ds_trace_begin
  DS_TRACE_BACKWARD = 1,  // a node of the backward pass
  DS_TRACE_PHASE = 2,     // ranges of the caller: forward, backward, optimizer, ...
  DS_TRACE_MODULE = 3,
  DS_TRACE_DATA = 4,  // waiting for data
  DS_TRACE_USER = 5,
};

typedef struct ds_trace_options {
  uint32_t size;   // sizeof(ds_trace_options), set by the caller
  int32_t shapes;  // arguments and results are told by ds_trace_signature; otherwise names alone
  int32_t memory;  // allocations are counted
  int32_t device;  // CUDA: 1 takes the times of kernels, or where they cannot be had those between a pair of events around every operator; 2 the latter
  int64_t max_events;
} ds_trace_options;

// Nanoseconds count from ds_trace_start.
typedef struct ds_trace_event {
  int64_t begin;
  int64_t end;
  int64_t sequence;   // of autograd: a backward node has that of the forward operator it belongs to; -1 for none
  int64_t allocated;  // bytes, while no event inside was open
  int64_t freed;      // the same
  int64_t peak;       // most bytes above what was held at its begin, events inside included
  int64_t work;       // sparse attention: entries of its lists, blocks or keys; -1 elsewhere
  double device_begin;  // of the device's work, that of events inside included; NaN where there is none or it was not timed
  double device_end;
  int32_t kind;
  int32_t signature;
  int32_t parent;  // index of the event around it on the same thread, always smaller; -1 for none
  int32_t thread;
  int32_t forward_thread;  // backward nodes: the thread of `sequence`; -1 for none
  int32_t unused;
} ds_trace_event;

typedef struct ds_trace_counts {
  uint32_t size;  // sizeof(ds_trace_counts), set by the caller
  int32_t signatures;
  int64_t events;
  int64_t dropped;  // events beyond max_events
  int64_t duration;  // nanoseconds from start to stop
  int64_t peak;      // most bytes above what was held at the start
  int32_t thread;    // ds_trace_event.thread of the thread that was traced
  int32_t kernels_known;  // whether the device's work was recorded one by one
  int64_t kernels;        // pieces of it
} ds_trace_counts;

enum {
  DS_TRACE_KERNEL = 0,
  DS_TRACE_COPY = 1,
  DS_TRACE_FILL = 2,
};

// A piece of the device's work; times as in ds_trace_event.
typedef struct ds_trace_kernel {
  int64_t begin;
  int64_t end;
  int64_t bytes;      // of a copy or fill
  int32_t event;      // innermost event that asked for it; -1 for none
  int32_t signature;  // its name
  int32_t kind;
  int32_t stream;
  int32_t replayed;  // 1: part of a replayed graph
  int32_t registers;       // of a thread
  int32_t static_shared;   // bytes of a block
  int32_t dynamic_shared;  // the same
  int32_t cluster;         // blocks of a cluster; 1 for none, 0 where it is no kernel
  int32_t grid[3];
  int32_t block[3];
  int32_t unused;
} ds_trace_kernel;

// One trace at a time on a thread.
DS_API ds_status ds_trace_start(const ds_trace_options* options, ds_trace* out) DS_NOEXCEPT;
// On the thread that started it. Events still open end here. Waits for the device where it was timed.
DS_API ds_status ds_trace_stop(ds_trace trace) DS_NOEXCEPT;
DS_API ds_status ds_trace_free(ds_trace trace) DS_NOEXCEPT;
// Of a stopped trace: sizes, all events (`capacity` must be ds_trace_counts.events) in order of thread and begin, and a signature's
// text: `name|arguments|results`, at most `capacity` bytes of it, *length being its full length.
// Arguments: T<dtype>:<device type>[sizes] tensor (dtype as libtorch numbers it), {...} list of tensors, I<n>, D<x>, B<0|1>,
// L[n,...] list of integers, N none, ? anything else; separated by spaces.
DS_API ds_status ds_trace_count(ds_trace trace, ds_trace_counts* counts) DS_NOEXCEPT;
DS_API ds_status ds_trace_events(ds_trace trace, ds_trace_event* events, int64_t capacity) DS_NOEXCEPT;
// All kernels, copies and fills (`capacity` must be ds_trace_counts.kernels) in order of begin.
DS_API ds_status ds_trace_kernels(ds_trace trace, ds_trace_kernel* kernels, int64_t capacity) DS_NOEXCEPT;
DS_API ds_status ds_trace_signature(ds_trace trace, int32_t signature, char* text, int64_t capacity, int64_t* length) DS_NOEXCEPT;
// A range of this thread's running trace, of one of the kinds above; without a trace both do nothing. `name` may end in
// `|arguments|results`. Ranges end in reverse order of their begin.
DS_API ds_status ds_trace_begin(int32_t kind, const char* name) DS_NOEXCEPT;
DS_API ds_status ds_trace_end(void) DS_NOEXCEPT;
