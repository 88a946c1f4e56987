#include "deepseek/cuda.h"

#include "guard.h"

#ifdef DEEPSEEK_CUDA
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>

#include <cstring>
#endif

using deepseek::guard;
using deepseek::require;

#ifdef DEEPSEEK_CUDA

struct ds_stream_s {
  c10::cuda::CUDAStream stream;
};

struct ds_event_s {
  cudaEvent_t event = nullptr;
};

struct ds_graph_s {
  at::cuda::CUDAGraph graph;
};

namespace {

c10::DeviceIndex device_of(int32_t device) {
  require(device >= -1 && device < static_cast<int32_t>(c10::cuda::device_count()), "there is no CUDA device of this index");
  return device < 0 ? c10::cuda::current_device() : static_cast<c10::DeviceIndex>(device);
}

// Lets `later` wait for everything asked of `earlier`.
void follow(const c10::cuda::CUDAStream& earlier, const c10::cuda::CUDAStream& later) {
  if (earlier == later) return;
  cudaEvent_t mark = nullptr;
  C10_CUDA_CHECK(cudaEventCreateWithFlags(&mark, cudaEventDisableTiming));
  C10_CUDA_CHECK(cudaEventRecord(mark, earlier.stream()));
  C10_CUDA_CHECK(cudaStreamWaitEvent(later.stream(), mark, 0));
  C10_CUDA_CHECK(cudaEventDestroy(mark));
}

}  // namespace

#define DS_CUDA_CALL(name, ...) return guard(name, [&]() __VA_ARGS__)
#else
#define DS_CUDA_CALL(name, ...) return guard(name, [&]() { deepseek::fail(DS_NOT_FOUND, "this build of libtorch has no CUDA"); })
#endif

// Parameters are unused where there is no CUDA.
#pragma GCC diagnostic ignored "-Wunused-parameter"

ds_status ds_cuda_device_info(int32_t device, ds_cuda_device* info) noexcept {
  DS_CUDA_CALL("ds_cuda_device_info", {
    require(info != nullptr && info->size == sizeof(ds_cuda_device), "the struct is null or its size is not this version's");
    const auto index = device_of(device);
    cudaDeviceProp properties{};
    C10_CUDA_CHECK(cudaGetDeviceProperties(&properties, index));
    const c10::cuda::CUDAGuard on_device(index);
    size_t free = 0, total = 0;
    C10_CUDA_CHECK(cudaMemGetInfo(&free, &total));
    info->major = properties.major;
    info->minor = properties.minor;
    info->multiprocessors = properties.multiProcessorCount;
    info->total_memory = static_cast<int64_t>(total);
    info->free_memory = static_cast<int64_t>(free);
    info->l2_cache = properties.l2CacheSize;
    info->threads = properties.maxThreadsPerMultiProcessor;
    info->blocks = properties.maxBlocksPerMultiProcessor;
    info->registers = properties.regsPerMultiprocessor;
    info->shared_memory = static_cast<int32_t>(properties.sharedMemPerMultiprocessor);
    info->reserved_shared = static_cast<int32_t>(properties.reservedSharedMemPerBlock);
    info->unused = 0;
    std::memset(info->name, 0, sizeof info->name);
    const std::string name(properties.name);
    name.copy(info->name, sizeof info->name - 1);
  });
}

ds_status ds_cuda_set_device(int32_t device) noexcept {
  DS_CUDA_CALL("ds_cuda_set_device", { c10::cuda::set_device(device_of(device)); });
}

ds_status ds_cuda_synchronize(int32_t device) noexcept {
  DS_CUDA_CALL("ds_cuda_synchronize", {
    const c10::cuda::CUDAGuard on_device(device_of(device));
    C10_CUDA_CHECK(cudaDeviceSynchronize());
  });
}

ds_status ds_cuda_memory_stats(int32_t device, ds_cuda_memory* stats) noexcept {
  DS_CUDA_CALL("ds_cuda_memory_stats", {
    require(stats != nullptr && stats->size == sizeof(ds_cuda_memory), "the struct is null or its size is not this version's");
    at::globalContext().lazyInitDevice(c10::DeviceType::CUDA);
    const auto held = c10::cuda::CUDACachingAllocator::getDeviceStats(device_of(device));
    stats->unused = 0;
    stats->allocated = held.allocated_bytes[0].current;
    stats->peak_allocated = held.allocated_bytes[0].peak;
    stats->reserved = held.reserved_bytes[0].current;
    stats->peak_reserved = held.reserved_bytes[0].peak;
    stats->device_allocations = held.segment[0].allocated;
    stats->retries = held.num_alloc_retries;
    stats->failures = held.num_ooms;
  });
}

ds_status ds_cuda_reset_peaks(int32_t device) noexcept {
  DS_CUDA_CALL("ds_cuda_reset_peaks", {
    at::globalContext().lazyInitDevice(c10::DeviceType::CUDA);
    c10::cuda::CUDACachingAllocator::resetPeakStats(device_of(device));
  });
}

ds_status ds_cuda_empty_cache(void) noexcept {
  DS_CUDA_CALL("ds_cuda_empty_cache", {
    at::globalContext().lazyInitDevice(c10::DeviceType::CUDA);
    c10::cuda::CUDACachingAllocator::emptyCache();
  });
}

ds_status ds_cuda_allow_tf32(int32_t allowed) noexcept {
  return guard("ds_cuda_allow_tf32", [&] {
    at::globalContext().setAllowTF32CuBLAS(allowed != 0);
    at::globalContext().setAllowTF32CuDNN(allowed != 0);
  });
}

ds_status ds_cuda_benchmark_convolutions(int32_t enabled) noexcept {
  return guard("ds_cuda_benchmark_convolutions", [&] { at::globalContext().setBenchmarkCuDNN(enabled != 0); });
}

ds_status ds_cuda_allow_attention(int32_t kinds) noexcept {
  DS_CUDA_CALL("ds_cuda_allow_attention", {
    require(kinds >= 0 && kinds < 8, "the kinds are not a sum of 1, 2 and 4");
    at::globalContext().setSDPUseFlash((kinds & 1) != 0);
    at::globalContext().setSDPUseMemEfficient((kinds & 2) != 0);
    at::globalContext().setSDPUseCuDNN((kinds & 4) != 0);
  });
}

ds_status ds_stream_new(int32_t device, int32_t high_priority, ds_stream* out) noexcept {
  DS_CUDA_CALL("ds_stream_new", {
    require(out != nullptr, "the output pointer is null");
    *out = new ds_stream_s{c10::cuda::getStreamFromPool(high_priority != 0, device_of(device))};
  });
}

ds_status ds_stream_free(ds_stream stream) noexcept {
  DS_CUDA_CALL("ds_stream_free", { delete stream; });
}

ds_status ds_stream_enter(ds_stream stream, ds_stream* previous) noexcept {
  DS_CUDA_CALL("ds_stream_enter", {
    require(stream != nullptr && previous != nullptr, "the stream or the output pointer is null");
    const auto before = c10::cuda::getCurrentCUDAStream(stream->stream.device_index());
    follow(before, stream->stream);
    c10::cuda::setCurrentCUDAStream(stream->stream);
    *previous = new ds_stream_s{before};
  });
}

ds_status ds_stream_leave(ds_stream previous) noexcept {
  DS_CUDA_CALL("ds_stream_leave", {
    require(previous != nullptr, "the stream is null");
    const auto left = c10::cuda::getCurrentCUDAStream(previous->stream.device_index());
    c10::cuda::setCurrentCUDAStream(previous->stream);
    follow(left, previous->stream);
    delete previous;
  });
}

ds_status ds_stream_synchronize(ds_stream stream) noexcept {
  DS_CUDA_CALL("ds_stream_synchronize", {
    require(stream != nullptr, "the stream is null");
    C10_CUDA_CHECK(cudaStreamSynchronize(stream->stream.stream()));
  });
}

ds_status ds_event_new(ds_event* out) noexcept {
  DS_CUDA_CALL("ds_event_new", {
    require(out != nullptr, "the output pointer is null");
    auto made = std::make_unique<ds_event_s>();
    C10_CUDA_CHECK(cudaEventCreate(&made->event));
    *out = made.release();
  });
}

ds_status ds_event_free(ds_event event) noexcept {
  DS_CUDA_CALL("ds_event_free", {
    require(event != nullptr, "the event is null");
    C10_CUDA_CHECK(cudaEventDestroy(event->event));
    delete event;
  });
}

ds_status ds_event_record(ds_event event) noexcept {
  DS_CUDA_CALL("ds_event_record", {
    require(event != nullptr, "the event is null");
    C10_CUDA_CHECK(cudaEventRecord(event->event, c10::cuda::getCurrentCUDAStream().stream()));
  });
}

ds_status ds_event_synchronize(ds_event event) noexcept {
  DS_CUDA_CALL("ds_event_synchronize", {
    require(event != nullptr, "the event is null");
    C10_CUDA_CHECK(cudaEventSynchronize(event->event));
  });
}

ds_status ds_event_elapsed(ds_event begin, ds_event end, double* milliseconds) noexcept {
  DS_CUDA_CALL("ds_event_elapsed", {
    require(begin != nullptr && end != nullptr && milliseconds != nullptr, "an event or the output pointer is null");
    float elapsed = 0;
    C10_CUDA_CHECK(cudaEventSynchronize(end->event));
    C10_CUDA_CHECK(cudaEventElapsedTime(&elapsed, begin->event, end->event));
    *milliseconds = elapsed;
  });
}

ds_status ds_graph_new(ds_graph* out) noexcept {
  DS_CUDA_CALL("ds_graph_new", {
    require(out != nullptr, "the output pointer is null");
    *out = new ds_graph_s();
  });
}

ds_status ds_graph_free(ds_graph graph) noexcept {
  DS_CUDA_CALL("ds_graph_free", { delete graph; });
}

ds_status ds_graph_begin(ds_graph graph) noexcept {
  DS_CUDA_CALL("ds_graph_begin", {
    require(graph != nullptr, "the graph is null");
    // Only work of threads that take part is recorded; backward's threads work on the captured stream and do.
    graph->graph.capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
  });
}

ds_status ds_graph_end(ds_graph graph) noexcept {
  DS_CUDA_CALL("ds_graph_end", {
    require(graph != nullptr, "the graph is null");
    graph->graph.capture_end();
  });
}

ds_status ds_graph_replay(ds_graph graph) noexcept {
  DS_CUDA_CALL("ds_graph_replay", {
    require(graph != nullptr, "the graph is null");
    graph->graph.replay();
  });
}
