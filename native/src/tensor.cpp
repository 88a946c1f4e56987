#include "deepseek/tensor.h"

#include "guard.h"

#include <cstring>

using deepseek::borrow;
using deepseek::guard;
using deepseek::require;

namespace {

at::ScalarType element_type(int32_t dtype) {
  switch (dtype) {
    case DS_UINT8: case DS_INT8: case DS_INT16: case DS_INT32: case DS_INT64:
    case DS_FLOAT16: case DS_FLOAT32: case DS_FLOAT64: case DS_BOOL: case DS_BFLOAT16:
      return static_cast<at::ScalarType>(dtype);
    default:
      deepseek::fail(DS_INVALID_ARGUMENT, "unknown element type " + std::to_string(dtype));
  }
}

at::IntArrayRef shape(const int64_t* sizes, int32_t rank) {
  require(rank >= 0 && rank <= DS_MAX_RANK, "the rank is not between 0 and 16");
  require(sizes != nullptr || rank == 0, "the sizes are null");
  for (int32_t i = 0; i < rank; i++) require(sizes[i] >= 0, "a size is negative");
  return at::IntArrayRef(sizes, static_cast<size_t>(rank));
}

int64_t bytes_of(at::IntArrayRef sizes, at::ScalarType type) {
  int64_t bytes = static_cast<int64_t>(c10::elementSize(type));
  for (auto size : sizes) require(!__builtin_mul_overflow(bytes, size, &bytes), "the sizes overflow");
  return bytes;
}

}  // namespace

ds_status ds_tensor_empty(const int64_t* sizes, int32_t rank, int32_t dtype, int32_t device_type, int32_t device_index, ds_tensor* out) noexcept {
  return guard("ds_tensor_empty", [&] {
    require(out != nullptr, "the output pointer is null");
    require(device_type == DS_CPU || device_type == DS_CUDA || device_type == DS_META, "the device type is neither 0 (CPU), 1 (CUDA) nor 14 (meta)");
    require(device_index >= -1 && device_index < 128, "the device index is out of range");
    const auto type = element_type(dtype);
    const auto dimensions = shape(sizes, rank);
    bytes_of(dimensions, type);
    const c10::Device device(static_cast<c10::DeviceType>(device_type), static_cast<c10::DeviceIndex>(device_type == DS_CUDA ? device_index : -1));
    *out = deepseek::give(at::empty(dimensions, at::TensorOptions().dtype(type).device(device)));
  });
}

ds_status ds_tensor_from_blob(const void* data, int64_t bytes, const int64_t* sizes, int32_t rank, int32_t dtype, ds_tensor* out) noexcept {
  return guard("ds_tensor_from_blob", [&] {
    require(out != nullptr, "the output pointer is null");
    const auto type = element_type(dtype);
    const auto dimensions = shape(sizes, rank);
    require(bytes == bytes_of(dimensions, type), "the byte count is not what the sizes need");
    require(data != nullptr || bytes == 0, "the data is null");
    auto tensor = at::empty(dimensions, at::TensorOptions().dtype(type));
    if (bytes > 0) std::memcpy(tensor.data_ptr(), data, static_cast<size_t>(bytes));
    *out = deepseek::give(std::move(tensor));
  });
}

ds_status ds_tensor_alias(ds_tensor tensor, ds_tensor* out) noexcept {
  return guard("ds_tensor_alias", [&] {
    require(out != nullptr, "the output pointer is null");
    *out = deepseek::give(borrow(tensor));
  });
}

ds_status ds_tensor_free(ds_tensor tensor) noexcept {
  return guard("ds_tensor_free", [&] {
    require(tensor != nullptr, "the tensor handle is null");
    deepseek::take(tensor);
  });
}

ds_status ds_tensor_free_many(const ds_tensor* tensors, int32_t count) noexcept {
  return guard("ds_tensor_free_many", [&] {
    require(count >= 0, "the count is negative");
    require(tensors != nullptr || count == 0, "the handles are null");
    for (int32_t i = 0; i < count; i++) {
      if (tensors[i] != nullptr) deepseek::take(tensors[i]);
    }
  });
}

ds_status ds_tensor_get_info(ds_tensor tensor, ds_tensor_info* info) noexcept {
  return guard("ds_tensor_get_info", [&] {
    require(info != nullptr, "the output pointer is null");
    require(info->size == sizeof(ds_tensor_info), "the struct's size is not this version's");
    const auto value = borrow(tensor);
    require(value.dim() <= DS_MAX_RANK, "the tensor has more than 16 dimensions");
    info->dtype = static_cast<int32_t>(value.scalar_type());
    info->device_type = static_cast<int32_t>(value.device().type());
    info->device_index = value.device().index();
    info->rank = static_cast<int32_t>(value.dim());
    info->contiguous = value.is_contiguous();
    info->requires_grad = value.requires_grad();
    info->element_size = static_cast<int32_t>(value.element_size());
    info->elements = value.numel();
    for (int64_t i = 0; i < value.dim(); i++) info->sizes[i] = value.size(i);
  });
}

ds_status ds_tensor_data(ds_tensor tensor, void** data, int64_t* bytes) noexcept {
  return guard("ds_tensor_data", [&] {
    require(data != nullptr && bytes != nullptr, "an output pointer is null");
    const auto value = borrow(tensor);
    require(value.device().is_cpu(), "the tensor is not on the CPU");
    require(value.is_contiguous(), "the tensor is not contiguous");
    *data = value.data_ptr();
    *bytes = static_cast<int64_t>(value.nbytes());
  });
}

ds_status ds_tensor_read(ds_tensor tensor, void* destination, int64_t bytes) noexcept {
  return guard("ds_tensor_read", [&] {
    const auto value = borrow(tensor);
    require(bytes == value.numel() * static_cast<int64_t>(value.element_size()), "the byte count is not the tensor's");
    require(destination != nullptr || bytes == 0, "the destination is null");
    const auto host = value.detach().to(at::kCPU).contiguous();
    if (bytes > 0) std::memcpy(destination, host.data_ptr(), static_cast<size_t>(bytes));
  });
}

ds_status ds_tensor_write(ds_tensor tensor, const void* source, int64_t bytes) noexcept {
  return guard("ds_tensor_write", [&] {
    const auto value = borrow(tensor).detach();
    require(bytes == value.numel() * static_cast<int64_t>(value.element_size()), "the byte count is not the tensor's");
    require(source != nullptr || bytes == 0, "the source is null");
    if (bytes == 0) return;
    if (value.device().is_cpu() && value.is_contiguous()) {
      std::memcpy(value.data_ptr(), source, static_cast<size_t>(bytes));
      return;
    }
    auto host = at::empty(value.sizes(), at::TensorOptions().dtype(value.scalar_type()));
    std::memcpy(host.data_ptr(), source, static_cast<size_t>(bytes));
    value.copy_(host);
  });
}

ds_status ds_tensor_move(ds_tensor tensor, int32_t dtype, int32_t device_type, int32_t device_index, int32_t channels_last) noexcept {
  return guard("ds_tensor_move", [&] {
    require(device_type == DS_CPU || device_type == DS_CUDA, "the device type is neither 0 (CPU) nor 1 (CUDA)");
    require(device_index >= -1 && device_index < 128, "the device index is out of range");
    auto value = borrow(tensor);
    const at::NoGradGuard no_grad;
    const c10::Device device(static_cast<c10::DeviceType>(device_type), static_cast<c10::DeviceIndex>(device_type == DS_CPU ? -1 : device_index));
    const auto layout = channels_last != 0 && value.dim() == 4 ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Preserve;
    auto moved = value.detach().to(at::TensorOptions().dtype(element_type(dtype)).device(device), false, false, layout);
    if (channels_last != 0 && value.dim() == 4) moved = moved.contiguous(at::MemoryFormat::ChannelsLast);
    if (moved.is_same(value) || moved.data_ptr() == value.data_ptr()) return;
    value.mutable_grad().reset();
    value.set_data(moved);
  });
}

ds_status ds_tensor_item(ds_tensor tensor, double* number) noexcept {
  return guard("ds_tensor_item", [&] {
    require(number != nullptr, "the output pointer is null");
    const auto value = borrow(tensor);
    require(value.numel() == 1, "the tensor has not exactly one element");
    *number = value.item().toDouble();
  });
}
