// What the device runs while a trace records: kernels, copies and fills, eager or from a replayed graph, by CUPTI's activity records.
// The library is found at run time (PyTorch brings it); where it is not, or another program holds it, there is no log.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace deepseek::trace {

struct Activity {
  int64_t begin, end;  // nanoseconds of steady_clock
  int64_t bytes;       // of a copy or fill
  uint64_t owner;      // what was open on the thread that asked for it; 0 for nothing
  std::string name;
  int32_t kind;  // DS_TRACE_KERNEL ...
  int32_t stream;
  bool replayed;  // part of a graph
  int32_t registers, static_shared, dynamic_shared, cluster;
  int32_t grid[3], block[3];
};

class KernelLog {
 public:
  // Null where there is nothing to record with; `why` then says so.
  static std::unique_ptr<KernelLog> start(std::string& why);
  ~KernelLog();
  KernelLog(const KernelLog&) = delete;
  KernelLog& operator=(const KernelLog&) = delete;

  // What this thread asks for from here on belongs to `owner`, until the matching pop.
  void push(uint64_t owner) noexcept;
  void pop() noexcept;
  // After the device has come to rest: everything recorded, in order of begin.
  std::vector<Activity> finish();

 private:
  KernelLog() = default;
};

}  // namespace deepseek::trace
