#include "deepseek/precision.h"

#include "guard.h"

#include <ATen/autocast_mode.h>

using deepseek::borrow;
using deepseek::guard;
using deepseek::require;

namespace {

// The setting as one number: -1 for off, else the element type.
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 5)
int32_t setting(int32_t device_type) {
  const auto device = static_cast<c10::DeviceType>(device_type);
  return at::autocast::is_autocast_enabled(device) ? static_cast<int32_t>(at::autocast::get_autocast_dtype(device)) : -1;
}

void set(int32_t device_type, int32_t value) {
  const auto device = static_cast<c10::DeviceType>(device_type);
  at::autocast::set_autocast_enabled(device, value >= 0);
  if (value >= 0) at::autocast::set_autocast_dtype(device, static_cast<at::ScalarType>(value));
}
#else
int32_t setting(int32_t device_type) {
  if (device_type == DS_CPU) return at::autocast::is_cpu_enabled() ? static_cast<int32_t>(at::autocast::get_autocast_cpu_dtype()) : -1;
  return at::autocast::is_enabled() ? static_cast<int32_t>(at::autocast::get_autocast_gpu_dtype()) : -1;
}

void set(int32_t device_type, int32_t value) {
  if (device_type == DS_CPU) {
    at::autocast::set_cpu_enabled(value >= 0);
    if (value >= 0) at::autocast::set_autocast_cpu_dtype(static_cast<at::ScalarType>(value));
  } else {
    at::autocast::set_enabled(value >= 0);
    if (value >= 0) at::autocast::set_autocast_gpu_dtype(static_cast<at::ScalarType>(value));
  }
}
#endif

void require_device(int32_t device_type) { require(device_type == DS_CPU || device_type == DS_CUDA, "the device type is neither 0 (CPU) nor 1 (CUDA)"); }

std::vector<at::Tensor> gradients_of(const ds_tensor* parameters, int32_t count) {
  require(count >= 0 && (parameters != nullptr || count == 0), "the parameters are null or their count negative");
  std::vector<at::Tensor> gradients;
  for (int32_t i = 0; i < count; i++) {
    const auto gradient = borrow(parameters[i]).grad();
    if (gradient.defined()) gradients.push_back(gradient);
  }
  return gradients;
}

void require_single(const at::Tensor& value, at::ScalarType type, const char* message) {
  require(value.numel() == 1 && value.scalar_type() == type, message);
}

}  // namespace

ds_status ds_autocast_enter(int32_t device_type, int32_t dtype, int32_t* previous) noexcept {
  return guard("ds_autocast_enter", [&] {
    require_device(device_type);
    require(previous != nullptr, "the output pointer is null");
    require(dtype == DS_FLOAT16 || dtype == DS_BFLOAT16, "autocast takes float16 or bfloat16");
    require(device_type == DS_CUDA || dtype == DS_BFLOAT16, "autocast on the CPU takes bfloat16");
    const auto before = setting(device_type);
    set(device_type, dtype);
    at::autocast::increment_nesting();
    *previous = before;
  });
}

ds_status ds_autocast_leave(int32_t device_type, int32_t previous) noexcept {
  return guard("ds_autocast_leave", [&] {
    require_device(device_type);
    // Weights cast once and shared by the operators inside must not outlive their next update.
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    set(device_type, previous);
  });
}

ds_status ds_modes_get(ds_modes* modes) noexcept {
  return guard("ds_modes_get", [&] {
    require(modes != nullptr && modes->size == sizeof(ds_modes), "the struct is null or its size is not this version's");
    modes->recording = at::GradMode::is_enabled();
    modes->cpu_autocast = setting(DS_CPU);
    modes->cuda_autocast = setting(DS_CUDA);
    modes->cache = at::autocast::is_autocast_cache_enabled();
  });
}

ds_status ds_modes_set(const ds_modes* modes) noexcept {
  return guard("ds_modes_set", [&] {
    require(modes != nullptr && modes->size == sizeof(ds_modes), "the struct is null or its size is not this version's");
    at::GradMode::set_enabled(modes->recording != 0);
    set(DS_CPU, modes->cpu_autocast);
    set(DS_CUDA, modes->cuda_autocast);
    at::autocast::set_autocast_cache_enabled(modes->cache != 0);
  });
}

ds_status ds_scaler_unscale(const ds_tensor* parameters, int32_t count, ds_tensor scale, ds_tensor found) noexcept {
  return guard("ds_scaler_unscale", [&] {
    const at::NoGradGuard no_grad;
    const auto factor = borrow(scale), flag = borrow(found);
    require_single(factor, at::kFloat, "the scale is not one float32");
    require_single(flag, at::kFloat, "the flag is not one float32");
    flag.zero_();
    auto gradients = gradients_of(parameters, count);
    if (gradients.empty()) return;
    const auto inverse = factor.to(at::kDouble).reciprocal().to(at::kFloat);
    if (factor.is_cuda()) {
      // One element type a call: the multi-tensor kernel takes no mixed lists.
      for (const auto type : {at::kFloat, at::kHalf, at::kBFloat16}) {
        std::vector<at::Tensor> same;
        for (const auto& g : gradients) if (g.scalar_type() == type) same.push_back(g);
        if (same.empty()) continue;
        auto flags = flag;
        at::_amp_foreach_non_finite_check_and_unscale_(same, flags, inverse);
      }
      return;
    }
    bool finite = true;
    for (auto& g : gradients) {
      finite = finite && at::isfinite(g).all().item<bool>();
      g.mul_(inverse.to(g.scalar_type()));
    }
    if (!finite) flag.fill_(1);
  });
}

ds_status ds_scaler_update(ds_tensor scale, ds_tensor clean, ds_tensor found, double growth, double backoff, int64_t interval) noexcept {
  return guard("ds_scaler_update", [&] {
    const at::NoGradGuard no_grad;
    auto factor = borrow(scale), steps = borrow(clean), flag = borrow(found);
    require_single(factor, at::kFloat, "the scale is not one float32");
    require_single(steps, at::kInt, "the count of clean steps is not one int32");
    require_single(flag, at::kFloat, "the flag is not one float32");
    require(growth > 1 && backoff > 0 && backoff < 1 && interval >= 1, "growth is at most 1, backoff is not between 0 and 1, or the interval is below 1");
    if (factor.is_cuda()) {
      at::_amp_update_scale_(factor, steps, flag, growth, backoff, interval);
      return;
    }
    if (flag.item<float>() != 0) {
      factor.mul_(backoff);
      steps.zero_();
    } else if (steps.item<int32_t>() + 1 >= interval) {
      factor.mul_(growth);
      steps.zero_();
    } else {
      steps.add_(1);
    }
  });
}
