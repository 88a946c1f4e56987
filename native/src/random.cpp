#include "deepseek/random.h"

#include "guard.h"

#include <cstring>

using deepseek::guard;
using deepseek::require;

ds_status ds_random_seed(uint64_t seed) noexcept {
  return guard("ds_random_seed", [&] { at::manual_seed(seed); });
}

ds_status ds_random_get_state(void* buffer, int64_t capacity, int64_t* bytes) noexcept {
  return guard("ds_random_get_state", [&] {
    require(bytes != nullptr, "the output pointer is null");
    auto generator = at::detail::getDefaultCPUGenerator();
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

ds_status ds_random_set_state(const void* buffer, int64_t bytes) noexcept {
  return guard("ds_random_set_state", [&] {
    require(buffer != nullptr, "the buffer is null");
    auto generator = at::detail::getDefaultCPUGenerator();
    const std::lock_guard<std::mutex> lock(generator.mutex());
    require(bytes == static_cast<int64_t>(generator.get_state().nbytes()), "the state has not the generator's size");
    auto state = at::empty({bytes}, at::TensorOptions().dtype(at::kByte));
    std::memcpy(state.data_ptr(), buffer, static_cast<size_t>(bytes));
    generator.set_state(state);
  });
}
