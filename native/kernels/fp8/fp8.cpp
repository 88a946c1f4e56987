#include "fp8/layers.h"

#include <algorithm>

namespace deepseek {
namespace {

constexpr const char* kName = "deepseek::fp8";

void check_format(int64_t format) { TORCH_CHECK(format == kE4M3 || format == kE5M2, kName, ": format ", format, " is neither 0 (E4M3) nor 1 (E5M2)"); }

void check_scale(const at::Tensor& scale, const at::Tensor& beside) {
  TORCH_CHECK(scale.numel() == 1 && scale.scalar_type() == at::kFloat && scale.device() == beside.device(), kName, ": the scale is one float32 on ", beside.device(), "; given ", scale.scalar_type(), " ",
              scale.sizes(), " on ", scale.device());
}

void check_history(const at::Tensor& history, const at::Tensor& scale) {
  TORCH_CHECK(history.dim() == 1 && history.numel() >= 1 && history.scalar_type() == at::kFloat && history.is_contiguous(), kName, ": the history is float32 [steps]; given ", history.scalar_type(), " ",
              history.sizes());
  check_scale(scale, history);
}

}  // namespace

std::tuple<at::Tensor, at::Tensor> fp8_encoded(const at::Tensor& given, const at::Tensor& scale, int64_t format) {
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

at::Tensor fp8_decoded(const at::Tensor& given, const at::Tensor& scale, int64_t format, at::ScalarType dtype) {
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

void fp8_follow(const at::Tensor& history, const at::Tensor& scale, const at::Tensor& amax, double largest, int64_t margin) {
  check_history(history, scale);
  check_scale(amax, history);
  const c10::OptionalDeviceGuard device(history.device());
  const Fp8RescaleParams p{history.data_ptr<float>(), static_cast<int>(history.numel()), scale.data_ptr<float>(), amax.data_ptr<float>(), static_cast<float>(largest), static_cast<int>(margin), current_stream(history)};
#ifdef DEEPSEEK_CUDA
  if (history.is_cuda()) {
    check_launch(fp8_rescale_cuda(p), kName);
    return;
  }
#endif
  std::copy(p.history + 1, p.history + p.steps, p.history);
  p.history[p.steps - 1] = *p.amax;
  const float most = *std::max_element(p.history, p.history + p.steps);
  if (most > 0) *p.scale = fp8_scale(most, p.largest, p.margin);
}

namespace {

// Codes [rows, columns], the same turned [columns, rows], and the scale they were made under with its inverse, float32 [1] each.
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> scaled_cast(const at::Tensor& given, const at::Tensor& history, const at::Tensor& scale, int64_t format, double largest, int64_t margin) {
  check_device(given, kName);
  check_format(format);
  check_history(history, scale);
  check_scale(scale, given);
  TORCH_CHECK(given.dim() == 2, kName, ": a matrix is cast, not ", given.sizes());
  // A turned view is cast as it lies.
  if (!given.is_contiguous() && given.t().is_contiguous()) {
    auto [codes, turned, used, inverse] = scaled_cast(given.t(), history, scale, format, largest, margin);
    return {turned, codes, used, inverse};
  }
#ifdef DEEPSEEK_CUDA
  if (given.is_cuda()) {
    const c10::OptionalDeviceGuard device(given.device());
    const auto x = given.contiguous();
    const auto bytes = x.options().dtype(at::kByte), floats = x.options().dtype(at::kFloat);
    Fp8ScaledCastParams p{};
    p.type = element_type(x, kName, "x");
    p.format = static_cast<int>(format);
    p.rows = x.size(0);
    p.columns = x.size(1);
    p.part = p.columns;
    p.source[0] = x.data_ptr();
    auto codes = at::empty(x.sizes(), bytes), turned = at::empty({p.columns, p.rows}, bytes);
    p.codes = codes.data_ptr<uint8_t>();
    p.turned = turned.data_ptr<uint8_t>();
    if (fp8_scaled_cast_fits(p)) {
      auto used = at::empty({1}, floats), inverse = at::empty({1}, floats), work = at::zeros({2}, floats);
      p.used = used.data_ptr<float>();
      p.inverse = inverse.data_ptr<float>();
      p.amax = work.data_ptr<float>();
      p.ticket = reinterpret_cast<unsigned*>(p.amax + 1);
      p.history = history.data_ptr<float>();
      p.steps = static_cast<int>(history.numel());
      p.scale = scale.data_ptr<float>();
      p.largest = static_cast<float>(largest);
      p.margin = static_cast<int>(margin);
      p.stream = current_stream(x);
      check_launch(fp8_scaled_cast_cuda(p), kName);
      return {codes, turned, used, inverse};
    }
  }
#endif
  auto used = scale.clone();
  auto [codes, amax] = fp8_encoded(given, used, format);
  fp8_follow(history, scale, amax, largest, margin);
  return {codes, codes.t().contiguous(), used, used.reciprocal()};
}

// [3 + 2·formats]: largest finite magnitude, finite non-zero elements, elements that are not finite; then for each format the
// non-zero elements below its floor and those above its ceiling.
at::Tensor range(const at::Tensor& given, at::ArrayRef<double> floors, at::ArrayRef<double> ceilings) {
  TORCH_CHECK(floors.size() == ceilings.size() && floors.size() <= kMostFormats, kName, ": give at most ", kMostFormats, " floors and as many ceilings");
  const auto formats = static_cast<int64_t>(floors.size());
  check_device(given, kName);
  const c10::OptionalDeviceGuard device(given.device());
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
#ifdef DEEPSEEK_CUDA
  if (x.is_cuda()) {
    auto result = at::zeros({3 + 2 * formats}, x.options().dtype(at::kDouble));
    auto work = at::zeros({3 + 2 * kMostFormats}, x.options().dtype(at::kLong));
    if (p.elements > 0) check_launch(fp8_range_cuda(p, result.data_ptr<double>(), reinterpret_cast<unsigned long long*>(work.data_ptr<int64_t>()), current_stream(x)), kName);
    return result;
  }
#endif
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
  m.def("fp8_encode(Tensor x, Tensor scale, int format) -> (Tensor codes, Tensor amax)", deepseek::fp8_encoded);
  m.def("fp8_decode(Tensor codes, Tensor scale, int format, ScalarType dtype) -> Tensor", deepseek::fp8_decoded);
  m.def("fp8_rescale_(Tensor(a!) history, Tensor(b!) scale, Tensor amax, float largest, int margin) -> ()", deepseek::fp8_follow);
  m.def("fp8_scaled_cast(Tensor x, Tensor(a!) history, Tensor(b!) scale, int format, float largest, int margin) -> (Tensor codes, Tensor turned, Tensor used, Tensor inverse)", deepseek::scaled_cast);
  m.def("fp8_range(Tensor x, float[] floors, float[] ceilings) -> Tensor", deepseek::range);
}
