#include "fp8/fp8.h"

#include "common/operator.h"

#include <cmath>
#include <limits>

namespace deepseek {
namespace {

constexpr const char* kName = "deepseek::fp8";

void check_format(int64_t format) { TORCH_CHECK(format == kE4M3 || format == kE5M2, kName, ": format ", format, " is neither 0 (E4M3) nor 1 (E5M2)"); }

void check_scale(const at::Tensor& scale, const at::Tensor& beside) {
  TORCH_CHECK(scale.numel() == 1 && scale.scalar_type() == at::kFloat && scale.device() == beside.device(), kName, ": the scale is one float32 on ", beside.device(), "; given ", scale.scalar_type(), " ",
              scale.sizes(), " on ", scale.device());
}

std::tuple<at::Tensor, at::Tensor> encode(const at::Tensor& given, const at::Tensor& scale, int64_t format) {
  check_device(given, kName);
  check_format(format);
  check_scale(scale, given);
  const c10::OptionalDeviceGuard device(given.device());
  const auto x = given.contiguous();
  auto codes = at::empty(x.sizes(), x.options().dtype(at::kByte));
  auto amax = at::zeros({1}, x.options().dtype(at::kFloat));
  Fp8CastParams p{element_type(x, kName, "x"), static_cast<int>(format), x.numel(), x.data_ptr(), nullptr, codes.data_ptr<uint8_t>(), scale.data_ptr<float>(), amax.data_ptr<float>(), current_stream(x)};
  if (p.elements == 0) return {codes, amax};
#ifdef DEEPSEEK_CUDA
  if (x.is_cuda()) {
    check_launch(fp8_encode_cuda(p), kName);
    return {codes, amax};
  }
#endif
  DS_CPU(fp8_encode_all)(p);
  return {codes, amax};
}

at::Tensor decode(const at::Tensor& given, const at::Tensor& scale, int64_t format, at::ScalarType dtype) {
  check_device(given, kName);
  check_format(format);
  check_scale(scale, given);
  TORCH_CHECK(given.scalar_type() == at::kByte, kName, ": codes are uint8; given ", given.scalar_type());
  const c10::OptionalDeviceGuard device(given.device());
  const auto codes = given.contiguous();
  auto y = at::empty(codes.sizes(), codes.options().dtype(dtype));
  Fp8CastParams p{element_type(y, kName, "the result"), static_cast<int>(format), y.numel(), nullptr, y.data_ptr(), codes.data_ptr<uint8_t>(), scale.data_ptr<float>(), nullptr, current_stream(y)};
  if (p.elements == 0) return y;
#ifdef DEEPSEEK_CUDA
  if (y.is_cuda()) {
    check_launch(fp8_decode_cuda(p), kName);
    return y;
  }
#endif
  DS_CPU(fp8_decode_all)(p);
  return y;
}

// Forgets the oldest of the history's maxima for `amax` and sets the scale to the largest power of two that keeps the history's
// largest below `largest` / 2^margin; a history of zeros leaves the scale alone.
void rescale(const at::Tensor& history, const at::Tensor& scale, const at::Tensor& amax, double largest, int64_t margin) {
  TORCH_CHECK(history.dim() == 1 && history.numel() >= 1 && history.scalar_type() == at::kFloat, kName, ": the history is float32 [steps]; given ", history.scalar_type(), " ", history.sizes());
  check_scale(scale, history);
  check_scale(amax, history);
  const auto renewed = history.numel() > 1 ? at::cat({history.slice(0, 1), amax.reshape({1})}) : amax.reshape({1}).clone();
  history.copy_(renewed);
  const auto most = history.max();
  const auto power = at::exp2(at::floor(at::log2(at::full_like(most, largest) / most)) - static_cast<double>(margin));
  // Far from the ends of float32, so that the inverse is exact too.
  scale.copy_(at::where(most > 0, power.clamp(std::ldexp(1.0, -100), std::ldexp(1.0, 100)), scale.reshape({})).reshape(scale.sizes()));
}

// [3 + 2·formats]: largest finite magnitude, finite non-zero elements, elements that are not finite; then for each format the
// non-zero elements below its floor and those above its ceiling.
at::Tensor range(const at::Tensor& given, at::ArrayRef<double> floors, at::ArrayRef<double> ceilings) {
  TORCH_CHECK(floors.size() == ceilings.size() && floors.size() <= kMostFormats, kName, ": give at most ", kMostFormats, " floors and as many ceilings");
  const auto formats = static_cast<int64_t>(floors.size());
  if (!given.is_cpu()) {
    const c10::OptionalDeviceGuard device(given.device());
    const auto all = given.to(at::kFloat).abs().flatten();
    const auto finite = at::isfinite(all);
    const auto x = at::where(finite, all, at::zeros_like(all));
    std::vector<at::Tensor> parts{x.numel() > 0 ? x.max() : x.sum(), x.gt(0).sum().to(at::kFloat), finite.logical_not().sum().to(at::kFloat)};
    for (int64_t f = 0; f < formats; f++) {
      parts.push_back(x.gt(0).logical_and(x.lt(floors[f])).sum().to(at::kFloat));
      parts.push_back(x.gt(ceilings[f]).sum().to(at::kFloat));
    }
    return at::stack(parts).to(at::kDouble);
  }
  const auto x = given.contiguous();
  Fp8RangeParams p{};
  p.type = element_type(x, kName, "x");
  p.formats = static_cast<int>(formats);
  p.elements = x.numel();
  p.x = x.data_ptr();
  for (int64_t f = 0; f < formats; f++) {
    p.floor[f] = static_cast<float>(floors[f]);
    p.ceiling[f] = static_cast<float>(ceilings[f]);
  }
  if (p.elements > 0) DS_CPU(fp8_range)(p);
  auto result = at::empty({3 + 2 * formats}, at::kDouble);
  auto* out = result.data_ptr<double>();
  out[0] = p.amax;
  out[1] = p.nonzero;
  out[2] = p.broken;
  for (int64_t f = 0; f < formats; f++) {
    out[3 + 2 * f] = p.below[f];
    out[4 + 2 * f] = p.above[f];
  }
  return result;
}

}  // namespace
}  // namespace deepseek

TORCH_LIBRARY_FRAGMENT(deepseek, m) {
  m.def("fp8_encode(Tensor x, Tensor scale, int format) -> (Tensor codes, Tensor amax)", deepseek::encode);
  m.def("fp8_decode(Tensor codes, Tensor scale, int format, ScalarType dtype) -> Tensor", deepseek::decode);
  m.def("fp8_rescale_(Tensor(a!) history, Tensor(b!) scale, Tensor amax, float largest, int margin) -> ()", deepseek::rescale);
  m.def("fp8_range(Tensor x, float[] floors, float[] ceilings) -> Tensor", deepseek::range);
}
