// What is done to all gradients at once: their norm, and scaling.
#include "gradients.h"

#include "deepseek/optim.h"

#include <algorithm>
#include <cmath>
#include <iterator>

using deepseek::each_gradient;
using deepseek::guard;
using deepseek::plain;
using deepseek::require;

namespace {

// Places in the control tensor.
constexpr int64_t kLimit = 6, kNorm = 7;

// Sixteen running sums fix the order of additions, whatever the vector width.
DS_VECTORISED double squares(const float* __restrict g, int64_t n) {
  double lanes[16] = {};
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    for (int lane = 0; lane < 16; lane++) {
      const double x = g[i + lane];
      lanes[lane] += x * x;
    }
  }
  for (; i < n; i++) lanes[0] += static_cast<double>(g[i]) * g[i];
  double sum = 0;
  for (double lane : lanes) sum += lane;
  return sum;
}

#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 5)
#define DS_MANY_AT_ONCE
#endif

// Float32 norms of tensors of a GPU.
std::vector<at::Tensor> norms_of(const std::vector<at::Tensor>& tensors) {
#ifdef DS_MANY_AT_ONCE
  if (std::none_of(tensors.begin(), tensors.end(), [](const at::Tensor& t) { return t.scalar_type() == at::kDouble; })) return at::_foreach_norm(tensors, 2, at::kFloat);
#endif
  auto norms = at::_foreach_norm(tensors, 2);
  for (auto& norm : norms) norm = norm.to(at::kFloat);
  return norms;
}

// All of them times one number on their device, those of one type in few launches.
void multiply(const std::vector<at::Tensor>& tensors, const at::Tensor& factor) {
#ifdef DS_MANY_AT_ONCE
  for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble}) {
    std::vector<at::Tensor> alike;
    std::copy_if(tensors.begin(), tensors.end(), std::back_inserter(alike), [&](const at::Tensor& t) { return t.scalar_type() == type; });
    if (!alike.empty()) at::_foreach_mul_(alike, factor.to(type));
  }
#else
  for (const auto& tensor : tensors) tensor.mul_(factor.to(tensor.scalar_type()));
#endif
}

}  // namespace

ds_status ds_optim_clip(const ds_tensor* parameters, int32_t count, double limit, double* norm) noexcept {
  return guard("ds_optim_clip", [&] {
    require(limit >= 0, "the limit is negative");
    const at::NoGradGuard no_grad;
    double sum = 0;
    std::vector<at::Tensor> elsewhere;
    each_gradient(parameters, count, [&](int32_t, const at::Tensor&, const at::Tensor& g) {
      if (plain(g)) sum += squares(g.data_ptr<float>(), g.numel());
      else if (g.device().is_cpu()) sum += std::pow(g.norm().item().toDouble(), 2);
      else elsewhere.push_back(g);
    });
    if (!elsewhere.empty()) {
      require(sum == 0, "some gradients are on the CPU and some are not");
      const auto total = at::stack(norms_of(elsewhere)).norm();
      if (limit > 0) multiply(elsewhere, (limit / (total + 1e-6)).clamp_max(1.0));
      if (norm != nullptr) *norm = total.item().toDouble();
      return;
    }
    const double total = std::sqrt(sum);
    if (limit > 0 && total > limit) {
      each_gradient(parameters, count, [&](int32_t, const at::Tensor&, const at::Tensor& g) { g.mul_(limit / (total + 1e-6)); });
    }
    if (norm != nullptr) *norm = total;
  });
}

ds_status ds_optim_clip_by(const ds_tensor* parameters, int32_t count, ds_tensor control) noexcept {
  return guard("ds_optim_clip_by", [&] {
    const at::NoGradGuard no_grad;
    const auto& values = deepseek::borrow(control);
    require(values.numel() == 8 && values.scalar_type() == at::kFloat && !values.device().is_cpu(), "the control tensor is not float32 [8] on a device");
    std::vector<at::Tensor> gradients;
    each_gradient(parameters, count, [&](int32_t, const at::Tensor&, const at::Tensor& g) {
      require(g.device() == values.device(), "a gradient is on another device than the control tensor");
      gradients.push_back(g);
    });
    if (gradients.empty()) return;
    const auto limit = values.select(0, kLimit), total = at::stack(norms_of(gradients)).norm();
    values.select(0, kNorm).copy_(total);
    multiply(gradients, at::where(limit.gt(0), (limit / (total + 1e-6)).clamp_max(1.0), at::ones_like(limit)));
  });
}

ds_status ds_optim_scale(const ds_tensor* parameters, int32_t count, double factor) noexcept {
  return guard("ds_optim_scale", [&] {
    const at::NoGradGuard no_grad;
    each_gradient(parameters, count, [&](int32_t, const at::Tensor&, const at::Tensor& g) { g.mul_(factor); });
  });
}
