#include "fp8/layers.h"

#ifdef DEEPSEEK_CUDA
#include "linear/product.h"
#endif


namespace deepseek {
namespace {

constexpr const char* kName = "deepseek::fp8";

double largest_of(Fp8Format format) { return format == kE4M3 ? 448 : 57344; }

at::Tensor values_of(const Cast& what) {
  const auto all = what.sources.size() == 1 ? what.sources[0] : at::cat(what.sources, -1);
  return what.made == Fp8Made::kGelu ? at::gelu(all, "tanh") : what.made == Fp8Made::kSlope ? at::gelu_backward(all, what.kept, "tanh") : all;
}

at::Tensor decoded(const Codes& x) { return fp8_decoded(x.codes, x.used, x.format, at::kFloat); }

#ifdef DEEPSEEK_CUDA
bool whole(const at::Tensor& x) { return x.is_contiguous() && reinterpret_cast<uintptr_t>(x.data_ptr()) % 16 == 0; }

// In one pass, where the sizes allow it.
bool cast_at_once(const Cast& what, const Scales& scales, Scales::Row row, Fp8Format format, c10::optional<at::ScalarType> sums, Codes& codes, at::Tensor& sum) {
  const auto& first = what.sources[0];
  if (!first.is_cuda() || (what.kept.defined() && !whole(what.kept))) return false;
  Fp8ScaledCastParams p{};
  p.type = element_type(first, kName, "x");
  p.format = format;
  p.made = what.made;
  p.rows = first.size(0);
  p.part = first.size(1);
  p.columns = p.part * static_cast<int64_t>(what.sources.size());
  int next = 0;
  for (const auto& source : what.sources) {
    if (!whole(source)) return false;
    p.source[next++] = source.data_ptr();
  }
  p.kept = data_or_null(what.kept);
  const auto bytes = first.options().dtype(at::kByte), floats = first.options().dtype(at::kFloat);
  codes = {at::empty({p.rows, p.columns}, bytes), at::empty({p.columns, p.rows}, bytes), at::empty({1}, floats), at::empty({1}, floats), format};
  p.codes = codes.codes.data_ptr<uint8_t>();
  p.turned = codes.turned.data_ptr<uint8_t>();
  if (!fp8_scaled_cast_fits(p)) return false;
  const auto partials = (p.rows + 127) / 128;
  const auto partial = sums.has_value() ? at::empty({partials, p.columns}, floats) : at::Tensor();
  p.partial = static_cast<float*>(mutable_data_or_null(partial));
  p.used = codes.used.data_ptr<float>();
  p.inverse = codes.inverse.data_ptr<float>();
  p.steps = static_cast<int>(scales.steps());
  p.history = scales.state.data_ptr<float>() + row * scales.state.size(1);
  p.scale = p.history + p.steps;
  p.before = p.scale + 1;
  p.again = scales.is_repeated(row);
  p.amax = p.scale + 2;
  p.ticket = reinterpret_cast<unsigned*>(p.scale + 3);
  p.largest = static_cast<float>(largest_of(format));
  p.margin = static_cast<int>(scales.margin);
  p.stream = current_stream(first);
  check_launch(fp8_scaled_cast_cuda(p), kName);
  if (sums.has_value()) {
    sum = at::empty({p.columns}, first.options().dtype(*sums));
    check_launch(fp8_join_sums_cuda(p.partial, partials, p.columns, element_type(sum, kName, "the sum"), sum.data_ptr(), p.stream), kName);
  }
  return true;
}

bool multiple(int64_t size) { return size > 0 && size % 16 == 0; }
#endif

}  // namespace

void Scales::check(const at::Tensor& x, const char* op) const {
  TORCH_CHECK(state.dim() == 2 && state.size(0) == 3 && state.size(1) > kExtra && state.scalar_type() == at::kFloat && state.is_contiguous() && state.device() == x.device(), op,
              ": the scales are float32 [3, steps + 4] on ", x.device(), "; given ", state.scalar_type(), " ", state.sizes(), " on ", state.device());
}

std::pair<Codes, at::Tensor> cast(const Cast& what, const Scales& scales, Scales::Row row, c10::optional<at::ScalarType> sums) {
  const auto format = row == Scales::kGradient ? kE5M2 : kE4M3;
  const auto mine = scales.state[row];
  const auto history = mine.narrow(0, 0, scales.steps()), scale = mine.narrow(0, scales.steps(), 1), before = mine.narrow(0, scales.steps() + 1, 1);
  const bool again = scales.is_repeated(row);
  if (scales.is_first(row) && !again) {
    fp8_follow(history, scale, std::get<1>(fp8_encoded(values_of(what), scale, format)), largest_of(format), scales.margin);
  }
  Codes codes;
  at::Tensor sum;
#ifdef DEEPSEEK_CUDA
  if (cast_at_once(what, scales, row, format, sums, codes, sum)) return {codes, sum};
#endif
  const auto values = values_of(what);
  const auto used = again ? before.clone() : scale.clone();
  const auto [plain, amax] = fp8_encoded(values, used, format);
  before.copy_(used);
  if (!again) fp8_follow(history, scale, amax, largest_of(format), scales.margin);
  if (sums.has_value()) sum = values.sum(0, false, at::kFloat).to(*sums);
  return {{plain, plain.t().contiguous(), used, used.reciprocal(), format}, sum};
}

Codes cast_weight(const at::Tensor& weight, const Scales& scales) {
  if (!weight.is_contiguous() && weight.t().is_contiguous()) return cast({{weight.t()}}, scales, Scales::kWeight).first.swapped();
  return cast({{weight.contiguous()}}, scales, Scales::kWeight).first;
}

at::Tensor product(const Codes& a, const Codes& b, const at::Tensor& bias, at::ScalarType type, bool fast, const at::Tensor& like) {
#ifdef DEEPSEEK_CUDA
  const auto m = a.codes.size(0), n = b.codes.size(0);
  if (multiple(m) && multiple(n) && multiple(a.codes.size(1)) && linear::can_multiply_codes(a.codes)) {
    const auto options = a.codes.options().dtype(type);
    linear::Product p;
    p.out = like.defined() ? at::empty_strided(like.sizes(), like.strides(), options) : at::empty({m, n}, options);
    p.a = a.codes;
    p.b = b.codes.t();
    p.a_inverse = a.inverse;
    p.b_inverse = b.inverse;
    p.a_format = a.format;
    p.b_format = b.format;
    p.fast = fast;
    // The product takes a bias of the result's type, and in half precision alone.
    const bool inside = bias.defined() && type != at::kFloat;
    if (inside) {
      p.epilogue = linear::Epilogue::kBias;
      p.vector = bias.to(type);
    }
    linear::multiply(p);
    if (bias.defined() && !inside) p.out.add_(bias);
    return p.out;
  }
#endif
  (void)fast;
  auto y = at::mm(decoded(a), decoded(b).t());
  if (bias.defined()) y.add_(bias);
  y = y.to(type);
  return like.defined() ? at::empty_strided(like.sizes(), like.strides(), y.options()).copy_(y) : y;
}

}  // namespace deepseek
