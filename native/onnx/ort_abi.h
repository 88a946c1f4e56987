// What is used of ONNX Runtime's C interface, whose headers no package brings along: OrtApi is a table of functions to which newer versions
// only append, so a function is known by its place (onnxruntime_c_api.h; the struct OrtApi of the official C# sources lists the same).
#pragma once

#include <cstddef>
#include <cstdint>

namespace deepseek::ort {

// Handles that only ONNX Runtime looks into.
struct Status;
struct Value;
struct SessionOptions;
struct CustomOpDomain;
struct KernelInfo;
struct KernelContext;
struct ShapeContext;
struct TensorInfo;

// Version 17 (ONNX Runtime 1.17) is the first that lends kernels its threads.
constexpr uint32_t kVersion = 17;

enum ErrorCode : int { kFail = 1, kInvalidArgument = 2, kRuntimeException = 6 };
enum ElementType : int { kFloat = 1, kInt64 = 7 };
enum Characteristic : int { kRequired = 0, kOptional = 1 };
enum Memory : int { kDefaultMemory = 0 };

struct CustomOp;

// Calls the function at a place of the table.
template <int Place, class Function>
struct At;
template <int Place, class Result, class... Arguments>
struct At<Place, Result(Arguments...)> {
  using Pointer = Result (*)(Arguments...);
  static Result call(const void* const* table, Arguments... arguments) { return reinterpret_cast<Pointer>(const_cast<void*>(table[Place]))(arguments...); }
};

class Api {
 public:
  explicit Api(const void* table) : table_(static_cast<const void* const*>(table)) {}

  Status* create_status(ErrorCode code, const char* message) const { return At<0, Status*(int, const char*)>::call(table_, code, message); }
  void release(Status* status) const { At<93, void(Status*)>::call(table_, status); }

  Status* create_domain(const char* name, CustomOpDomain** domain) const { return At<26, Status*(const char*, CustomOpDomain**)>::call(table_, name, domain); }
  Status* add(CustomOpDomain* domain, const CustomOp* op) const { return At<27, Status*(CustomOpDomain*, const CustomOp*)>::call(table_, domain, op); }
  Status* add(SessionOptions* options, CustomOpDomain* domain) const { return At<28, Status*(SessionOptions*, CustomOpDomain*)>::call(table_, options, domain); }

  Status* data(Value* value, void** address) const { return At<51, Status*(Value*, void**)>::call(table_, value, address); }
  Status* rank(const TensorInfo* info, size_t* count) const { return At<61, Status*(const TensorInfo*, size_t*)>::call(table_, info, count); }
  Status* sizes(const TensorInfo* info, int64_t* values, size_t count) const { return At<62, Status*(const TensorInfo*, int64_t*, size_t)>::call(table_, info, values, count); }
  Status* size_names(const TensorInfo* info, const char** names, size_t count) const { return At<63, Status*(const TensorInfo*, const char**, size_t)>::call(table_, info, names, count); }
  Status* info(const Value* value, TensorInfo** info) const { return At<65, Status*(const Value*, TensorInfo**)>::call(table_, value, info); }
  void release(TensorInfo* info) const { At<99, void(TensorInfo*)>::call(table_, info); }

  Status* attribute(const KernelInfo* info, const char* name, float* value) const { return At<85, Status*(const KernelInfo*, const char*, float*)>::call(table_, info, name, value); }
  Status* attribute(const KernelInfo* info, const char* name, int64_t* value) const { return At<86, Status*(const KernelInfo*, const char*, int64_t*)>::call(table_, info, name, value); }

  Status* input_count(const KernelContext* context, size_t* count) const { return At<88, Status*(const KernelContext*, size_t*)>::call(table_, context, count); }
  Status* input(const KernelContext* context, size_t index, const Value** value) const { return At<90, Status*(const KernelContext*, size_t, const Value**)>::call(table_, context, index, value); }
  Status* output(KernelContext* context, size_t index, const int64_t* sizes, size_t rank, Value** value) const {
    return At<91, Status*(KernelContext*, size_t, const int64_t*, size_t, Value**)>::call(table_, context, index, sizes, rank, value);
  }
  // Calls body(data, i) for every i below `count` on the session's threads, one at a time each; returns when all are done. batches 0: as they become free.
  Status* parallel_for(const KernelContext* context, void (*body)(void*, size_t), size_t count, size_t batches, void* data) const {
    return At<274, Status*(const KernelContext*, void (*)(void*, size_t), size_t, size_t, void*)>::call(table_, context, body, count, batches, data);
  }

  // While shapes are inferred; what is told of an input stays the context's.
  Status* input_shape(const ShapeContext* context, size_t index, TensorInfo** info) const { return At<268, Status*(const ShapeContext*, size_t, TensorInfo**)>::call(table_, context, index, info); }
  Status* set_output_shape(const ShapeContext* context, size_t index, const TensorInfo* info) const {
    return At<270, Status*(const ShapeContext*, size_t, const TensorInfo*)>::call(table_, context, index, info);
  }

 private:
  const void* const* table_;
};

// An error of ONNX Runtime's own, to be handed on as it is.
struct Failure {
  Status* status;
};

inline void check(Status* status) {
  if (status != nullptr) throw Failure{status};
}

struct ApiBase {
  const void* (*get_api)(uint32_t version);  // null for a version that is too new
  const char* (*get_version)();
};

// OrtCustomOp as of version 17; a null function has its default.
struct CustomOp {
  uint32_t version;
  void* (*create_kernel)(const CustomOp*, const void* api, const KernelInfo*);
  const char* (*name)(const CustomOp*);
  const char* (*provider)(const CustomOp*);
  int (*input_type)(const CustomOp*, size_t);
  size_t (*input_count)(const CustomOp*);
  int (*output_type)(const CustomOp*, size_t);
  size_t (*output_count)(const CustomOp*);
  void (*compute)(void*, KernelContext*);
  void (*destroy_kernel)(void*);
  int (*input_characteristic)(const CustomOp*, size_t);
  int (*output_characteristic)(const CustomOp*, size_t);
  int (*input_memory)(const CustomOp*, size_t);
  int (*variadic_input_least)(const CustomOp*);
  int (*variadic_input_alike)(const CustomOp*);
  int (*variadic_output_least)(const CustomOp*);
  int (*variadic_output_alike)(const CustomOp*);
  Status* (*create_kernel_v2)(const CustomOp*, const void* api, const KernelInfo*, void** kernel);
  Status* (*compute_v2)(void* kernel, KernelContext*);
  Status* (*infer_shape)(const CustomOp*, ShapeContext*);
  int (*first_version)(const CustomOp*);
  int (*last_version)(const CustomOp*);
  size_t (*may_inplace)(int**, int**);  // from version 18 on
  void (*release_may_inplace)(int*, int*);
  size_t (*aliases)(int**, int**);
  void (*release_aliases)(int*, int*);
};

}  // namespace deepseek::ort
