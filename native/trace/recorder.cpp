#include "state.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace deepseek::trace {

namespace {

std::atomic<uint64_t> next_id{1};

// The log of the trace that this thread wrote to last.
thread_local struct {
  uint64_t recorder = 0;
  Log* log = nullptr;
} last;

// An event's number among those of all threads' logs; 0 is none.
constexpr int kEventBits = 32;
uint64_t owner_of(uint64_t log, int64_t event) { return (log << kEventBits) + static_cast<uint64_t>(event) + 1; }

// The tensor of counts among a sparse attention's arguments, by its place.
int list_counts(const char* name) {
  if (std::strcmp(name, "deepseek::gather_attention") == 0) return 4;
  if (std::strcmp(name, "deepseek::block_sparse_attention") == 0) return 4;
  if (std::strcmp(name, "deepseek::block_sparse_attention_backward") == 0) return 7;
  return -1;
}

}  // namespace

Recorder::Recorder(const ds_trace_options& options, c10::MemoryReportingInfoBase* around)
    : options_(options), around_(around), id_(next_id.fetch_add(1)), start_(std::chrono::steady_clock::now()) {
  std::string why;
  if (options.device == 1) kernel_log_ = KernelLog::start(why);
  if (options.device != 0 && kernel_log_ == nullptr) clock_ = std::make_unique<DeviceClock>();
}

Recorder* Recorder::current() noexcept {
  return dynamic_cast<Recorder*>(c10::ThreadLocalDebugInfo::get(c10::DebugInfoKind::PROFILER_STATE));
}

Log& Recorder::log() {
  if (last.recorder != id_) {
    const auto thread = at::RecordFunction::currentThreadId();
    const std::lock_guard<std::mutex> lock(mutex_);
    last.log = nullptr;
    for (auto& known : logs_) {
      if (known.thread == thread) last.log = &known;
    }
    if (last.log == nullptr) {
      last.log = &logs_.emplace_back();
      last.log->thread = thread;
      last.log->number = logs_.size() - 1;
    }
    last.recorder = id_;
  }
  return *last.log;
}

int32_t Recorder::intern(const std::string& text) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto known = numbers_.find(text);
  if (known != numbers_.end()) return known->second;
  const auto number = static_cast<int32_t>(signatures.size());
  signatures.push_back(text);
  numbers_.emplace(text, number);
  return number;
}

void Recorder::begin(int32_t kind, const char* name, const at::RecordFunction* function) {
  auto& log = this->log();
  if (log.depth == log.frames.size()) log.frames.emplace_back();
  auto& frame = log.frames[log.depth++];
  frame.event = -1;
  frame.at_begin = frame.highest = held_.load(std::memory_order_relaxed);
  frame.text.assign(name);
  if (recorded_.fetch_add(1, std::memory_order_relaxed) >= options_.max_events) {
    recorded_.fetch_sub(1, std::memory_order_relaxed);
    dropped_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  auto& event = log.events.emplace_back();
  frame.event = static_cast<int64_t>(log.events.size()) - 1;
  event.kind = kind;
  event.parent = log.depth > 1 ? static_cast<int32_t>(log.frames[log.depth - 2].event) : -1;
  event.sequence = -1;
  event.work = -1;
  event.forward_thread = -1;
  event.device_begin = event.device_end = std::nan("");
  if (function != nullptr) {
    event.sequence = function->seqNr();
    if (kind == DS_TRACE_BACKWARD) event.forward_thread = static_cast<int32_t>(function->forwardThreadId());
    if (options_.shapes != 0) {
      const auto inputs = function->inputs();
      describe(frame.text, inputs.data(), inputs.size());
      const auto place = list_counts(name);
      if (place >= 0 && static_cast<size_t>(place) < inputs.size() && inputs[static_cast<size_t>(place)].isTensor()) {
        log.lists.emplace_back(frame.event, inputs[static_cast<size_t>(place)].toTensor());
      }
    }
  }
  if (clock_ != nullptr && kind <= DS_TRACE_BACKWARD) log.marks.push_back({frame.event, {clock_->mark(), nullptr}});
  if (kernel_log_ != nullptr) kernel_log_->push(owner_of(log.number, frame.event));
  // Last, so that the recorder's own work falls outside.
  event.begin = now();
}

void Recorder::end(Log& log, const at::RecordFunction* function) {
  const auto ended = now();
  if (log.depth == 0) return;
  auto& frame = log.frames[--log.depth];
  if (log.depth > 0) {
    auto& around = log.frames[log.depth - 1];
    around.highest = std::max(around.highest, frame.highest);
  }
  if (frame.event < 0) return;
  auto& event = log.events[static_cast<size_t>(frame.event)];
  if (kernel_log_ != nullptr) kernel_log_->pop();
  event.end = ended;
  event.peak = frame.highest - frame.at_begin;
  if (clock_ != nullptr && event.kind <= DS_TRACE_BACKWARD) {
    for (auto mark = log.marks.rbegin(); mark != log.marks.rend(); ++mark) {
      if (mark->first != frame.event) continue;
      mark->second.second = clock_->mark();
      break;
    }
  }
  if (function != nullptr && options_.shapes != 0) describe(frame.text, function->outputs().data(), function->outputs().size());
  event.signature = intern(frame.text);
}

void Recorder::note(int64_t size) {
  const auto held = held_.fetch_add(size, std::memory_order_relaxed) + size;
  auto highest = peak_.load(std::memory_order_relaxed);
  while (held > highest && !peak_.compare_exchange_weak(highest, held, std::memory_order_relaxed)) {
  }
  auto& log = this->log();
  if (log.depth == 0) return;
  auto& frame = log.frames[log.depth - 1];
  frame.highest = std::max(frame.highest, held);
  if (frame.event < 0) return;
  auto& event = log.events[static_cast<size_t>(frame.event)];
  (size > 0 ? event.allocated : event.freed) += size > 0 ? size : -size;
}

void Recorder::gather(Log& log) {
  while (log.depth > 0) end(log, nullptr);
  for (const auto& [event, marks] : log.marks) {
    log.events[static_cast<size_t>(event)].device_begin = clock_->nanoseconds(marks.first);
    log.events[static_cast<size_t>(event)].device_end = clock_->nanoseconds(marks.second);
  }
  for (const auto& [event, blocks] : log.lists) log.events[static_cast<size_t>(event)].work = blocks.sum().item<int64_t>();
  log.lists.clear();
  log.offset = events.size();
  for (auto event : log.events) {
    if (event.parent >= 0) event.parent += static_cast<int32_t>(log.offset);
    event.thread = static_cast<int32_t>(log.thread);
    events.push_back(event);
  }
  log.events = {};
}

// An event's device time is that of all work asked for while it was open.
void Recorder::gather_kernels() {
  const auto zero = std::chrono::duration_cast<std::chrono::nanoseconds>(start_.time_since_epoch()).count();
  for (auto& activity : kernel_log_->finish()) {
    ds_trace_kernel kernel{};
    kernel.begin = activity.begin - zero;
    kernel.end = activity.end - zero;
    // Work that was asked for before the trace.
    if (kernel.begin < 0) continue;
    kernel.bytes = activity.bytes;
    kernel.signature = intern(activity.name);
    kernel.kind = activity.kind;
    kernel.stream = activity.stream;
    kernel.replayed = activity.replayed ? 1 : 0;
    kernel.registers = activity.registers;
    kernel.static_shared = activity.static_shared;
    kernel.dynamic_shared = activity.dynamic_shared;
    kernel.cluster = activity.cluster;
    std::copy(activity.grid, activity.grid + 3, kernel.grid);
    std::copy(activity.block, activity.block + 3, kernel.block);
    kernel.event = -1;
    if (activity.owner != 0) {
      const auto owner = activity.owner - 1;
      const auto log = static_cast<size_t>(owner >> kEventBits);
      if (log < logs_.size()) kernel.event = static_cast<int32_t>(logs_[log].offset + (owner & 0xffffffffu));
    }
    for (auto around = kernel.event; around >= 0; around = events[static_cast<size_t>(around)].parent) {
      auto& event = events[static_cast<size_t>(around)];
      const auto begin = static_cast<double>(kernel.begin), end = static_cast<double>(kernel.end);
      event.device_begin = std::isnan(event.device_begin) ? begin : std::min(event.device_begin, begin);
      event.device_end = std::isnan(event.device_end) ? end : std::max(event.device_end, end);
    }
    kernels.push_back(kernel);
  }
}

void Recorder::finish() {
  // What the device still works on belongs to the traced time.
  if (options_.device != 0) DeviceClock::wait();
  counts.duration = now();
  for (auto& log : logs_) gather(log);
  if (kernel_log_ != nullptr) gather_kernels();
  counts.kernels_known = kernel_log_ != nullptr ? 1 : 0;
  counts.kernels = static_cast<int64_t>(kernels.size());
  kernel_log_.reset();
  counts.events = static_cast<int64_t>(events.size());
  counts.signatures = static_cast<int32_t>(signatures.size());
  counts.dropped = dropped_.load();
  counts.thread = static_cast<int32_t>(at::RecordFunction::currentThreadId());
  counts.peak = peak_.load();
}

}  // namespace deepseek::trace
