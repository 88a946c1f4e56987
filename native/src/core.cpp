#include "deepseek/core.h"

#include "guard.h"

namespace deepseek {

namespace {
thread_local std::string last_error;
thread_local bool lost = false;
}  // namespace

void set_error(const char* function, const char* message) noexcept {
  try {
    last_error.assign(function).append(": ").append(message);
    lost = false;
  } catch (...) {
    lost = true;
  }
}

}  // namespace deepseek

const char* ds_last_error(void) noexcept {
  return deepseek::lost ? "out of memory while reporting an error" : deepseek::last_error.c_str();
}

ds_status ds_core_version(int32_t* libtorch) noexcept {
  return deepseek::guard("ds_core_version", [&] {
    deepseek::require(libtorch != nullptr, "the output pointer is null");
    *libtorch = TORCH_VERSION_MAJOR * 10000 + TORCH_VERSION_MINOR * 100 + TORCH_VERSION_PATCH;
  });
}
