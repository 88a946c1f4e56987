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
  int32_t device;  // CUDA: a pair of events around every operator
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
  double device_begin;  // of the device's work; NaN where it was not timed
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
  int32_t unused;
} ds_trace_counts;

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
DS_API ds_status ds_trace_signature(ds_trace trace, int32_t signature, char* text, int64_t capacity, int64_t* length) DS_NOEXCEPT;
// A range of this thread's running trace, of one of the kinds above; without a trace both do nothing. `name` may end in
// `|arguments|results`. Ranges end in reverse order of their begin.
DS_API ds_status ds_trace_begin(int32_t kind, const char* name) DS_NOEXCEPT;
DS_API ds_status ds_trace_end(void) DS_NOEXCEPT;
