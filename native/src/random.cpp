#include "deepseek/random.h"

#include "guard.h"

#include <cstring>

using deepseek::guard;
using deepseek::require;

namespace {

at::Generator generator_of(int32_t device_type, int32_t device_index) {
  require(device_type == DS_CPU || device_type == DS_CUDA, "the device type is neither 0 (CPU) nor 1 (CUDA)");
  require(device_index >= -1 && device_index < 128, "the device index is out of range");
  if (device_type == DS_CPU) return at::detail::getDefaultCPUGenerator();
  if (!at::hasCUDA()) deepseek::fail(DS_NOT_FOUND, "this build of libtorch has no CUDA");
  return at::globalContext().defaultGenerator(c10::Device(c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(device_index)));
}

}  // namespace

ds_status ds_random_seed(uint64_t seed) noexcept {
  return guard("ds_random_seed", [&] { at::manual_seed(seed); });
}

ds_status ds_random_get_state(void* buffer, int64_t capacity, int64_t* bytes) noexcept {
  return ds_random_get_device_state(DS_CPU, -1, buffer, capacity, bytes);
}

ds_status ds_random_set_state(const void* buffer, int64_t bytes) noexcept {
  return ds_random_set_device_state(DS_CPU, -1, buffer, bytes);
}

ds_status ds_random_get_device_state(int32_t device_type, int32_t device_index, void* buffer, int64_t capacity, int64_t* bytes) noexcept {
  return guard("ds_random_get_device_state", [&] {
    require(bytes != nullptr, "the output pointer is null");
    auto generator = generator_of(device_type, device_index);
    const std::lock_guard<std::mutex> lock(generator.mutex());
    const auto state = generator.get_state();
    const auto size = static_cast<int64_t>(state.nbytes());
    if (buffer != nullptr) {
      require(capacity >= size, "the buffer is too small");
      std::memcpy(buffer, state.data_ptr(), static_cast<size_t>(size));
    }
    *bytes = size;
  });
}

ds_status ds_random_set_device_state(int32_t device_type, int32_t device_index, const void* buffer, int64_t bytes) noexcept {
  return guard("ds_random_set_device_state", [&] {
    require(buffer != nullptr, "the buffer is null");
    auto generator = generator_of(device_type, device_index);
    const std::lock_guard<std::mutex> lock(generator.mutex());
    require(bytes == static_cast<int64_t>(generator.get_state().nbytes()), "the state has not the generator's size");
    auto state = at::empty({bytes}, at::TensorOptions().dtype(at::kByte));
    std::memcpy(state.data_ptr(), buffer, static_cast<size_t>(bytes));
    generator.set_state(state);
  });
}
