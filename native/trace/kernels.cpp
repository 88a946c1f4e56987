#include "kernels.h"

#include "deepseek/trace.h"

#if defined(DEEPSEEK_CUDA) && __has_include(<cupti.h>)
#include <cupti.h>
#include <cxxabi.h>
#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <unordered_map>

namespace deepseek::trace {
namespace {

#if CUPTI_API_VERSION >= 130000
using KernelRecord = CUpti_ActivityKernel10;
using CopyRecord = CUpti_ActivityMemcpy6;
#else
using KernelRecord = CUpti_ActivityKernel9;
using CopyRecord = CUpti_ActivityMemcpy5;
#endif
using FillRecord = CUpti_ActivityMemset4;

constexpr size_t kBuffer = size_t{4} << 20;
constexpr auto kExternal = CUPTI_EXTERNAL_CORRELATION_KIND_CUSTOM1;
// External ids come with the calls of either interface.
constexpr CUpti_ActivityKind kKinds[] = {CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL, CUPTI_ACTIVITY_KIND_MEMCPY, CUPTI_ACTIVITY_KIND_MEMSET,
                                         CUPTI_ACTIVITY_KIND_EXTERNAL_CORRELATION, CUPTI_ACTIVITY_KIND_RUNTIME, CUPTI_ACTIVITY_KIND_DRIVER};

struct Library {
  decltype(&cuptiGetVersion) version = nullptr;
  decltype(&cuptiActivityRegisterCallbacks) callbacks = nullptr;
  decltype(&cuptiActivityRegisterTimestampCallback) clock = nullptr;
  decltype(&cuptiActivityEnable) enable = nullptr;
  decltype(&cuptiActivityDisable) disable = nullptr;
  decltype(&cuptiActivityFlushAll) flush = nullptr;
  decltype(&cuptiActivityGetNextRecord) next = nullptr;
  decltype(&cuptiActivityPushExternalCorrelationId) push = nullptr;
  decltype(&cuptiActivityPopExternalCorrelationId) pop = nullptr;
  std::string why;

  static const Library& get() {
    static const Library library;
    return library;
  }

 private:
  Library() {
    const auto major = CUPTI_API_VERSION >= 130000 ? 13 : 12;
    const auto name = "libcupti.so." + std::to_string(major);
    // The one that libtorch has loaded, else one on the search path.
    auto* handle = dlopen(name.c_str(), RTLD_NOW | RTLD_NOLOAD);
    if (handle == nullptr) handle = dlopen(name.c_str(), RTLD_NOW);
    if (handle == nullptr) {
      why = name + " is not to be found";
      return;
    }
    uint32_t loaded = 0;
    if (!(find(handle, "cuptiGetVersion", version) && find(handle, "cuptiActivityRegisterCallbacks", callbacks) && find(handle, "cuptiActivityRegisterTimestampCallback", clock) &&
          find(handle, "cuptiActivityEnable", enable) && find(handle, "cuptiActivityDisable", disable) && find(handle, "cuptiActivityFlushAll", flush) &&
          find(handle, "cuptiActivityGetNextRecord", next) && find(handle, "cuptiActivityPushExternalCorrelationId", push) && find(handle, "cuptiActivityPopExternalCorrelationId", pop))) {
      why = name + " lacks a function";
    } else if (version(&loaded) != CUPTI_SUCCESS || (loaded >= 130000) != (CUPTI_API_VERSION >= 130000)) {
      why = name + " is of version " + std::to_string(loaded) + ", the engine was built for " + std::to_string(CUPTI_API_VERSION);
    }
  }

  template <class F>
  static bool find(void* handle, const char* name, F& function) {
    function = reinterpret_cast<F>(dlsym(handle, name));
    return function != nullptr;
  }
};

// What has been recorded; CUPTI hands buffers over on threads of its own.
struct Store {
  std::mutex mutex;
  bool taken = false;
  std::vector<std::pair<Activity, uint32_t>> activities;  // with the number of the call that asked for each
  std::unordered_map<uint32_t, uint64_t> owners;          // of calls

  static Store& get() {
    static Store store;
    return store;
  }
};

uint64_t CUPTIAPI now() {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count());
}

std::string readable(const char* name) {
  if (name == nullptr) return "kernel";
  int status = 0;
  char* text = abi::__cxa_demangle(name, nullptr, nullptr, &status);
  std::string result = status == 0 && text != nullptr ? text : name;
  std::free(text);
  return result;
}

const char* direction(uint8_t kind) {
  switch (kind) {
    case CUPTI_ACTIVITY_MEMCPY_KIND_HTOD: return "copy, host to device";
    case CUPTI_ACTIVITY_MEMCPY_KIND_DTOH: return "copy, device to host";
    case CUPTI_ACTIVITY_MEMCPY_KIND_DTOD: return "copy, device to device";
    case CUPTI_ACTIVITY_MEMCPY_KIND_PTOP: return "copy, device to another";
    default: return "copy";
  }
}

void add(Store& store, Activity&& activity, uint32_t call) { store.activities.emplace_back(std::move(activity), call); }

void take(Store& store, const CUpti_Activity* record) {
  switch (record->kind) {
    case CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL: {
      const auto& k = *reinterpret_cast<const KernelRecord*>(record);
      Activity a{static_cast<int64_t>(k.start), static_cast<int64_t>(k.end), 0, 0, readable(k.name), DS_TRACE_KERNEL, static_cast<int32_t>(k.streamId), k.graphNodeId != 0, k.registersPerThread,
                 k.staticSharedMemory, k.dynamicSharedMemory, static_cast<int32_t>(std::max(1u, k.clusterX) * std::max(1u, k.clusterY) * std::max(1u, k.clusterZ)),
                 {k.gridX, k.gridY, k.gridZ}, {k.blockX, k.blockY, k.blockZ}};
      add(store, std::move(a), k.correlationId);
      break;
    }
    case CUPTI_ACTIVITY_KIND_MEMCPY: {
      const auto& c = *reinterpret_cast<const CopyRecord*>(record);
      add(store, Activity{static_cast<int64_t>(c.start), static_cast<int64_t>(c.end), static_cast<int64_t>(c.bytes), 0, direction(c.copyKind), DS_TRACE_COPY, static_cast<int32_t>(c.streamId), c.graphNodeId != 0, 0, 0, 0, 0, {}, {}},
          c.correlationId);
      break;
    }
    case CUPTI_ACTIVITY_KIND_MEMSET: {
      const auto& f = *reinterpret_cast<const FillRecord*>(record);
      add(store, Activity{static_cast<int64_t>(f.start), static_cast<int64_t>(f.end), static_cast<int64_t>(f.bytes), 0, "fill", DS_TRACE_FILL, static_cast<int32_t>(f.streamId), f.graphNodeId != 0, 0, 0, 0, 0, {}, {}}, f.correlationId);
      break;
    }
    case CUPTI_ACTIVITY_KIND_EXTERNAL_CORRELATION: {
      const auto& e = *reinterpret_cast<const CUpti_ActivityExternalCorrelation*>(record);
      if (e.externalKind == kExternal) store.owners[e.correlationId] = e.externalId;
      break;
    }
    default: break;
  }
}

void CUPTIAPI on_request(uint8_t** buffer, size_t* size, size_t* most) {
  *buffer = static_cast<uint8_t*>(std::aligned_alloc(8, kBuffer));
  *size = *buffer == nullptr ? 0 : kBuffer;
  *most = 0;
}

void CUPTIAPI on_complete(CUcontext, uint32_t, uint8_t* buffer, size_t, size_t valid) {
  auto& store = Store::get();
  try {
    const std::lock_guard<std::mutex> lock(store.mutex);
    CUpti_Activity* record = nullptr;
    while (store.taken && Library::get().next(buffer, valid, &record) == CUPTI_SUCCESS) take(store, record);
  } catch (const std::bad_alloc&) {
    // The rest of the buffer is missing from the trace.
  }
  std::free(buffer);
}

}  // namespace

std::unique_ptr<KernelLog> KernelLog::start(std::string& why) {
  const auto& library = Library::get();
  auto& store = Store::get();
  why = library.why;
  if (!why.empty()) return nullptr;
  {
    const std::lock_guard<std::mutex> lock(store.mutex);
    if (store.taken) {
      why = "another trace of this process records them";
      return nullptr;
    }
    store.taken = true;
    store.activities.clear();
    store.owners.clear();
  }
  std::unique_ptr<KernelLog> log(new KernelLog());
  auto status = library.callbacks(on_request, on_complete);
  if (status == CUPTI_SUCCESS) status = library.clock(now);
  for (const auto kind : kKinds) {
    if (status == CUPTI_SUCCESS) status = library.enable(kind);
  }
  if (status != CUPTI_SUCCESS) {
    why = "CUPTI refuses with status " + std::to_string(static_cast<int>(status));
    return nullptr;
  }
  uint64_t left = 0;
  while (library.pop(kExternal, &left) == CUPTI_SUCCESS) {
  }
  return log;
}

KernelLog::~KernelLog() {
  for (const auto kind : kKinds) (void)Library::get().disable(kind);
  (void)Library::get().flush(0);
  auto& store = Store::get();
  const std::lock_guard<std::mutex> lock(store.mutex);
  store.activities = {};
  store.owners = {};
  store.taken = false;
}

void KernelLog::push(uint64_t owner) noexcept { (void)Library::get().push(kExternal, owner); }

void KernelLog::pop() noexcept {
  uint64_t last = 0;
  (void)Library::get().pop(kExternal, &last);
}

std::vector<Activity> KernelLog::finish() {
  for (const auto kind : kKinds) (void)Library::get().disable(kind);
  (void)Library::get().flush(0);
  auto& store = Store::get();
  const std::lock_guard<std::mutex> lock(store.mutex);
  std::vector<Activity> all;
  all.reserve(store.activities.size());
  for (auto& [activity, call] : store.activities) {
    const auto owner = store.owners.find(call);
    activity.owner = owner == store.owners.end() ? 0 : owner->second;
    all.push_back(std::move(activity));
  }
  store.activities = {};
  std::sort(all.begin(), all.end(), [](const Activity& a, const Activity& b) { return a.begin < b.begin; });
  return all;
}

}  // namespace deepseek::trace
#else
namespace deepseek::trace {

std::unique_ptr<KernelLog> KernelLog::start(std::string& why) {
  why = "the engine was built without CUPTI's headers";
  return nullptr;
}
KernelLog::~KernelLog() = default;
void KernelLog::push(uint64_t) noexcept {}
void KernelLog::pop() noexcept {}
std::vector<Activity> KernelLog::finish() { return {}; }

}  // namespace deepseek::trace
#endif
