// One generic call for every operator that libtorch's dispatcher knows.
#pragma once

#include "tensor.h"

enum {
  DS_VALUE_DEFAULT = 0,  // take the schema's default (missing trailing arguments too)
  DS_VALUE_NONE = 1,     // null: an optional argument left out, an undefined tensor among results
  DS_VALUE_TENSOR = 2,
  DS_VALUE_INT = 3,
  DS_VALUE_DOUBLE = 4,
  DS_VALUE_BOOL = 5,         // as.integer 0 or 1
  DS_VALUE_INT_LIST = 6,     // as.pointer: int64_t[count]
  DS_VALUE_DOUBLE_LIST = 7,  // as.pointer: double[count]
  DS_VALUE_BOOL_LIST = 8,    // as.pointer: uint8_t[count]
  DS_VALUE_TENSOR_LIST = 9,  // as.pointer: ds_tensor[count]; null entries only where the schema allows them
  DS_VALUE_STRING = 10,      // as.pointer: UTF-8, count bytes
  DS_VALUE_DEVICE = 11,      // as.integer: device type * 65536 + index
};

typedef struct ds_value {
  int32_t kind;
  int32_t count;
  union {
    int64_t integer;
    double number;
    ds_tensor tensor;
    const void* pointer;
  } as;
} ds_value;

// Finds an operator ("aten::add", "Tensor") and gives its number, good for the life of the process.
DS_API ds_status ds_op_find(const char* name, const char* overload, int32_t* op) DS_NOEXCEPT;
// Calls it. Tensors among the arguments are borrowed, tensors among the results belong to the caller; a list of tensors
// comes back as its elements. With fewer than the needed places in `results` nothing is returned but *result_count.
DS_API ds_status ds_op_call(int32_t op, const ds_value* arguments, int32_t argument_count, ds_value* results, int32_t capacity, int32_t* result_count) DS_NOEXCEPT;
