// The layers of linear/linear.cpp with all products in eight-bit floats: weights and activations in E4M3, gradients in E5M2
// (Micikevicius et al., arXiv 2209.05433, section 3). Whatever lies between two products of such a chain is part of a cast that has to
// be made anyhow: GELU, its slope, the gradients of queries, keys and values coming together, and the sums for the biases' gradients.
// For the backward pass the turned codes are kept, a byte a number.
#include "fp8/layers.h"
#include "linear/attention.h"
#include "linear/layers.h"

namespace deepseek {
namespace {

using OptionalTensor = c10::optional<at::Tensor>;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using linear::beside;
using linear::rows_of;
using linear::sizes_with;

constexpr const char* kLinear = "deepseek::fp8_linear";
constexpr const char* kMlp = "deepseek::fp8_gelu_mlp";
constexpr const char* kAttention = "deepseek::fp8_projected_attention";

void refuse_second(const char* op) { TORCH_CHECK(!at::GradMode::is_enabled(), op, ": there is no second derivative"); }

// What of a layer's forward pass its backward pass needs: six tensors and some facts under a prefix.
struct Kept {
  Codes input, weight;  // turned: [in, rows], [in, out]
  at::Tensor like;      // the weight, for its layout and type
  c10::optional<at::ScalarType> bias;
  Scales scales;
};

void keep(AutogradContext* ctx, variable_list& tensors, const std::string& prefix, const Codes& input, const Codes& weight, const at::Tensor& like, const at::Tensor& bias, const Scales& scales) {
  for (const auto& tensor : {input.turned, input.used, input.inverse, weight.turned, weight.used, weight.inverse, like}) tensors.push_back(tensor);
  // Not a saved variable: later forward passes change it.
  ctx->saved_data[prefix + "state"] = scales.state;
  ctx->saved_data[prefix + "margin"] = scales.margin;
  ctx->saved_data[prefix + "flags"] = scales.flags;
  ctx->saved_data[prefix + "bias"] = bias.defined() ? static_cast<int64_t>(bias.scalar_type()) : int64_t{-1};
}

Kept take(AutogradContext* ctx, const variable_list& saved, size_t first, const std::string& prefix) {
  const auto at = [&](size_t i) { return saved[first + i]; };
  const auto bias = ctx->saved_data[prefix + "bias"].toInt();
  return {{at(0), {}, at(1), at(2), kE4M3},
          {at(3), {}, at(4), at(5), kE4M3},
          at(6),
          bias < 0 ? c10::nullopt : c10::optional<at::ScalarType>(static_cast<at::ScalarType>(bias)),
          {ctx->saved_data[prefix + "state"].toTensor(), ctx->saved_data[prefix + "margin"].toInt(), ctx->saved_data[prefix + "flags"].toInt()}};
}

constexpr size_t kKept = 7;

struct Gradients {
  at::Tensor input, weight, bias;
};

// From a gradient that is cast on the way; the bits tell which are wanted of input (1), weight (2) and bias (4).
Gradients back(const Cast& dy, const Kept& kept, int64_t bits, at::ScalarType type) {
  const bool sums = (bits & 4) != 0 && kept.bias.has_value();
  const auto [g, sum] = cast(dy, kept.scales, Scales::kGradient, sums ? kept.bias : c10::nullopt);
  return {(bits & 1) != 0 ? product(g, kept.weight, {}, type, false) : at::Tensor(), (bits & 2) != 0 ? product(g.swapped(), kept.input, {}, kept.like.scalar_type(), false, kept.like) : at::Tensor(), sum};
}

at::ScalarType type_of(const at::Tensor& x, c10::optional<at::ScalarType> type) { return type.has_value() ? *type : x.scalar_type(); }

struct Eight : torch::autograd::Function<Eight> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight, const OptionalTensor& bias, const Scales& scales, at::ScalarType type) {
    const at::NoGradGuard no_grad;
    const c10::OptionalDeviceGuard device(x.device());
    const auto a = cast({{rows_of(x)}}, scales, Scales::kInput).first;
    const auto w = cast_weight(weight, scales);
    variable_list tensors;
    keep(ctx, tensors, "", a, w, weight, defined_or_empty(bias), scales);
    ctx->save_for_backward(tensors);
    ctx->saved_data["sizes"] = x.sizes().vec();
    ctx->saved_data["type"] = static_cast<int64_t>(x.scalar_type());
    ctx->saved_data["wanted"] = linear::wanted({x, weight, defined_or_empty(bias)});
    return product(a, w, defined_or_empty(bias), type, true).view(sizes_with(x, weight.size(0)));
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    refuse_second(kLinear);
    const auto kept = take(ctx, ctx->get_saved_variables(), 0, "");
    const c10::OptionalDeviceGuard device(kept.like.device());
    const auto made = back({{rows_of(gradients[0])}}, kept, ctx->saved_data["wanted"].toInt(), static_cast<at::ScalarType>(ctx->saved_data["type"].toInt()));
    return {made.input.defined() ? made.input.view(ctx->saved_data["sizes"].toIntVector()) : at::Tensor(), made.weight, made.bias, at::Tensor(), at::Tensor()};
  }
};

struct EightMlp : torch::autograd::Function<EightMlp> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& wide, const OptionalTensor& wide_bias, const Scales& wide_scales, const at::Tensor& narrow,
                            const OptionalTensor& narrow_bias, const Scales& narrow_scales, at::ScalarType type) {
    const at::NoGradGuard no_grad;
    const c10::OptionalDeviceGuard device(x.device());
    const auto a = cast({{rows_of(x)}}, wide_scales, Scales::kInput).first;
    const auto w = cast_weight(wide, wide_scales);
    const auto inner = product(a, w, defined_or_empty(wide_bias), type, true);
    const auto h = cast({{inner}, Fp8Made::kGelu}, narrow_scales, Scales::kInput).first;
    const auto v = cast_weight(narrow, narrow_scales);
    variable_list tensors;
    keep(ctx, tensors, "wide_", a, w, wide, defined_or_empty(wide_bias), wide_scales);
    keep(ctx, tensors, "narrow_", h, v, narrow, defined_or_empty(narrow_bias), narrow_scales);
    tensors.push_back(inner);
    ctx->save_for_backward(tensors);
    ctx->saved_data["sizes"] = x.sizes().vec();
    ctx->saved_data["type"] = static_cast<int64_t>(x.scalar_type());
    ctx->saved_data["wanted"] = linear::wanted({x, wide, defined_or_empty(wide_bias), narrow, defined_or_empty(narrow_bias)});
    return product(h, v, defined_or_empty(narrow_bias), type, true).view(sizes_with(x, narrow.size(0)));
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    refuse_second(kMlp);
    const auto saved = ctx->get_saved_variables();
    const auto wide = take(ctx, saved, 0, "wide_"), narrow = take(ctx, saved, kKept, "narrow_");
    const auto& inner = saved[2 * kKept];
    const c10::OptionalDeviceGuard device(inner.device());
    const auto bits = ctx->saved_data["wanted"].toInt();
    const auto outer = back({{rows_of(gradients[0])}}, narrow, ((bits >> 3) & 3) << 1 | ((bits & 7) != 0 ? 1 : 0), inner.scalar_type());
    Gradients made;
    if ((bits & 7) != 0) made = back({{outer.input}, Fp8Made::kSlope, inner}, wide, bits & 7, static_cast<at::ScalarType>(ctx->saved_data["type"].toInt()));
    return {made.input.defined() ? made.input.view(ctx->saved_data["sizes"].toIntVector()) : at::Tensor(), made.weight, made.bias, at::Tensor(), outer.weight, outer.bias, at::Tensor(), at::Tensor()};
  }
};

#ifdef DS_CHOOSES_ATTENTION
struct EightAttention : torch::autograd::Function<EightAttention> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight, const OptionalTensor& bias, const Scales& scales, int64_t heads, bool causal, at::ScalarType type) {
    const at::NoGradGuard no_grad;
    const c10::OptionalDeviceGuard device(x.device());
    const auto a = cast({{rows_of(x)}}, scales, Scales::kInput).first;
    const auto w = cast_weight(weight, scales);
    const auto joint = product(a, w, defined_or_empty(bias), type, true).view(sizes_with(x, weight.size(0)));
    const auto p = linear::heads_of(joint, heads);
    const auto made = at::_scaled_dot_product_cudnn_attention(p.q, p.k, p.v, std::nullopt, true, 0.0, causal);
    variable_list tensors;
    keep(ctx, tensors, "", a, w, weight, defined_or_empty(bias), scales);
    for (const auto& tensor : {joint, std::get<0>(made), std::get<1>(made), std::get<6>(made), std::get<7>(made)}) tensors.push_back(tensor);
    ctx->save_for_backward(tensors);
    ctx->saved_data["type"] = static_cast<int64_t>(x.scalar_type());
    ctx->saved_data["heads"] = heads;
    ctx->saved_data["causal"] = causal;
    ctx->saved_data["wanted"] = linear::wanted({x, weight, defined_or_empty(bias)});
    return beside(std::get<0>(made));
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    refuse_second(kAttention);
    const auto saved = ctx->get_saved_variables();
    const auto kept = take(ctx, saved, 0, "");
    const auto *more = &saved[kKept], &y = saved[kKept + 1];
    const c10::OptionalDeviceGuard device(y.device());
    const auto p = linear::heads_of(more[0], ctx->saved_data["heads"].toInt());
    const auto n = y.size(0), heads = y.size(1), t = y.size(2), width = y.size(3);
    const auto dy = gradients[0].contiguous().view({n, t, heads, width}).transpose(1, 2);
    const auto [dq, dk, dv] = at::_scaled_dot_product_cudnn_attention_backward(dy, p.q, p.k, p.v, y, more[2], more[3], more[4], {}, {}, {}, t, t, 0.0, ctx->saved_data["causal"].toBool());
    const auto made = back({{rows_of(beside(dq)), rows_of(beside(dk)), rows_of(beside(dv))}}, kept, ctx->saved_data["wanted"].toInt(), static_cast<at::ScalarType>(ctx->saved_data["type"].toInt()));
    return {made.input.defined() ? made.input.view({n, t, made.input.size(1)}) : at::Tensor(), made.weight, made.bias, at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};
#endif

// A weight may be of another type than x (float32 beside half precision): both are cast to codes.
void check(const at::Tensor& x, int64_t columns, const at::Tensor& weight, const at::Tensor& bias, const Scales& scales, const char* op) {
  TORCH_CHECK(x.dim() >= 1 && x.numel() > 0, op, ": x ", x.sizes(), " is empty");
  TORCH_CHECK(weight.dim() == 2 && weight.size(1) == columns && weight.device() == x.device(), op, ": the weight ", weight.sizes(), " on ", weight.device(), " is not [out, ", columns, "] on ", x.device());
  TORCH_CHECK(!bias.defined() || (bias.dim() == 1 && bias.size(0) == weight.size(0) && bias.device() == x.device()), op, ": the bias is not [", weight.size(0), "] on ", x.device());
  scales.check(x, op);
}

at::Tensor fp8_linear(const at::Tensor& x, const at::Tensor& weight, const OptionalTensor& bias, const at::Tensor& state, int64_t margin, int64_t flags, c10::optional<at::ScalarType> type) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const Scales scales{state, margin, flags};
  check(x, x.dim() > 0 ? x.size(-1) : 0, weight, defined_or_empty(bias), scales, kLinear);
  return Eight::apply(x, weight, bias, scales, type_of(x, type));
}

at::Tensor fp8_gelu_mlp(const at::Tensor& x, const at::Tensor& wide, const OptionalTensor& wide_bias, const at::Tensor& wide_state, const at::Tensor& narrow, const OptionalTensor& narrow_bias,
                        const at::Tensor& narrow_state, int64_t margin, int64_t flags, c10::optional<at::ScalarType> type) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const Scales outer{wide_state, margin, flags & ((1 << Scales::kFlags) - 1)}, inner{narrow_state, margin, flags >> Scales::kFlags};
  check(x, x.dim() > 0 ? x.size(-1) : 0, wide, defined_or_empty(wide_bias), outer, kMlp);
  check(x, wide.size(0), narrow, defined_or_empty(narrow_bias), inner, kMlp);
  return EightMlp::apply(x, wide, wide_bias, outer, narrow, narrow_bias, inner, type_of(x, type));
}

at::Tensor fp8_projected_attention(const at::Tensor& x, const at::Tensor& weight, const OptionalTensor& bias, const at::Tensor& state, int64_t margin, int64_t flags, int64_t heads, bool causal,
                                   c10::optional<at::ScalarType> type) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const Scales scales{state, margin, flags};
  TORCH_CHECK(x.dim() == 3, kAttention, ": x ", x.sizes(), " is not [N, T, in]");
  check(x, x.size(-1), weight, defined_or_empty(bias), scales, kAttention);
  TORCH_CHECK(heads > 0 && weight.size(0) % (3 * heads) == 0, kAttention, ": the weight's ", weight.size(0), " rows are not queries, keys and values of ", heads, " heads");
  const auto made = type_of(x, type);
#ifdef DS_CHOOSES_ATTENTION
  if (linear::takes_cudnn(x, made, weight.size(0), heads, causal)) return EightAttention::apply(x, weight, bias, scales, heads, causal, made);
#endif
  return linear::attention(Eight::apply(x, weight, bias, scales, made), heads, causal);
}

}  // namespace
}  // namespace deepseek

TORCH_LIBRARY_FRAGMENT(deepseek, m) {
  m.def("fp8_linear(Tensor x, Tensor weight, Tensor? bias, Tensor(a!) state, int margin, int flags, ScalarType? dtype) -> Tensor");
  m.def("fp8_gelu_mlp(Tensor x, Tensor wide, Tensor? wide_bias, Tensor(a!) wide_state, Tensor narrow, Tensor? narrow_bias, Tensor(b!) narrow_state, int margin, int flags, ScalarType? dtype) -> Tensor");
  m.def("fp8_projected_attention(Tensor x, Tensor weight, Tensor? bias, Tensor(a!) state, int margin, int flags, int heads, bool causal, ScalarType? dtype) -> Tensor");
}
TORCH_LIBRARY_IMPL(deepseek, CompositeImplicitAutograd, m) {
  m.impl("fp8_linear", deepseek::fp8_linear);
  m.impl("fp8_gelu_mlp", deepseek::fp8_gelu_mlp);
  m.impl("fp8_projected_attention", deepseek::fp8_projected_attention);
}
