// Status codes and error text of the C ABI. Nothing throws across it: every function returns a ds_status and writes its
// results through pointers, which stay untouched on failure.
#pragma once

#include <stdint.h>

#if defined(__cplusplus)
#define DS_NOEXCEPT noexcept
#define DS_API extern "C" __attribute__((visibility("default")))
#else
#define DS_NOEXCEPT
#define DS_API __attribute__((visibility("default")))
#endif

typedef int32_t ds_status;

enum {
  DS_OK = 0,
  DS_INVALID_ARGUMENT = 1,  // null, out of range, wrong size or kind
  DS_NOT_FOUND = 2,         // no such operator
  DS_OUT_OF_MEMORY = 3,     // host or device
  DS_OPERATOR_FAILED = 4,   // libtorch refused the call; its message says why
  DS_INTERNAL = 5,          // anything else
};

// Text of this thread's last failure; never null, owned by the library, valid until the thread's next failure.
DS_API const char* ds_last_error(void) DS_NOEXCEPT;

// Version of libtorch this library was built with, as major * 10000 + minor * 100 + patch.
DS_API ds_status ds_core_version(int32_t* libtorch) DS_NOEXCEPT;
