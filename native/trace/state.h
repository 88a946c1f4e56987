// The recorder behind ds_trace: one log per thread, written by that thread alone.
#pragma once

#include "../src/guard.h"

#include "deepseek/trace.h"
#include "kernels.h"

#include <ATen/record_function.h>
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

namespace deepseek::trace {

// Marks on the device's time line. Without CUDA there are none.
class DeviceClock {
 public:
  DeviceClock();
  ~DeviceClock();
  DeviceClock(const DeviceClock&) = delete;
  DeviceClock& operator=(const DeviceClock&) = delete;
  void* mark() noexcept;              // an event on the current stream; null when it cannot be had
  double nanoseconds(void* mark);     // since the clock was made; NaN for null. After wait().
  static void wait();  // until the device has done all its work

 private:
  struct Marks;
  std::unique_ptr<Marks> marks_;
};

struct Frame {
  int64_t event;     // index in the log, -1 for one dropped
  int64_t at_begin;  // bytes held when it began
  int64_t highest;   // most bytes held since
  std::string text;  // signature so far; its memory is used again
};

struct Log {
  uint64_t thread = 0;
  uint64_t number = 0;  // among the logs
  size_t offset = 0;    // of its events among all, at the end
  std::vector<ds_trace_event> events;
  std::deque<Frame> frames;  // frames[0 .. depth); never moved, so that texts keep their memory
  size_t depth = 0;
  std::vector<std::pair<int64_t, std::pair<void*, void*>>> marks;  // event, device marks of begin and end
  std::vector<std::pair<int64_t, at::Tensor>> lists;               // event, block counts to be added up at the end
};

// libtorch carries the recorder to the threads of a backward pass, under the key that it also reports memory to.
class Recorder : public c10::MemoryReportingInfoBase {
 public:
  Recorder(const ds_trace_options& options, c10::MemoryReportingInfoBase* around);

  void begin(int32_t kind, const char* name, const at::RecordFunction* function);
  void end(const at::RecordFunction* function) { end(log(), function); }
  // After the callbacks are gone: ends what is open and brings the threads' logs together.
  void finish();

  // libtorch 1.13 and 2.x differ in the types of the totals; whichever it declares is overridden.
  void reportMemoryUsage(void* ptr, int64_t size, int64_t total, int64_t reserved, c10::Device device) { report(ptr, size, total, reserved, device); }
  void reportMemoryUsage(void* ptr, int64_t size, size_t total, size_t reserved, c10::Device device) { report(ptr, size, total, reserved, device); }
  bool memoryProfilingEnabled() const override { return options_.memory != 0 || (around_ != nullptr && around_->memoryProfilingEnabled()); }

  static Recorder* current() noexcept;

  ds_trace_counts counts{};
  std::vector<ds_trace_event> events;
  std::vector<std::string> signatures;
  std::vector<ds_trace_kernel> kernels;

 private:
  Log& log();
  int64_t now() const { return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - start_).count(); }
  int32_t intern(const std::string& text);
  void end(Log& log, const at::RecordFunction* function);
  void note(int64_t size);
  void gather(Log& log);
  void gather_kernels();

  // Reporters do not stack in libtorch: the one that was there before is told too.
  template <class Total>
  void report(void* ptr, int64_t size, Total total, Total reserved, c10::Device device) {
    const auto header = device.is_cpu() ? kBlockHeader : 0;
    if (options_.memory != 0) note(size > 0 ? size - header : size + header);
    if (around_ != nullptr && around_->memoryProfilingEnabled()) around_->reportMemoryUsage(ptr, size, total, reserved, device);
  }

  const ds_trace_options options_;
  c10::MemoryReportingInfoBase* const around_;
  const uint64_t id_;
  const std::chrono::steady_clock::time_point start_;
  std::unique_ptr<KernelLog> kernel_log_;
  std::unique_ptr<DeviceClock> clock_;  // where there is no kernel log
  std::mutex mutex_;
  std::deque<Log> logs_;
  std::unordered_map<std::string, int32_t> numbers_;
  std::atomic<int64_t> recorded_{0};
  std::atomic<int64_t> dropped_{0};
  std::atomic<int64_t> held_{0};
  std::atomic<int64_t> peak_{0};
};

// Appends `|arguments` or `|results` to a signature.
void describe(std::string& text, const c10::IValue* values, size_t count);

}  // namespace deepseek::trace
