#pragma once

#include "torch.h"

#include "deepseek/tensor.h"

#include <atomic>
#include <new>
#include <string>
#include <utility>

namespace deepseek {

// A fault found by the library's own checks.
struct Fault {
  ds_status status;
  std::string message;
};

inline std::atomic<int64_t> live_handles{0};

// What memory.cpp puts in front of every block of host memory; whoever counts blocks from below has to leave it out.
constexpr int64_t kBlockHeader = 64;

void set_error(const char* function, const char* message) noexcept;

[[noreturn]] inline void fail(ds_status status, std::string message) { throw Fault{status, std::move(message)}; }

inline void require(bool holds, const char* message) {
  if (!holds) fail(DS_INVALID_ARGUMENT, message);
}

// The firewall of the ABI: runs the body and turns whatever it throws into a status and a message.
template <class Body>
ds_status guard(const char* function, Body&& body) noexcept {
  try {
    body();
    return DS_OK;
  } catch (const Fault& fault) {
    set_error(function, fault.message.c_str());
    return fault.status;
  } catch (const c10::OutOfMemoryError& error) {
    set_error(function, error.what_without_backtrace());
    return DS_OUT_OF_MEMORY;
  } catch (const c10::Error& error) {
    set_error(function, error.what_without_backtrace());
    return DS_OPERATOR_FAILED;
  } catch (const std::bad_alloc&) {
    set_error(function, "out of memory");
    return DS_OUT_OF_MEMORY;
  } catch (const std::exception& error) {
    set_error(function, error.what());
    return DS_INTERNAL;
  } catch (...) {
    set_error(function, "unknown exception");
    return DS_INTERNAL;
  }
}

using Pointer = c10::intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>;

inline c10::TensorImpl* implementation(ds_tensor handle) { return reinterpret_cast<c10::TensorImpl*>(handle); }

// A counted reference to the caller's tensor.
inline at::Tensor borrow(ds_tensor handle) {
  require(handle != nullptr, "the tensor handle is null");
  return at::Tensor(Pointer::unsafe_reclaim_from_nonowning(implementation(handle)));
}

// Hands a tensor to the caller.
inline ds_tensor give(at::Tensor tensor) {
  live_handles.fetch_add(1, std::memory_order_relaxed);
  return reinterpret_cast<ds_tensor>(tensor.unsafeReleaseTensorImpl());
}

// Takes a handle back.
inline void take(ds_tensor handle) {
  live_handles.fetch_sub(1, std::memory_order_relaxed);
  Pointer::reclaim(implementation(handle));
}

}  // namespace deepseek
