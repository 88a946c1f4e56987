#include "onnx/threads.h"

#include "common/cpu.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>

namespace deepseek {
namespace {

struct Session {
  const ort::KernelContext* context = nullptr;
  ort::Api api{nullptr};
};

// Without a context work stays on its thread: outside of a kernel, and within a piece of work that is itself one of many.
thread_local Session current;

// Pieces for each thread, so that one that is late leaves the others work.
constexpr int64_t kPieces = 8;

struct Work {
  void (*body)(void*, int64_t, int64_t);
  void* context;
  int64_t count, each;
  std::atomic<bool> failed{false};
  std::exception_ptr failure;

  // No exception may pass through ONNX Runtime's threads.
  static void run(void* data, size_t piece) noexcept {
    auto& work = *static_cast<Work*>(data);
    const Session outer = current;
    current.context = nullptr;
    try {
      const auto first = static_cast<int64_t>(piece) * work.each;
      if (!work.failed.load(std::memory_order_relaxed)) work.body(work.context, first, std::min(first + work.each, work.count));
    } catch (...) {
      if (!work.failed.exchange(true)) work.failure = std::current_exception();
    }
    current = outer;
  }
};

}  // namespace

ort::Threads::Threads(Api api, const KernelContext* context) noexcept { current = {context, api}; }
ort::Threads::~Threads() { current.context = nullptr; }

int cpu::threads() noexcept {
  static const int all = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  return current.context != nullptr ? all : 1;
}

void cpu::parallel_ranges(int64_t count, int64_t grain, void (*body)(void*, int64_t, int64_t), void* context) {
  if (count <= 0) return;
  const int64_t all = threads(), least = std::max<int64_t>(grain, 1);
  if (all == 1 || count <= least) return body(context, 0, count);
  Work work{body, context, count, std::max(least, (count + all * kPieces - 1) / (all * kPieces)), {false}, nullptr};
  ort::check(current.api.parallel_for(current.context, Work::run, static_cast<size_t>((count + work.each - 1) / work.each), 0, &work));
  if (work.failure) std::rethrow_exception(work.failure);
}

}  // namespace deepseek
