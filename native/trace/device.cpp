#include "state.h"

#include <cmath>

#ifdef DEEPSEEK_CUDA
#include <c10/cuda/CUDAStream.h>
#include <c10/cuda/CUDAException.h>
#include <cuda_runtime_api.h>

namespace deepseek::trace {

struct DeviceClock::Marks {
  cudaEvent_t start{};
  std::mutex mutex;
  std::vector<cudaEvent_t> events;
};

DeviceClock::DeviceClock() : marks_(std::make_unique<Marks>()) {
  C10_CUDA_CHECK(cudaEventCreate(&marks_->start));
  C10_CUDA_CHECK(cudaEventRecord(marks_->start, c10::cuda::getCurrentCUDAStream().stream()));
}

DeviceClock::~DeviceClock() {
  for (auto* event : marks_->events) (void)cudaEventDestroy(event);
  if (marks_->start != nullptr) (void)cudaEventDestroy(marks_->start);
}

void* DeviceClock::mark() noexcept {
  const auto stream = c10::cuda::getCurrentCUDAStream().stream();
  auto capturing = cudaStreamCaptureStatusNone;
  cudaEvent_t event{};
  // A mark inside a recording would become part of the graph.
  if (cudaStreamIsCapturing(stream, &capturing) != cudaSuccess || capturing != cudaStreamCaptureStatusNone || cudaEventCreate(&event) != cudaSuccess) {
    (void)cudaGetLastError();
    return nullptr;
  }
  if (cudaEventRecord(event, stream) != cudaSuccess) {
    (void)cudaGetLastError();
    (void)cudaEventDestroy(event);
    return nullptr;
  }
  const std::lock_guard<std::mutex> lock(marks_->mutex);
  marks_->events.push_back(event);
  return event;
}

void DeviceClock::wait() { C10_CUDA_CHECK(cudaDeviceSynchronize()); }

double DeviceClock::nanoseconds(void* mark) {
  float milliseconds = 0;
  if (mark == nullptr || cudaEventElapsedTime(&milliseconds, marks_->start, static_cast<cudaEvent_t>(mark)) != cudaSuccess) {
    (void)cudaGetLastError();
    return std::nan("");
  }
  return milliseconds * 1e6;
}

}  // namespace deepseek::trace
#else
namespace deepseek::trace {

struct DeviceClock::Marks {};

DeviceClock::DeviceClock() { fail(DS_NOT_FOUND, "the engine was built without CUDA: there is no device to time"); }
DeviceClock::~DeviceClock() = default;
void* DeviceClock::mark() noexcept { return nullptr; }
void DeviceClock::wait() {}
double DeviceClock::nanoseconds(void*) { return std::nan(""); }

}  // namespace deepseek::trace
#endif
