// Tensors behind opaque handles. A handle is one counted reference: whoever receives one frees it.
#pragma once

#include "core.h"

typedef struct ds_tensor_s* ds_tensor;

// Element types, numbered as libtorch numbers them.
enum {
  DS_UINT8 = 0,
  DS_INT8 = 1,
  DS_INT16 = 2,
  DS_INT32 = 3,
  DS_INT64 = 4,
  DS_FLOAT16 = 5,
  DS_FLOAT32 = 6,
  DS_FLOAT64 = 7,
  DS_BOOL = 11,
  DS_BFLOAT16 = 15,
};

// Device types, numbered as libtorch numbers them. Tensors on meta have sizes and a type but no elements.
enum { DS_CPU = 0, DS_CUDA = 1, DS_META = 14 };

enum { DS_MAX_RANK = 16 };

typedef struct ds_tensor_info {
  uint32_t size;  // sizeof(ds_tensor_info), set by the caller
  int32_t dtype;
  int32_t device_type;
  int32_t device_index;
  int32_t rank;
  int32_t contiguous;
  int32_t requires_grad;
  int32_t element_size;
  int64_t elements;
  int64_t sizes[DS_MAX_RANK];
} ds_tensor_info;

// Uninitialised tensor of `rank` sizes.
DS_API ds_status ds_tensor_empty(const int64_t* sizes, int32_t rank, int32_t dtype, int32_t device_type, int32_t device_index, ds_tensor* out) DS_NOEXCEPT;
// CPU tensor holding a copy of `bytes` bytes, which must be exactly what the sizes need.
DS_API ds_status ds_tensor_from_blob(const void* data, int64_t bytes, const int64_t* sizes, int32_t rank, int32_t dtype, ds_tensor* out) DS_NOEXCEPT;
// A second reference to the same tensor.
DS_API ds_status ds_tensor_alias(ds_tensor tensor, ds_tensor* out) DS_NOEXCEPT;
DS_API ds_status ds_tensor_free(ds_tensor tensor) DS_NOEXCEPT;
// Frees `count` handles; null ones among them are skipped.
DS_API ds_status ds_tensor_free_many(const ds_tensor* tensors, int32_t count) DS_NOEXCEPT;
DS_API ds_status ds_tensor_get_info(ds_tensor tensor, ds_tensor_info* info) DS_NOEXCEPT;
// Address of a contiguous CPU tensor's elements, valid while the tensor lives, and their bytes.
DS_API ds_status ds_tensor_data(ds_tensor tensor, void** data, int64_t* bytes) DS_NOEXCEPT;
// Copies all elements, in row-major order, to host memory of exactly `bytes` bytes; waits for the device.
DS_API ds_status ds_tensor_read(ds_tensor tensor, void* destination, int64_t bytes) DS_NOEXCEPT;
// Copies host memory of exactly `bytes` bytes over all elements, past autograd.
DS_API ds_status ds_tensor_write(ds_tensor tensor, const void* source, int64_t bytes) DS_NOEXCEPT;
// Moves a tensor in place to an element type and device, or to the channels-last layout when it has four dimensions: all
// handles of it follow, so that a module and its optimiser keep theirs. Its gradient is dropped when anything changes.
DS_API ds_status ds_tensor_move(ds_tensor tensor, int32_t dtype, int32_t device_type, int32_t device_index, int32_t channels_last) DS_NOEXCEPT;
// The value of a one-element tensor; waits for the device.
DS_API ds_status ds_tensor_item(ds_tensor tensor, double* value) DS_NOEXCEPT;
