#include "deepseek/trace.h"

#include "state.h"

#include <cstring>

using deepseek::guard;
using deepseek::require;
using deepseek::trace::Recorder;

struct ds_trace_s {
  std::shared_ptr<Recorder> recorder;
  std::unique_ptr<c10::DebugInfoGuard> current;
  at::CallbackHandle callback = at::INVALID_CALLBACK_HANDLE;
};

namespace {

std::unique_ptr<at::ObserverContext> on_begin(const at::RecordFunction& function) {
  // What a recorder cannot write down must not end the operator.
  try {
    if (auto* recorder = Recorder::current()) {
      recorder->begin(function.scope() == at::RecordScope::BACKWARD_FUNCTION ? DS_TRACE_BACKWARD : DS_TRACE_OPERATOR, function.name(), &function);
    }
  } catch (const std::bad_alloc&) {
  }
  return nullptr;
}

void on_end(const at::RecordFunction& function, at::ObserverContext*) {
  try {
    if (auto* recorder = Recorder::current()) recorder->end(&function);
  } catch (const std::bad_alloc&) {
  }
}

const Recorder& stopped(ds_trace trace) {
  require(trace != nullptr, "the trace is null");
  require(trace->current == nullptr, "the trace still runs");
  return *trace->recorder;
}

}  // namespace

ds_status ds_trace_start(const ds_trace_options* options, ds_trace* out) noexcept {
  return guard("ds_trace_start", [&] {
    require(options != nullptr && options->size == sizeof(ds_trace_options), "the struct is null or its size is not this version's");
    require(options->max_events > 0 && options->max_events <= INT32_MAX, "the largest number of events is not between 1 and 2^31");
    require(out != nullptr, "the output pointer is null");
    require(Recorder::current() == nullptr, "this thread is traced already");
    auto* around = dynamic_cast<c10::MemoryReportingInfoBase*>(c10::ThreadLocalDebugInfo::get(c10::DebugInfoKind::PROFILER_STATE));
    auto trace = std::make_unique<ds_trace_s>();
    trace->recorder = std::make_shared<Recorder>(*options, around);
    trace->current = std::make_unique<c10::DebugInfoGuard>(c10::DebugInfoKind::PROFILER_STATE, trace->recorder);
    trace->callback = at::addThreadLocalCallback(at::RecordFunctionCallback(on_begin, on_end)
                                                     .needsInputs(options->shapes != 0)
                                                     .needsOutputs(options->shapes != 0)
                                                     .scopes({at::RecordScope::FUNCTION, at::RecordScope::BACKWARD_FUNCTION}));
    *out = trace.release();
  });
}

ds_status ds_trace_stop(ds_trace trace) noexcept {
  return guard("ds_trace_stop", [&] {
    require(trace != nullptr && trace->current != nullptr, "the trace is null or has been stopped");
    require(Recorder::current() == trace->recorder.get(), "the trace was started on another thread");
    at::removeCallback(trace->callback);
    trace->current.reset();
    trace->recorder->finish();
  });
}

ds_status ds_trace_free(ds_trace trace) noexcept {
  return guard("ds_trace_free", [&] {
    require(trace == nullptr || trace->current == nullptr, "the trace still runs");
    delete trace;
  });
}

ds_status ds_trace_count(ds_trace trace, ds_trace_counts* counts) noexcept {
  return guard("ds_trace_count", [&] {
    require(counts != nullptr && counts->size == sizeof(ds_trace_counts), "the struct is null or its size is not this version's");
    *counts = stopped(trace).counts;
    counts->size = sizeof(ds_trace_counts);
  });
}

ds_status ds_trace_events(ds_trace trace, ds_trace_event* events, int64_t capacity) noexcept {
  return guard("ds_trace_events", [&] {
    const auto& all = stopped(trace).events;
    require(capacity == static_cast<int64_t>(all.size()) && (events != nullptr || capacity == 0), "there is not exactly room for all events");
    std::memcpy(static_cast<void*>(events), all.data(), all.size() * sizeof(ds_trace_event));
  });
}

ds_status ds_trace_kernels(ds_trace trace, ds_trace_kernel* kernels, int64_t capacity) noexcept {
  return guard("ds_trace_kernels", [&] {
    const auto& all = stopped(trace).kernels;
    require(capacity == static_cast<int64_t>(all.size()) && (kernels != nullptr || capacity == 0), "there is not exactly room for all kernels");
    std::memcpy(static_cast<void*>(kernels), all.data(), all.size() * sizeof(ds_trace_kernel));
  });
}

ds_status ds_trace_signature(ds_trace trace, int32_t signature, char* text, int64_t capacity, int64_t* length) noexcept {
  return guard("ds_trace_signature", [&] {
    const auto& all = stopped(trace).signatures;
    require(signature >= 0 && static_cast<size_t>(signature) < all.size(), "there is no such signature");
    require(length != nullptr && capacity >= 0 && (text != nullptr || capacity == 0), "the text or the length is null");
    const auto& found = all[static_cast<size_t>(signature)];
    found.copy(text, static_cast<size_t>(capacity));
    *length = static_cast<int64_t>(found.size());
  });
}

ds_status ds_trace_begin(int32_t kind, const char* name) noexcept {
  return guard("ds_trace_begin", [&] {
    require(kind >= DS_TRACE_OPERATOR && kind <= DS_TRACE_USER && name != nullptr, "the kind is unknown or the name null");
    if (auto* recorder = Recorder::current()) recorder->begin(kind, name, nullptr);
  });
}

ds_status ds_trace_end(void) noexcept {
  return guard("ds_trace_end", [&] {
    if (auto* recorder = Recorder::current()) recorder->end(nullptr);
  });
}
