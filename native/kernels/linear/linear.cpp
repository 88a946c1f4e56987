// deepseek::linear: x·Wᵀ + b; deepseek::gelu_mlp: two of them with GELU (tanh form) between; deepseek::projected_attention: one of
// them that makes queries, keys and values, and attention. On an NVIDIA GPU, in half precision, biases and GELU are added inside the
// products (product.h), and GELU's slope, the three gradients' way into one tensor and the biases' gradients are one pass (gradients.h).
#include "linear/attention.h"
#include "linear/layers.h"

#ifdef DEEPSEEK_CUDA
#include "linear/product.h"
#endif

namespace deepseek {
namespace {

using OptionalTensor = c10::optional<at::Tensor>;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using namespace linear;

constexpr const char* kLinear = "deepseek::linear";
constexpr const char* kMlp = "deepseek::gelu_mlp";
constexpr const char* kAttention = "deepseek::projected_attention";

void refuse_second(const char* op) { TORCH_CHECK(!at::GradMode::is_enabled(), op, ": there is no second derivative"); }

// Stands for a result of these sizes whose value nobody wants: its gradient is the result's.
at::Tensor stand_in(const at::Tensor& x, at::IntArrayRef sizes) { return at::zeros({1}, x.options()).expand(sizes); }

struct Linear : torch::autograd::Function<Linear> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight, const OptionalTensor& bias, bool value) {
    const at::NoGradGuard no_grad;
    const c10::OptionalDeviceGuard device(x.device());
    const auto rows = rows_of(x);
    ctx->save_for_backward({rows, weight});
    ctx->saved_data["sizes"] = x.sizes().vec();
    ctx->saved_data["wanted"] = wanted({x, weight, defined_or_empty(bias)});
    const auto sizes = sizes_with(x, weight.size(0));
    return value ? linear::forward(rows, weight, defined_or_empty(bias)).view(sizes) : stand_in(x, sizes);
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    refuse_second(kLinear);
    const auto saved = ctx->get_saved_variables();
    const c10::OptionalDeviceGuard device(saved[0].device());
    const auto bits = ctx->saved_data["wanted"].toInt();
    const auto dy = rows_of(gradients[0]);
    return {(bits & 1) != 0 ? input_gradient(dy, saved[1]).view(ctx->saved_data["sizes"].toIntVector()) : at::Tensor(), (bits & 2) != 0 ? weight_gradient(dy, saved[0], saved[1]) : at::Tensor(),
            (bits & 4) != 0 ? bias_gradient(dy) : at::Tensor(), at::Tensor()};
  }
};

struct Mlp : torch::autograd::Function<Mlp> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& wide, const OptionalTensor& wide_bias, const at::Tensor& narrow, const OptionalTensor& narrow_bias, bool value) {
    const at::NoGradGuard no_grad;
    const c10::OptionalDeviceGuard device(x.device());
    const auto rows = rows_of(x);
    const auto made = forward_gelu(rows, wide, defined_or_empty(wide_bias));
    ctx->save_for_backward({rows, wide, narrow, made.first, made.second});
    ctx->saved_data["sizes"] = x.sizes().vec();
    ctx->saved_data["wanted"] = wanted({x, wide, defined_or_empty(wide_bias), narrow, defined_or_empty(narrow_bias)});
    const auto sizes = sizes_with(x, narrow.size(0));
    return value ? linear::forward(made.second, narrow, defined_or_empty(narrow_bias)).view(sizes) : stand_in(x, sizes);
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    refuse_second(kMlp);
    const auto saved = ctx->get_saved_variables();
    const auto &x = saved[0], &wide = saved[1], &narrow = saved[2], &kept = saved[3], &hidden = saved[4];
    const c10::OptionalDeviceGuard device(x.device());
    const auto bits = ctx->saved_data["wanted"].toInt();
    const auto dy = rows_of(gradients[0]);
    at::Tensor dx, dwide, dwide_bias, dnarrow, dnarrow_bias;
    if ((bits & 8) != 0) dnarrow = weight_gradient(dy, hidden, narrow);
    if ((bits & 16) != 0) dnarrow_bias = bias_gradient(dy);
    if ((bits & 7) != 0) {
      const auto inner = gelu_gradient(dy, narrow, kept);
      if ((bits & 4) != 0) dwide_bias = inner.second;
      if ((bits & 2) != 0) dwide = weight_gradient(inner.first, x, wide);
      if ((bits & 1) != 0) dx = input_gradient(inner.first, wide).view(ctx->saved_data["sizes"].toIntVector());
    }
    return {dx, dwide, dwide_bias, dnarrow, dnarrow_bias, at::Tensor()};
  }
};

#ifdef DS_CHOOSES_ATTENTION
// What attention made besides its result's layout: the result [N, heads, T, D], its rows' logarithms of sums, and its generator's state.
using Made = std::vector<at::Tensor>;

Made attend(const at::Tensor& joint, int64_t heads, bool causal) {
  const auto p = heads_of(joint, heads);
  const auto made = at::_scaled_dot_product_cudnn_attention(p.q, p.k, p.v, std::nullopt, true, 0.0, causal);
  return {std::get<0>(made), std::get<1>(made), std::get<6>(made), std::get<7>(made)};
}

struct Attention : torch::autograd::Function<Attention> {
  // With `known`, only queries, keys and values are computed.
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight, const OptionalTensor& bias, int64_t heads, bool causal, const Made* known) {
    const at::NoGradGuard no_grad;
    const c10::OptionalDeviceGuard device(x.device());
    const auto rows = rows_of(x);
    const auto joint = linear::forward(rows, weight, defined_or_empty(bias)).view(sizes_with(x, weight.size(0)));
    const auto made = known != nullptr ? *known : attend(joint, heads, causal);
    ctx->save_for_backward({rows, weight, joint, made[0], made[1], made[2], made[3]});
    ctx->saved_data["heads"] = heads;
    ctx->saved_data["causal"] = causal;
    ctx->saved_data["wanted"] = wanted({x, weight, defined_or_empty(bias)});
    return beside(made[0]);
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    refuse_second(kAttention);
    const auto saved = ctx->get_saved_variables();
    const auto &x = saved[0], &weight = saved[1], &joint = saved[2], &y = saved[3];
    const c10::OptionalDeviceGuard device(x.device());
    const auto bits = ctx->saved_data["wanted"].toInt();
    const auto p = heads_of(joint, ctx->saved_data["heads"].toInt());
    const auto n = y.size(0), heads = y.size(1), t = y.size(2), width = y.size(3);
    const auto dy = gradients[0].contiguous().view({n, t, heads, width}).transpose(1, 2);
    const auto [dq, dk, dv] = at::_scaled_dot_product_cudnn_attention_backward(dy, p.q, p.k, p.v, y, saved[4], saved[5], saved[6], {}, {}, {}, t, t, 0.0, ctx->saved_data["causal"].toBool());
    const auto [djoint, dbias] = joined(beside(dq), beside(dk), beside(dv));
    const auto rows = rows_of(djoint);
    return {(bits & 1) != 0 ? input_gradient(rows, weight).view({n, t, weight.size(1)}) : at::Tensor(), (bits & 2) != 0 ? weight_gradient(rows, x, weight) : at::Tensor(),
            (bits & 4) != 0 ? dbias : at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};
#endif

at::Tensor linear_op(const at::Tensor& x, const at::Tensor& weight, const OptionalTensor& bias, bool value) {
  TORCH_CHECK(x.dim() >= 1, kLinear, ": x has no dimension");
  check(x, x.size(-1), weight, defined_or_empty(bias), kLinear);
  return Linear::apply(x, weight, bias, value);
}

at::Tensor gelu_mlp(const at::Tensor& x, const at::Tensor& wide, const OptionalTensor& wide_bias, const at::Tensor& narrow, const OptionalTensor& narrow_bias, bool value) {
  TORCH_CHECK(x.dim() >= 1, kMlp, ": x has no dimension");
  check(x, x.size(-1), wide, defined_or_empty(wide_bias), kMlp);
  check(x, wide.size(0), narrow, defined_or_empty(narrow_bias), kMlp);
  return Mlp::apply(x, wide, wide_bias, narrow, narrow_bias, value);
}

void check_attention(const at::Tensor& x, const at::Tensor& weight, const OptionalTensor& bias, int64_t heads) {
  TORCH_CHECK(x.dim() == 3, kAttention, ": x ", x.sizes(), " is not [N, T, in]");
  check(x, x.size(-1), weight, defined_or_empty(bias), kAttention);
  TORCH_CHECK(heads > 0 && weight.size(0) % (3 * heads) == 0, kAttention, ": the weight's ", weight.size(0), " rows are not queries, keys and values of ", heads, " heads");
}

at::Tensor projected_attention(const at::Tensor& x, const at::Tensor& weight, const OptionalTensor& bias, int64_t heads, bool causal) {
  check_attention(x, weight, bias, heads);
#ifdef DS_CHOOSES_ATTENTION
  if (takes_cudnn(x, x.scalar_type(), weight.size(0), heads, causal)) return Attention::apply(x, weight, bias, heads, causal, static_cast<const Made*>(nullptr));
#endif
  return attention(Linear::apply(x, weight, bias, true), heads, causal);
}

// Unrecorded: the result [N, T, C], and what projected_attention_again wants; empty where attention cannot be given its result.
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> projected_attention_first(const at::Tensor& x, const at::Tensor& weight, const OptionalTensor& bias, int64_t heads, bool causal) {
  const at::NoGradGuard no_grad;
  check_attention(x, weight, bias, heads);
#ifdef DS_CHOOSES_ATTENTION
  if (takes_cudnn(x, x.scalar_type(), weight.size(0), heads, causal)) {
    const c10::OptionalDeviceGuard device(x.device());
    const auto made = attend(linear::forward(rows_of(x), weight, defined_or_empty(bias)).view(sizes_with(x, weight.size(0))), heads, causal);
    return {beside(made[0]), made[0], made[1], made[2], made[3]};
  }
#endif
  const auto none = at::empty({0}, x.options());
  return {attention(Linear::apply(x, weight, bias, true), heads, causal), none, none, none, none};
}

at::Tensor projected_attention_again(const at::Tensor& x, const at::Tensor& weight, const OptionalTensor& bias, int64_t heads, bool causal, const at::Tensor& result, const at::Tensor& sums, const at::Tensor& seed,
                                     const at::Tensor& offset) {
  if (result.numel() == 0) return projected_attention(x, weight, bias, heads, causal);
#ifdef DS_CHOOSES_ATTENTION
  check_attention(x, weight, bias, heads);
  TORCH_CHECK(result.dim() == 4 && result.size(0) == x.size(0) && result.size(1) == heads && result.size(2) == x.size(1) && result.size(3) * 3 * heads == weight.size(0), kAttention, ": the result ", result.sizes(),
              " is not that of x ", x.sizes());
  const Made known{result, sums, seed, offset};
  return Attention::apply(x, weight, bias, heads, causal, &known);
#else
  (void)sums, (void)seed, (void)offset;
  TORCH_CHECK(false, kAttention, ": this libtorch's attention cannot be given its result");
#endif
}

// Returns the former setting.
bool tune(bool on) {
#ifdef DEEPSEEK_CUDA
  return tune_products(on);
#else
  (void)on;
  return false;
#endif
}

}  // namespace
}  // namespace deepseek

TORCH_LIBRARY_FRAGMENT(deepseek, m) {
  m.def("linear(Tensor x, Tensor weight, Tensor? bias, bool value=True) -> Tensor");
  m.def("gelu_mlp(Tensor x, Tensor wide, Tensor? wide_bias, Tensor narrow, Tensor? narrow_bias, bool value=True) -> Tensor");
  m.def("projected_attention(Tensor x, Tensor weight, Tensor? bias, int heads, bool causal) -> Tensor");
  m.def("projected_attention_first(Tensor x, Tensor weight, Tensor? bias, int heads, bool causal) -> (Tensor y, Tensor result, Tensor sums, Tensor seed, Tensor offset)");
  m.def("projected_attention_again(Tensor x, Tensor weight, Tensor? bias, int heads, bool causal, Tensor result, Tensor sums, Tensor seed, Tensor offset) -> Tensor");
  m.def("tune_products(bool on) -> bool", deepseek::tune);
}
TORCH_LIBRARY_IMPL(deepseek, CompositeImplicitAutograd, m) {
  m.impl("linear", deepseek::linear_op);
  m.impl("gelu_mlp", deepseek::gelu_mlp);
  m.impl("projected_attention", deepseek::projected_attention);
  m.impl("projected_attention_first", deepseek::projected_attention_first);
  m.impl("projected_attention_again", deepseek::projected_attention_again);
}
