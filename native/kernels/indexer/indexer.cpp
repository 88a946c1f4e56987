// Registration of deepseek::indexer_logits, deepseek::indexer_select and deepseek::quantize_rows.
#include "indexer/indexer.h"

#include "common/choice.h"
#include "common/operator.h"
#include "indexer/reference.h"
#include "topk/topk.h"

#include <limits>

namespace deepseek {
namespace {

struct Inputs {
  at::Tensor q, k, weights;  // contiguous; k may have any strides but the last
  at::Tensor k_scales, lengths;
  bool causal;
};

void check_scales(const at::Tensor& scales, const at::Tensor& x, const char* op, const char* name) {
  if (x.scalar_type() != at::kByte) {
    TORCH_CHECK(!scales.defined(), op, ": ", name, " has scales, but is ", x.scalar_type(), "; only uint8 (bits of FP8 E4M3) has them");
    return;
  }
  TORCH_CHECK(scales.defined(), op, ": ", name, " is uint8 (bits of FP8 E4M3) and needs a scale for each row");
  TORCH_CHECK(scales.scalar_type() == at::kFloat && scales.sizes() == x.sizes().slice(0, x.dim() - 1) && scales.device() == x.device(), op, ": the scales of ", name, " are ",
              scales.scalar_type(), " ", scales.sizes(), "; float32 ", x.sizes().slice(0, x.dim() - 1), " on the device of ", name, " is needed");
}

Inputs inputs(const at::Tensor& q, const at::Tensor& k, const at::Tensor& weights, bool causal, const c10::optional<at::Tensor>& q_scales_, const c10::optional<at::Tensor>& k_scales_,
              const c10::optional<at::Tensor>& lengths_, const char* op) {
  check_device(q, op);
  TORCH_CHECK(q.dim() == 4 && k.dim() == 3 && q.size(0) == k.size(0) && q.size(3) == k.size(2), op, ": q ", q.sizes(), " and k ", k.sizes(),
              " are not [batch, queries, heads, dim] and [batch, keys, dim]");
  TORCH_CHECK(weights.sizes() == q.sizes().slice(0, 3), op, ": weights ", weights.sizes(), " are not [batch, queries, heads] of q ", q.sizes());
  TORCH_CHECK(q.scalar_type() == k.scalar_type(), op, ": q is ", q.scalar_type(), ", k is ", k.scalar_type());
  TORCH_CHECK(q.device() == k.device() && q.device() == weights.device(), op, ": q, k and weights are on different devices");
  TORCH_CHECK(k.size(1) < (int64_t{1} << 31), op, ": there are ", k.size(1), " keys; fewer than 2^31 are needed");
  const auto &q_scales = defined_or_empty(q_scales_), &k_scales = defined_or_empty(k_scales_), &lengths = defined_or_empty(lengths_);
  check_scales(q_scales, q, op, "q");
  check_scales(k_scales, k, op, "k");
  TORCH_CHECK(!lengths.defined() || (lengths.scalar_type() == at::kInt && lengths.dim() == 1 && lengths.size(0) == q.size(0) && lengths.device() == q.device()), op,
              ": lengths must be int32 [batch] on the device of q");
  auto w = weights.to(q.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
  if (q_scales.defined()) w = w * q_scales;
  return {q.contiguous(), k.size(2) <= 1 || k.stride(2) == 1 ? k : k.contiguous(), w.contiguous(),
          !k_scales.defined() || k_scales.size(1) <= 1 || k_scales.stride(1) == 1 ? k_scales : k_scales.contiguous(), lengths.defined() ? lengths.contiguous() : lengths, causal};
}

IndexerParams parameters(const Inputs& in, const char* op) {
  IndexerParams p;
  p.q = in.q.data_ptr();
  p.k = in.k.data_ptr();
  p.k_batch_stride = in.k.stride(0), p.k_row_stride = in.k.stride(1);
  if (in.k_scales.defined()) p.k_scale = in.k_scales.data_ptr<float>(), p.k_scale_stride = in.k_scales.stride(0);
  p.weights = in.weights.data_ptr<float>();
  if (in.lengths.defined()) p.lengths = in.lengths.data_ptr<int32_t>();
  p.batch = in.q.size(0), p.queries = in.q.size(1), p.heads = in.q.size(2), p.dim = in.q.size(3), p.keys = in.k.size(1);
  p.causal = in.causal;
  p.type = in.q.scalar_type() == at::kByte ? kE4m3 : element_type(in.q, op, "q");
  p.stream = current_stream(in.q);
  TORCH_CHECK(p.heads > 0 && p.dim > 0, op, ": q ", in.q.sizes(), " has no heads or no elements in a row");
  return p;
}

#ifdef DEEPSEEK_CUDA
int logits_cuda(const IndexerParams& p, int64_t first, int64_t count) {
  return hopper_wanted() && indexer_logits_hopper_takes(p) ? indexer_logits_hopper(p, first, count) : indexer_logits_cuda(p, first, count);
}
#endif

at::Tensor logits(const at::Tensor& q, const at::Tensor& k, const at::Tensor& weights, bool causal, const c10::optional<at::Tensor>& q_scales,
                  const c10::optional<at::Tensor>& k_scales, const c10::optional<at::Tensor>& lengths) {
  constexpr const char* kOp = "deepseek::indexer_logits";
  const auto in = inputs(q, k, weights, causal, q_scales, k_scales, lengths, kOp);
  if (q.scalar_type() == at::kDouble) {
    return indexer_logits_reference(in.q, in.k, in.weights).masked_fill(indexer_seen_pairs(k, q.size(1), causal, in.lengths).logical_not(), -std::numeric_limits<double>::infinity());
  }
  const c10::OptionalDeviceGuard device(q.device());
  auto result = at::empty({q.size(0), q.size(1), k.size(1)}, in.weights.options());
  if (result.numel() == 0) return result;
  auto p = parameters(in, kOp);
  p.logits = result.data_ptr<float>();
#ifdef DEEPSEEK_CUDA
  if (q.is_cuda()) {
    check_launch(logits_cuda(p, 0, p.queries), kOp);
    return result;
  }
#endif
  DS_CPU(indexer)(p);
  return result;
}

#ifdef DEEPSEEK_CUDA
// Logits of some queries at a time, at most 128 M of them.
void select_cuda(IndexerParams p, const at::TensorOptions& floats, const char* op) {
  TORCH_CHECK(std::min(p.select, p.keys) <= kTopkCudaMaximum, op, ": a list has ", p.select, " entries; on CUDA at most ", kTopkCudaMaximum);
  const int64_t chunk = std::clamp<int64_t>((int64_t{1} << 27) / (p.batch * p.keys), 1, p.queries);
  const auto logits = at::empty({p.batch * chunk * p.keys}, floats);
  p.logits = logits.data_ptr<float>();
  for (int64_t first = 0; first < p.queries; first += chunk) {
    const auto here = std::min(chunk, p.queries - first);
    check_launch(logits_cuda(p, first, here), op);
    check_launch(indexer_lists_cuda(p, p.logits, first, here), op);
  }
}
#endif

std::tuple<at::Tensor, at::Tensor> select(const at::Tensor& q_, const at::Tensor& k_, const at::Tensor& weights, int64_t entries, bool causal, const c10::optional<at::Tensor>& q_scales,
                                          const c10::optional<at::Tensor>& k_scales, const c10::optional<at::Tensor>& lengths) {
  constexpr const char* kOp = "deepseek::indexer_select";
  const bool wide = q_.scalar_type() == at::kDouble;
  const auto q = wide ? q_.to(at::kFloat) : q_, k = wide ? k_.to(at::kFloat) : k_;
  const auto in = inputs(q, k, weights, causal, q_scales, k_scales, lengths, kOp);
  TORCH_CHECK(entries > 0, kOp, ": a list must have room for at least one key, not ", entries);
  const c10::OptionalDeviceGuard device(q.device());
  const auto ints = q.options().dtype(at::kInt);
  auto index = at::full({q.size(0), q.size(1), entries}, k.size(1), ints), count = at::zeros({q.size(0), q.size(1)}, ints);
  if (count.numel() == 0 || k.size(1) == 0) return {index, count};
  auto p = parameters(in, kOp);
  p.select = entries;
  p.index = index.data_ptr<int32_t>();
  p.count = count.data_ptr<int32_t>();
#ifdef DEEPSEEK_CUDA
  if (q.is_cuda()) {
    select_cuda(p, in.weights.options(), kOp);
    return {index, count};
  }
#endif
  DS_CPU(indexer)(p);
  return {index, count};
}

std::tuple<at::Tensor, at::Tensor> quantize_rows(const at::Tensor& x_) {
  constexpr const char* kOp = "deepseek::quantize_rows";
  check_device(x_, kOp);
  TORCH_CHECK(x_.dim() >= 1 && x_.is_floating_point(), kOp, ": x must hold rows of floating-point numbers");
  const c10::OptionalDeviceGuard device(x_.device());
  const auto x = x_.detach().to(at::kFloat).contiguous();
  auto codes = at::empty(x.sizes(), x.options().dtype(at::kByte)), scales = at::ones(x.sizes().slice(0, x.dim() - 1), x.options());
  if (x.numel() == 0) return {codes, scales};
  const int64_t dim = x.size(-1), rows = x.numel() / dim;
#ifdef DEEPSEEK_CUDA
  if (x.is_cuda()) {
    check_launch(quantize_e4m3_cuda(x.data_ptr<float>(), rows, dim, codes.data_ptr<uint8_t>(), scales.data_ptr<float>(), current_stream(x)), kOp);
    return {codes, scales};
  }
#endif
  DS_CPU(quantize_e4m3)(x.data_ptr<float>(), rows, dim, codes.data_ptr<uint8_t>(), scales.data_ptr<float>());
  return {codes, scales};
}

}  // namespace
}  // namespace deepseek

TORCH_LIBRARY_FRAGMENT(deepseek, m) {
  m.def("indexer_logits(Tensor q, Tensor k, Tensor weights, bool causal=True, Tensor? q_scales=None, Tensor? k_scales=None, Tensor? lengths=None) -> Tensor");
  m.def(
      "indexer_select(Tensor q, Tensor k, Tensor weights, int entries, bool causal=True, Tensor? q_scales=None, Tensor? k_scales=None, Tensor? lengths=None) "
      "-> (Tensor indices, Tensor counts)");
  m.def("quantize_rows(Tensor x) -> (Tensor codes, Tensor scales)");
}
TORCH_LIBRARY_IMPL(deepseek, CompositeExplicitAutograd, m) {
  m.impl("indexer_logits", deepseek::logits);
  m.impl("indexer_select", deepseek::select);
  m.impl("quantize_rows", deepseek::quantize_rows);
}
