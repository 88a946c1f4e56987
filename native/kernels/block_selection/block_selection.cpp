// Registration of deepseek::block_scores and deepseek::select_blocks, and their definition by plain libtorch operators.
#include "block_selection_cpu.h"

#include "block_selection/estimate.h"
#include "common/operator.h"

#include <cmath>
#include <limits>

namespace deepseek {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return blocks_of(a, b); }

// Rows that exist in each sequence, int64 [batch or 1, 1, 1].
at::Tensor rows_of(const at::Tensor& lengths, int64_t rows, const at::TensorOptions& options) {
  const auto longs = options.dtype(at::kLong);
  return lengths.defined() ? lengths.to(longs.device(), at::kLong).clamp(0, rows).reshape({-1, 1, 1}) : at::full({1, 1, 1}, rows, longs);
}

at::Tensor lengths_of(const c10::optional<at::Tensor>& lengths_, const at::Tensor& x, const char* name, const char* op) {
  const auto lengths = defined_or_empty(lengths_);
  if (!lengths.defined()) return lengths;
  TORCH_CHECK(lengths.scalar_type() == at::kInt && lengths.dim() == 1 && lengths.size(0) == x.size(0), op, ": ", name, " must be int32 [", x.size(0), "]");
  TORCH_CHECK(lengths.device() == x.device(), op, ": ", name, " is on another device");
  return lengths.contiguous();
}

[[maybe_unused]] const int32_t* data_of(const at::Tensor& lengths) { return lengths.defined() ? lengths.data_ptr<int32_t>() : nullptr; }

// First and last key block (inclusive) on the diagonal of each query block, and the visible ones: [0, visible).
struct Diagonal {
  at::Tensor first, last, visible;  // int64 [batch or 1, 1, query_blocks]
};

Diagonal diagonal(const SelectBlocksParams& p, const at::Tensor& queries, const at::Tensor& keys) {
  const auto row = at::arange(p.query_blocks, queries.options()) * p.block_q, none = at::zeros({1}, queries.options());
  const auto end = at::min(row + p.block_q, queries);
  const auto last_key = at::min(end - 1 + (keys - queries), keys - 1).clamp_min(-1), first_key = at::min(row + (keys - queries), keys - 1).clamp_min(0);
  const auto visible = p.causal ? at::floor_divide(last_key + p.block_k, p.block_k) : at::floor_divide(keys + (p.block_k - 1), p.block_k).expand_as(last_key);
  return {at::floor_divide(first_key, p.block_k), at::floor_divide(last_key + p.block_k, p.block_k) - 1, at::where(row < queries, visible, none)};
}

at::Tensor groups(const at::Tensor& x, int64_t stride, bool reversed) {
  const auto count = x.size(2) / stride;
  auto g = x.slice(2, 0, count * stride).to(x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat).reshape({x.size(0), x.size(1), count, stride, x.size(3)});
  if (reversed) g = g.flip({3});
  return g.reshape({x.size(0), x.size(1), count, stride * x.size(3)});
}

// [.., n] to [.., parts, each], filled up with `value`.
at::Tensor in_parts(const at::Tensor& x, int64_t dim, int64_t parts, int64_t each, double value) {
  auto sizes = x.sizes().vec();
  sizes[dim] = parts * each - sizes[dim];
  auto filled = at::cat({x, at::full(sizes, value, x.options())}, dim);
  sizes = filled.sizes().vec();
  sizes[dim] = parts;
  sizes.insert(sizes.begin() + dim + 1, each);
  return filled.reshape(sizes);
}

// The power mean of shares, all of which count: hidden ones are 0.
at::Tensor mean_of(const at::Tensor& share, int64_t dim, double power) {
  return power == 1.0 ? share.mean(dim) : power == 2.0 ? share.square().mean(dim).sqrt() : share.amax(dim);
}

// The last query that exists of each group of `stride`, [batch, heads, groups, dim]; of a group without any, whatever lies in a row. In
// front of the queries count `lead` copies of the first one, and in the lengths too.
at::Tensor samples(const at::Tensor& q, int64_t stride, const at::Tensor& lengths, int64_t lead) {
  const auto queries = q.size(2), whole = queries / stride, count = ceil_div(queries + lead, stride);
  if (stride == 1 && lead == 0) return q;
  if (!lengths.defined() && lead == 0) {
    const auto last = q.slice(2, stride - 1, queries, stride);
    return count == whole ? last : at::cat({last, q.slice(2, queries - 1)}, 2);
  }
  const auto rows = rows_of(lengths, queries + lead, q.options());
  const auto last = (at::min((at::arange(count, rows.options()) + 1) * stride, rows) - 1 - lead).clamp_min(0);
  if (!lengths.defined()) return q.index_select(2, last.reshape({count}));
  return q.gather(2, last.reshape({-1, 1, count, 1}).expand({q.size(0), q.size(1), count, q.size(3)}));
}

// Of whole queries, or of samples of them. Groups that reach behind the lengths (int64 [batch or 1, 1, 1]) are left out, whatever they hold.
at::Tensor scores_reference(const at::Tensor& q, const at::Tensor& k, int64_t block_q, int64_t block_k, bool causal, double scale, int64_t stride, bool sampled, double power,
                            const at::Tensor& q_rows, const at::Tensor& k_rows) {
  const auto heads = q.size(1), queries = q.size(2) * (sampled ? stride : 1), keys = k.size(2), k_step = sampled ? 1 : stride;
  const auto query = groups(q, sampled ? 1 : stride, !sampled);
  auto key = groups(k, k_step, false);
  if (key.size(1) != heads) key = key.repeat_interleave(heads / key.size(1), 1);
  const auto none = -std::numeric_limits<double>::infinity();
  auto scores = at::matmul(query, key.transpose(-1, -2)) * scale;
  const auto row = at::arange(query.size(2), q_rows.options()) * stride, column = at::arange(key.size(2), q_rows.options()) * k_step;
  auto seen = (row + (sampled ? 1 : stride) <= q_rows).unsqueeze(-1).logical_and((column + k_step <= k_rows).unsqueeze(-2));
  if (causal) seen = seen.logical_and(column <= (at::min(row + stride, q_rows) - 1 + (k_rows - q_rows)).unsqueeze(-1));
  scores = at::where(seen, scores, at::full({}, none, scores.options()));
  const auto lse = at::logsumexp(scores, {-1}, true);
  auto share = at::where(lse == none, at::zeros({}, scores.options()), (scores - lse).exp());
  share = in_parts(share, 3, ceil_div(keys, block_k), block_k / k_step, 0.0).sum(-1);
  return mean_of(in_parts(share, 2, ceil_div(queries, block_q), block_q / stride, 0.0), 3, power);
}

// With samples, `lead` copies of the first query count in front of the others; the blocks are as many as without.
at::Tensor estimated_scores(const at::Tensor& q_, const at::Tensor& k_, int64_t block_q, int64_t block_k, bool causal, c10::optional<double> scale_, int64_t stride, int64_t estimate,
                            double power, const c10::optional<at::Tensor>& q_lengths_, const c10::optional<at::Tensor>& k_lengths_, int64_t lead = 0) {
  constexpr auto kOp = "block_scores";
  check_device(q_, kOp);
  TORCH_CHECK(q_.dim() == 4 && k_.dim() == 4 && q_.size(0) == k_.size(0) && q_.size(3) == k_.size(3), kOp, ": q ", q_.sizes(), " and k ", k_.sizes(), " do not fit");
  TORCH_CHECK(k_.size(1) > 0 && q_.size(1) % k_.size(1) == 0, kOp, ": ", q_.size(1), " query heads are no multiple of ", k_.size(1), " key heads");
  TORCH_CHECK(q_.scalar_type() == k_.scalar_type() && q_.device() == k_.device(), kOp, ": q and k differ in element type or device");
  TORCH_CHECK(stride > 0 && block_q % stride == 0 && block_k % stride == 0, kOp, ": the stride ", stride, " does not divide the blocks ", block_q, " and ", block_k);
  TORCH_CHECK(estimate >= kAntidiagonal && estimate <= kSampled, kOp, ": estimate ", estimate, " is none of 0 (antidiagonals), 1 (means), 2 (samples)");
  TORCH_CHECK(power == 1.0 || power == 2.0 || power == std::numeric_limits<double>::infinity(), kOp, ": the power ", power, " is none of 1, 2 and infinity");
  const bool pooled = estimate == kPooled, sampled = estimate == kSampled;
  const auto scale = scale_.has_value() ? *scale_ : 1.0 / std::sqrt(static_cast<double>(std::max<int64_t>(q_.size(3), 1)));
  const auto blocks_q = ceil_div(q_.size(2), block_q), blocks_k = ceil_div(k_.size(2), block_k);
  auto q = q_.detach(), k = k_.detach();
  auto q_lengths = lengths_of(q_lengths_, q, "q_lengths", kOp), k_lengths = lengths_of(k_lengths_, k, "k_lengths", kOp);
  const bool wide = q.scalar_type() == at::kDouble;
  BlockScoresParams p{};
  // Of rows that lie whole, or of their means or samples.
  const auto describe = [&] {
    const auto stride_of = [](const at::Tensor& x, int64_t d) { return x.size(d) == 1 ? x.size(2) * x.size(3) : x.stride(d); };
    p.q = q.data_ptr(), p.k = k.data_ptr();
    p.q_batch_stride = stride_of(q, 0), p.q_head_stride = stride_of(q, 1), p.q_row_stride = q.size(2) == 1 ? q.size(3) : q.stride(2);
    p.k_batch_stride = stride_of(k, 0), p.k_head_stride = stride_of(k, 1), p.k_row_stride = k.size(2) == 1 ? k.size(3) : k.stride(2);
    p.batch = q.size(0), p.heads = q.size(1), p.kv_heads = k.size(1), p.dim = q.size(3);
    describe_groups(p, estimate, stride, q_.size(2), k_.size(2), block_q, block_k, scale, lead);
    p.q_lengths = data_of(q_lengths), p.k_lengths = data_of(k_lengths);
    p.power = static_cast<float>(power), p.causal = causal, p.type = element_type(q, kOp, "q");
  };
  if (q.is_cpu() && !wide && q.numel() > 0 && k.numel() > 0) {
    const auto rows = [](const at::Tensor& x) { return x.stride(3) == 1 || x.size(3) == 1 ? x : x.contiguous(); };
    q = rows(q), k = rows(k);
    describe();
    auto mass = at::empty({p.batch, p.heads, blocks_q, blocks_k}, q.options().dtype(at::kFloat));
    p.mass = mass.data_ptr<float>();
    DS_CPU(block_scores_cpu)(p);
    return mass;
  }
  if (pooled) {
    // Means of the groups; the last group may be short and is left out, as below.
    const auto mean = [&](const at::Tensor& x) {
      const auto count = x.size(2) / stride;
      return x.slice(2, 0, count * stride).reshape({x.size(0), x.size(1), count, stride, x.size(3)}).mean(3, false, wide ? at::kDouble : at::kFloat).to(x.scalar_type());
    };
    q = mean(q), k = mean(k);
    // From here on in rows of what is multiplied: pooled rows count as one.
    if (q_lengths.defined()) q_lengths = at::floor_divide(q_lengths, stride).to(at::kInt);
    if (k_lengths.defined()) k_lengths = at::floor_divide(k_lengths, stride).to(at::kInt);
  }
  if (sampled) q = samples(q, stride, q_lengths, lead);
#ifdef DEEPSEEK_CUDA
  if (q.is_cuda() && (q.scalar_type() == at::kBFloat16 || q.scalar_type() == at::kHalf) && q.numel() > 0 && k.numel() > 0) {
    const c10::DeviceGuard guard(q.device());
    const auto fit = [](const at::Tensor& x) {
      bool good = x.stride(3) == 1 && reinterpret_cast<uintptr_t>(x.data_ptr()) % 16 == 0;
      for (int64_t d = 0; d < 3; d++) good = good && (x.size(d) == 1 || (x.stride(d) > 0 && x.stride(d) % 8 == 0));
      return good ? x : x.clone(at::MemoryFormat::Contiguous);
    };
    q = fit(q), k = fit(k);
    describe();
    p.q_group_stride /= p.pool, p.k_group_stride /= p.pool, p.pool = 1;
    const auto* device = at::cuda::getCurrentDeviceProperties();
    if (p.query_groups > 0 && p.key_groups > 0 && block_scores_hopper_takes(p, device->major, device->minor)) {
      auto partial = at::empty({p.batch, p.heads, ceil_div(p.query_groups, 8), blocks_k, 8}, q.options().dtype(at::kFloat));
      auto mass = at::empty({p.batch, p.heads, blocks_q, blocks_k}, partial.options());
      p.partial = partial.data_ptr<float>();
      p.mass = mass.data_ptr<float>();
      check_launch(block_scores_hopper(p, current_stream(q)), kOp);
      return mass;
    }
  }
#endif
  const auto product_scale = estimate == kAntidiagonal ? scale / static_cast<double>(stride) : scale;
  const auto q_rows = rows_of(q_lengths, sampled ? q_.size(2) + lead : q.size(2), q.options()), k_rows = rows_of(k_lengths, k.size(2), k.options());
  auto mass = pooled ? scores_reference(q, k, block_q / stride, block_k / stride, causal, product_scale, 1, false, power, q_rows, k_rows)
                     : scores_reference(q, k, block_q, block_k, causal, product_scale, stride, sampled, power, q_rows, k_rows);
  if (lead > 0) mass = mass.slice(2, 0, blocks_q).contiguous();
  // Pooling drops a short last group, and with it perhaps a whole block.
  const auto missing_k = blocks_k - mass.size(3), missing_q = blocks_q - mass.size(2);
  return missing_k > 0 || missing_q > 0 ? at::constant_pad_nd(mass, {0, missing_k, 0, missing_q}) : mass;
}

// The estimate from what is known at a block's first query: that query and those in front of it, as many as a block has. Queries that lie
// block_q - 1 rows later, behind copies of the first, see the same keys; the last one's block then ends where another began.
at::Tensor causal_scores(const at::Tensor& q, const at::Tensor& k, int64_t block_q, int64_t block_k, c10::optional<double> scale, int64_t stride, int64_t estimate, double power,
                         const c10::optional<at::Tensor>& q_lengths, const c10::optional<at::Tensor>& k_lengths) {
  TORCH_CHECK(q.dim() == 4 && estimate != kPooled, "block_scores: a causal choice needs queries of four dimensions, and no means");
  if (q.size(2) == 0) return estimated_scores(q, k, block_q, block_k, true, scale, stride, estimate, power, q_lengths, k_lengths);
  const auto lengths = defined_or_empty(q_lengths);
  // A sequence without queries has no first one to copy.
  const auto ends = lengths.defined() ? c10::optional<at::Tensor>((lengths + (block_q - 1)).masked_fill_(lengths <= 0, 0)) : c10::nullopt;
  if (estimate == kSampled) return estimated_scores(q, k, block_q, block_k, true, scale, stride, estimate, power, ends, k_lengths, block_q - 1);
  const auto later = at::cat({q.slice(2, 0, 1).expand({q.size(0), q.size(1), block_q - 1, q.size(3)}), q}, 2);
  return estimated_scores(later, k, block_q, block_k, true, scale, stride, estimate, power, ends, k_lengths).slice(2, 0, ceil_div(q.size(2), block_q)).contiguous();
}

// The estimate; and of the newest block of queries that a sequence has, if asked for, the mean of that power over each of its queries instead.
at::Tensor block_scores(const at::Tensor& q, const at::Tensor& k, int64_t block_q, int64_t block_k, bool causal, c10::optional<double> scale, int64_t stride, int64_t estimate,
                        double power, const c10::optional<at::Tensor>& q_lengths, const c10::optional<at::Tensor>& k_lengths, double newest_power, bool causal_choice) {
  const auto exact = [&](const at::Tensor& rows, const c10::optional<at::Tensor>& lengths) {
    return estimated_scores(rows, k, block_q, block_k, causal, scale, 1, kSampled, newest_power, lengths, k_lengths);
  };
  TORCH_CHECK(causal || !causal_choice, "block_scores: a causal choice needs causal attention");
  if (newest_power != 0.0 && q.dim() == 4 && q.size(2) > 0 && q.size(2) <= block_q) return exact(q, q_lengths);
  auto scores = causal_choice ? causal_scores(q, k, block_q, block_k, scale, stride, estimate, power, q_lengths, k_lengths)
                              : estimated_scores(q, k, block_q, block_k, causal, scale, stride, estimate, power, q_lengths, k_lengths);
  if (newest_power == 0.0 || q.size(2) == 0) return scores;
  const auto lengths = defined_or_empty(q_lengths);
  if (!lengths.defined()) {
    const auto last = scores.size(2) - 1;
    scores.slice(2, last).copy_(exact(q.slice(2, last * block_q), c10::nullopt));
    return scores;
  }
  // Aligned at the ends, as the lengths are, the queries of one block see what they see among all.
  const auto rows = lengths.to(at::kLong).clamp(0, q.size(2)), block = at::floor_divide((rows - 1).clamp_min(0), block_q);
  const auto row = (block.unsqueeze(-1) * block_q + at::arange(block_q, rows.options())).clamp_max(q.size(2) - 1);
  const auto newest = q.detach().gather(2, row.reshape({-1, 1, block_q, 1}).expand({q.size(0), q.size(1), block_q, q.size(3)}));
  const auto mass = exact(newest, (rows - block * block_q).to(at::kInt));
  return scores.scatter_(2, block.reshape({-1, 1, 1, 1}).expand(mass.sizes()), mass);
}

// What every list keeps, and what may be kept: bool [batch or 1, 1, query_blocks, key_blocks].
struct Seen {
  at::Tensor visible, forced;
};

Seen seen_blocks(const SelectBlocksParams& p, const Diagonal& d, const at::TensorOptions& options) {
  const auto block = at::arange(p.key_blocks, options.dtype(at::kLong));
  const auto visible = block < d.visible.unsqueeze(-1);
  const auto near = (block >= d.first.unsqueeze(-1) - p.window).logical_and(block <= d.last.unsqueeze(-1) + p.window);
  return {visible, visible.logical_and(near.logical_or(block < p.sink))};
}

// The score of the last block within a budget that all heads of a query block share, float32 [batch, query_blocks].
at::Tensor shared_bounds(const at::Tensor& scores, const SelectBlocksParams& p, const at::Tensor& q_lengths, const at::Tensor& k_lengths) {
  const auto seen = seen_blocks(p, diagonal(p, rows_of(q_lengths, p.queries, scores.options()), rows_of(k_lengths, p.keys, scores.options())), scores.options());
  const auto batch = scores.size(0), heads = scores.size(1);
  const auto free = at::where(seen.visible.logical_and(seen.forced.logical_not()), scores, at::zeros({}, scores.options())).transpose(1, 2).reshape({batch, p.query_blocks, heads * p.key_blocks});
  const auto count = [&](const at::Tensor& flags) { return flags.sum(-1).squeeze(1).expand({batch, p.query_blocks}) * heads; };
  const auto budget = at::ceil(count(seen.visible).to(at::kDouble) * p.density - 1e-9).to(at::kLong) - count(seen.forced);
  const auto sorted = std::get<0>(at::sort(free, -1, true));
  const auto last = sorted.gather(-1, (budget - 1).clamp(0, std::max<int64_t>(free.size(2) - 1, 0)).unsqueeze(-1)).squeeze(-1);
  return at::where(budget > 0, last, at::full({}, std::numeric_limits<float>::infinity(), scores.options())).contiguous();
}

std::tuple<at::Tensor, at::Tensor> select_reference(const at::Tensor& scores, const SelectBlocksParams& p, const at::Tensor& q_lengths, const at::Tensor& k_lengths, const at::Tensor& bounds) {
  const auto longs = scores.options().dtype(at::kLong);
  const auto d = diagonal(p, rows_of(q_lengths, p.queries, scores.options()), rows_of(k_lengths, p.keys, scores.options()));
  const auto block = at::arange(p.key_blocks, longs);
  const auto seen = seen_blocks(p, d, scores.options());
  const auto &visible = seen.visible, &forced = seen.forced;
  const auto share = at::where(visible, scores, at::zeros({}, scores.options()));
  const auto rank = at::where(forced, at::full({}, std::numeric_limits<float>::infinity(), scores.options()), share).masked_fill(visible.logical_not(), -1.0);
  const auto order = std::get<1>(at::sort(rank, /*stable=*/true, -1, /*descending=*/true));
  const auto running = share.gather(-1, order).to(at::kDouble).cumsum(-1);
  const auto total = share.to(at::kDouble).sum(-1, true);
  const auto count_visible = d.visible.to(at::kDouble);
  auto kept = p.density >= 1.0 ? d.visible : at::ceil(count_visible * p.density - 1e-9).to(at::kLong);
  kept = kept.expand(scores.sizes().slice(0, 3));
  if (bounds.defined())
    kept = forced.sum(-1) + forced.logical_not().logical_and(share >= bounds.reshape({-1, 1, p.query_blocks, 1})).logical_and(share > 0.0).sum(-1);
  else if (p.mass < 1.0) kept = at::min(kept, (running < total * p.mass).sum(-1) + 1);
  kept = at::max(kept.clamp_min(p.min_blocks), forced.sum(-1).expand_as(kept));
  kept = at::min(kept, d.visible.expand_as(kept)).clamp_max(p.max_blocks);
  auto flags = at::zeros(scores.sizes(), scores.options().dtype(at::kBool));
  flags.scatter_(-1, order, block < kept.unsqueeze(-1));
  const auto ascending = std::get<1>(at::sort(flags.to(at::kInt), true, -1, true)).slice(-1, 0, p.max_blocks);
  const auto index = at::where(at::arange(ascending.size(-1), longs) < kept.unsqueeze(-1), ascending, at::full({}, -1, longs)).to(at::kInt);
  return {index.contiguous(), kept.to(at::kInt).contiguous()};
}

std::tuple<at::Tensor, at::Tensor> select_blocks(const at::Tensor& scores_, int64_t queries, int64_t keys, int64_t block_q, int64_t block_k, bool causal, double density,
                                                 double mass, int64_t sink, int64_t window, int64_t min_blocks, bool shared,
                                                 const c10::optional<at::Tensor>& q_lengths_, const c10::optional<at::Tensor>& k_lengths_) {
  constexpr auto kOp = "select_blocks";
  check_device(scores_, kOp);
  TORCH_CHECK(block_q > 0 && block_k > 0, kOp, ": block sizes must be positive");
  const auto blocks_q = ceil_div(queries, block_q), blocks_k = ceil_div(keys, block_k);
  TORCH_CHECK(scores_.dim() == 4 && scores_.size(2) == blocks_q && scores_.size(3) == blocks_k, kOp, ": scores ", scores_.sizes(), " are not [batch, heads, ", blocks_q, ", ", blocks_k, "]");
  TORCH_CHECK(density > 0.0 && mass > 0.0 && sink >= 0 && window >= 0 && min_blocks >= 0, kOp, ": density and mass must be positive, the counts not negative");
  TORCH_CHECK(!shared || mass >= 1.0, kOp, ": a shared budget leaves no choice by mass");
  const auto scores = scores_.detach().to(at::kFloat).contiguous();
  const auto q_lengths = lengths_of(q_lengths_, scores, "q_lengths", kOp), k_lengths = lengths_of(k_lengths_, scores, "k_lengths", kOp);
  SelectBlocksParams p{};
  describe_lists(p, scores.size(0), scores.size(1), queries, keys, block_q, block_k, sink, window, min_blocks, density, shared);
  p.causal = causal, p.density = density, p.mass = mass;
  if (scores.is_cpu() && p.lists > 0 && blocks_k > 0) {
    auto index = at::empty({scores.size(0), scores.size(1), blocks_q, p.max_blocks}, scores.options().dtype(at::kInt));
    auto count = at::empty({scores.size(0), scores.size(1), blocks_q}, index.options());
    p.scores = scores.data_ptr<float>();
    p.block_index = index.data_ptr<int32_t>(), p.block_count = count.data_ptr<int32_t>();
    p.q_lengths = data_of(q_lengths), p.k_lengths = data_of(k_lengths);
    p.shared = shared;
    DS_CPU(select_blocks_cpu)(p);
    return {index, count};
  }
  const bool bounded = shared && density < 1.0 && p.lists > 0;
#ifdef DEEPSEEK_CUDA
  if (scores.is_cuda() && blocks_k <= 8192 && p.lists > 0) {
    const c10::DeviceGuard guard(scores.device());
    auto index = at::empty({scores.size(0), scores.size(1), blocks_q, p.max_blocks}, scores.options().dtype(at::kInt));
    auto count = at::empty({scores.size(0), scores.size(1), blocks_q}, index.options());
    p.scores = scores.data_ptr<float>();
    p.block_index = index.data_ptr<int32_t>();
    p.block_count = count.data_ptr<int32_t>();
    p.q_lengths = data_of(q_lengths), p.k_lengths = data_of(k_lengths);
    at::Tensor bounds;
    if (bounded) {
      bounds = at::empty({scores.size(0), blocks_q}, scores.options());
      check_launch(shared_bounds_cuda(p, bounds.data_ptr<float>(), current_stream(scores)), kOp);
      p.bounds = bounds.data_ptr<float>();
    }
    check_launch(select_blocks_cuda(p, current_stream(scores)), kOp);
    return {index, count};
  }
#endif
  return select_reference(scores, p, q_lengths, k_lengths, bounded ? shared_bounds(scores, p, q_lengths, k_lengths) : at::Tensor());
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(deepseek, m) {
  m.def(
      "block_scores(Tensor q, Tensor k, int block_q, int block_k, bool causal, float? scale=None, int stride=16, int estimate=0, float power=1.0, "
      "Tensor? q_lengths=None, Tensor? k_lengths=None, float newest_power=0.0, bool causal_choice=False) -> Tensor");
  m.def(
      "select_blocks(Tensor scores, int queries, int keys, int block_q, int block_k, bool causal, float density, float mass=1.0, int sink=1, "
      "int window=1, int min_blocks=1, bool shared=False, Tensor? q_lengths=None, Tensor? k_lengths=None) -> (Tensor block_index, Tensor block_count)");
}

TORCH_LIBRARY_IMPL(deepseek, CompositeExplicitAutograd, m) {
  m.impl("block_scores", block_scores);
  m.impl("select_blocks", select_blocks);
}

}  // namespace deepseek
