#include "onnx/block_sparse_attention.h"

#include "block_selection/block_selection_cpu.h"
#include "block_selection/estimate.h"
#include "onnx/threads.h"
#include "sparse_attention/sparse_attention_cpu.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace deepseek::ort {
namespace {

// Larger blocks and counts than any sequence has rows would only overflow.
constexpr int64_t kMost = 1 << 30;

template <class T>
T attribute(Api api, const KernelInfo* info, const char* name) {
  T value{};
  if (Status* missing = api.attribute(info, name, &value)) {
    api.release(missing);
    throw std::invalid_argument(std::string("BlockSparseAttention: the attribute '") + name + "' is missing or of another type than " + (std::is_same_v<T, float> ? "FLOAT." : "INT."));
  }
  return value;
}

[[noreturn]] void refuse(const char* name, const std::string& value, const std::string& wanted) {
  throw std::invalid_argument(std::string("BlockSparseAttention: the attribute '") + name + "' is " + value + "; it must be " + wanted + ".");
}

int64_t within(Api api, const KernelInfo* info, const char* name, int64_t least, int64_t most) {
  const auto value = attribute<int64_t>(api, info, name);
  if (value < least || value > most) refuse(name, std::to_string(value), "from " + std::to_string(least) + " to " + std::to_string(most));
  return value;
}

float share(Api api, const KernelInfo* info, const char* name) {
  const auto value = attribute<float>(api, info, name);
  if (!(value > 0.0f && value <= 1.0f)) refuse(name, std::to_string(value), "more than 0, and at most 1");
  return value;
}

// Room that no thread has to fill before it is written.
template <class T>
std::unique_ptr<T[]> room(int64_t count) { return std::unique_ptr<T[]>(new T[static_cast<size_t>(std::max<int64_t>(count, 1))]); }

}  // namespace

Policy Policy::read(Api api, const KernelInfo* info) {
  Policy p{};
  p.causal = within(api, info, "causal", 0, 1) != 0;
  p.shared_budget = within(api, info, "shared_budget", 0, 1) != 0;
  p.scale = attribute<float>(api, info, "scale");
  if (!(p.scale > 0.0f) || !std::isfinite(p.scale)) refuse("scale", std::to_string(p.scale), "more than 0, and finite");
  const auto density = share(api, info, "density");
  // The float nearest to a share may lie above it, and a tenth of ten blocks would be two: a float's last place of it is not counted.
  p.density = density < 1.0f ? static_cast<double>(density) * (1.0 - std::numeric_limits<float>::epsilon()) : 1.0;
  p.mass = share(api, info, "mass");
  if (p.shared_budget && p.mass < 1.0) refuse("mass", std::to_string(p.mass), "1, since a shared budget leaves no choice by mass");
  p.stride = within(api, info, "stride", 1, kMost);
  p.block_q = within(api, info, "block_q", 1, kMost);
  p.block_k = within(api, info, "block_k", 1, kMost);
  if (p.block_q % p.stride != 0) refuse("block_q", std::to_string(p.block_q), "a multiple of 'stride', " + std::to_string(p.stride));
  if (p.block_k % p.stride != 0) refuse("block_k", std::to_string(p.block_k), "a multiple of 'stride', " + std::to_string(p.stride));
  p.sink = within(api, info, "sink", 0, kMost);
  p.window = within(api, info, "window", 0, kMost);
  p.minimum = within(api, info, "minimum", 0, kMost);
  p.estimate = within(api, info, "estimate", kAntidiagonal, kSampled);
  p.power = attribute<float>(api, info, "power");
  if (p.power != 0.0f && p.power != 1.0f && p.power != 2.0f) refuse("power", std::to_string(p.power), "1, 2, or 0 for the maximum");
  return p;
}

void Attention::compute(const Policy& policy) const {
  const int64_t values = batch * heads * queries * dim;
  if (values == 0) return;
  if (keys == 0) return std::fill_n(out, values, 0.0f), void();
  // The kernels count rows in 32 bits.
  std::vector<int32_t> lengths;
  if (key_lengths != nullptr) {
    lengths.resize(static_cast<size_t>(2 * batch));
    for (int64_t b = 0; b < batch; b++) {
      const int64_t length = std::clamp<int64_t>(key_lengths[b], 0, keys);
      lengths[static_cast<size_t>(b)] = static_cast<int32_t>(length);
      lengths[static_cast<size_t>(batch + b)] = static_cast<int32_t>(std::clamp<int64_t>(length - (keys - queries), 0, queries));
    }
  }
  const int32_t *k_lengths = lengths.empty() ? nullptr : lengths.data(), *q_lengths = lengths.empty() ? nullptr : lengths.data() + batch;

  SelectBlocksParams lists{};
  describe_lists(lists, batch, heads, queries, keys, policy.block_q, policy.block_k, policy.sink, policy.window, policy.minimum, policy.density, policy.shared_budget);
  lists.causal = policy.causal, lists.density = policy.density, lists.mass = policy.mass, lists.shared = policy.shared_budget;
  lists.q_lengths = q_lengths, lists.k_lengths = k_lengths;
  const auto mass = room<float>(lists.lists * lists.key_blocks);
  const auto index = room<int32_t>(lists.lists * lists.max_blocks), count = room<int32_t>(lists.lists);
  lists.scores = mass.get(), lists.block_index = index.get(), lists.block_count = count.get();

  BlockScoresParams scores{};
  scores.q = q, scores.k = k, scores.mass = mass.get(), scores.q_lengths = q_lengths, scores.k_lengths = k_lengths;
  scores.q_row_stride = scores.k_row_stride = dim;
  scores.q_head_stride = queries * dim, scores.k_head_stride = keys * dim;
  scores.q_batch_stride = heads * scores.q_head_stride, scores.k_batch_stride = kv_heads * scores.k_head_stride;
  scores.batch = batch, scores.heads = heads, scores.kv_heads = kv_heads, scores.dim = dim;
  describe_groups(scores, policy.estimate, policy.stride, queries, keys, policy.block_q, policy.block_k, policy.scale);
  scores.power = policy.power == 0.0f ? std::numeric_limits<float>::infinity() : policy.power;
  scores.causal = policy.causal, scores.type = kFloat32;
  DS_CPU(block_scores_cpu)(scores);
  DS_CPU(select_blocks_cpu)(lists);

  SparseAttentionParams attention{};
  const auto described = [&](const float* data, int64_t of_heads, int64_t rows) { return AttentionTensor{const_cast<float*>(data), of_heads * rows * dim, rows * dim, dim}; };
  attention.q = described(q, heads, queries), attention.out = described(out, heads, queries);
  attention.k = described(k, kv_heads, keys), attention.v = described(v, kv_heads, keys);
  const auto log_sums = room<float>(batch * heads * queries);
  attention.lse = log_sums.get(), attention.block_index = index.get(), attention.block_count = count.get();
  attention.q_lengths = q_lengths, attention.k_lengths = k_lengths;
  attention.batch = batch, attention.heads = attention.index_heads = heads, attention.kv_heads = kv_heads;
  attention.queries = queries, attention.keys = keys, attention.dim = dim;
  attention.block_q = policy.block_q, attention.block_k = policy.block_k, attention.max_blocks = lists.max_blocks;
  attention.query_blocks = lists.query_blocks, attention.key_blocks = lists.key_blocks;
  attention.scale = policy.scale, attention.causal = policy.causal, attention.type = kFloat32;
  DS_CPU(sparse_attention_forward)(attention);
}

}  // namespace deepseek::ort
