// Times the engine's CPU kernels against the same computation in unfused libtorch, alternating between the two.
//   kernels <libdeepseek.so> [case] [rounds]
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <dlfcn.h>

#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <limits>
#include <string>
#include <thread>
#include <vector>

namespace {

using Optional = c10::optional<at::Tensor>;

template <class Signature>
auto op(const char* name) { return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>(); }

// Wall time, or on a machine shared with other work (DS_BENCH_CLOCK=cpu) the time that the process's threads ran.
double now() {
  static const bool cpu = std::getenv("DS_BENCH_CLOCK") != nullptr && std::string(std::getenv("DS_BENCH_CLOCK")) == "cpu";
  timespec t{};
  clock_gettime(cpu ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_nsec) * 1e-6;
}

double milliseconds(const std::function<void()>& body) {
  const auto start = now();
  body();
  return now() - start;
}

struct Spread { double low, median, high; };

Spread spread(std::vector<double> times) {
  std::sort(times.begin(), times.end());
  return {times[times.size() / 10], times[times.size() / 2], times[times.size() - 1 - times.size() / 10]};
}

std::string wanted;
int rounds = 31;

void compare(const std::string& name, const std::function<void()>& base, const std::function<void()>& ours) {
  std::vector<double> first, second;
  for (int i = 0; i < rounds + 2; i++) {
    const double a = milliseconds(base), b = milliseconds(ours);
    if (i >= 2) {
      first.push_back(a);
      second.push_back(b);
    }
  }
  const auto a = spread(first), b = spread(second);
  std::printf("%-44s %9.3f [%.3f, %.3f]  %9.3f [%.3f, %.3f]  %6.2f\n", name.c_str(), a.median, a.low, a.high, b.median, b.low, b.high, a.median / b.median);
  std::fflush(stdout);
}

bool chosen(const char* name) { return wanted.empty() || std::string(name).find(wanted) != std::string::npos; }

void fused_norm() {
  if (!chosen("fused_norm")) return;
  const auto fused = op<std::tuple<at::Tensor, at::Tensor>(const at::Tensor&, const Optional&, const Optional&, const Optional&, double, double, bool, int64_t, int64_t, const Optional&, const Optional&)>("deepseek::dropout_add_norm");
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    const auto x = at::randn({4096, 1024}).to(type), r = at::randn({4096, 1024}).to(type), w = at::rand({1024}).to(type), b = at::rand({1024}).to(type);
    const auto dy = at::randn({4096, 1024}).to(type);
    const std::string label = std::string(" 4096x1024 ") + (type == at::kFloat ? "f32" : "bf16");
    compare("dropout+add+LN forward" + label, [&] { const c10::InferenceMode mode; at::layer_norm(r + at::dropout(x, 0.1, true), {1024}, w, b); },
            [&] { const c10::InferenceMode mode; fused.call(x, r, w, b, 0.1, 1e-5, false, 1, 2, Optional(), Optional()); });
    const auto leaf = [](const at::Tensor& t) { return t.detach().requires_grad_(); };
    const auto lx = leaf(x), lr = leaf(r), lw = leaf(w), lb = leaf(b);
    const std::vector<at::Tensor> leaves{lx, lr, lw, lb};
    compare("dropout+add+LN forward+backward" + label,
            [&] { torch::autograd::grad({at::layer_norm(lr + at::dropout(lx, 0.1, true), {1024}, lw, lb)}, leaves, {dy}); },
            [&] { torch::autograd::grad({std::get<0>(fused.call(lx, lr, lw, lb, 0.1, 1e-5, false, 1, 2, Optional(), Optional()))}, leaves, {dy}); });
  }
}

void topk() {
  if (!chosen("topk")) return;
  const auto ours = op<std::tuple<at::Tensor, at::Tensor>(const at::Tensor&, int64_t, bool)>("deepseek::topk");
  for (const int64_t k : {512, 2048}) {
    const auto x = at::randn({64, 32768});
    const auto reference = at::topk(x, k, -1, true, true);
    TORCH_CHECK(at::equal(std::get<0>(reference), std::get<0>(ours.call(x, k, true))), "top-k differs from libtorch's");
    for (const bool sorted : {true, false}) {
      compare("topk 64x32768 k=" + std::to_string(k) + (sorted ? " (base sorted)" : " (base unsorted)"), [&] { at::topk(x, k, -1, true, sorted); }, [&] { ours.call(x, k, true); });
    }
  }
}

void attention() {
  if (!chosen("attention")) return;
  const auto sparse = op<std::tuple<at::Tensor, at::Tensor>(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, int64_t, int64_t, bool, c10::optional<double>, const Optional&, const Optional&)>("deepseek::block_sparse_attention");
  const c10::InferenceMode mode;
  for (const int64_t rows : {1024, 2048, 4096, 8192}) {
    const auto q = at::randn({1, 4, rows, 64}), k = at::randn({1, 4, rows, 64}), v = at::randn({1, 4, rows, 64});
    const auto unfused = [&] { return at::matmul(at::softmax(at::matmul(q, k.transpose(-2, -1)) * 0.125, -1), v); };
    for (const int64_t part : {1, 8}) {
      // Every block of 64 queries sees all blocks of 64 keys, or every eighth, starting at another one each time.
      const auto blocks = rows / 64, kept = blocks / part;
      auto index = at::empty({1, 1, blocks, kept}, at::kInt);
      for (int64_t b = 0; b < blocks; b++) {
        for (int64_t i = 0; i < kept; i++) index.data_ptr<int>()[b * kept + i] = static_cast<int>((i * part + b) % blocks);
      }
      const auto count = at::full({1, 1, blocks}, kept, at::kInt);
      const auto ours = [&] { return std::get<0>(sparse.call(q, k, v, index, count, 64, 64, false, 0.125, Optional(), Optional())); };
      if (part == 1) TORCH_CHECK((unfused() - ours()).abs().max().item<double>() < 1e-5, "attention differs from libtorch's");
      compare("attention 4x" + std::to_string(rows) + "x64 density 1/" + std::to_string(part), [&] { unfused(); }, [&] { ours(); });
    }
  }
}

// The blocks' scores from every eighth query, and from them to the attention at an eighth of the blocks, against dense attention.
void selection() {
  if (!chosen("selection")) return;
  const auto scores = op<at::Tensor(const at::Tensor&, const at::Tensor&, int64_t, int64_t, bool, c10::optional<double>, int64_t, int64_t, double, const Optional&, const Optional&, double, bool)>("deepseek::block_scores");
  const auto select = op<std::tuple<at::Tensor, at::Tensor>(const at::Tensor&, int64_t, int64_t, int64_t, int64_t, bool, double, double, int64_t, int64_t, int64_t, bool, const Optional&, const Optional&)>("deepseek::select_blocks");
  const auto sparse = op<std::tuple<at::Tensor, at::Tensor>(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, int64_t, int64_t, bool, c10::optional<double>, const Optional&, const Optional&)>("deepseek::block_sparse_attention");
  constexpr int64_t kBlock = 64, kStride = 8, kSampled = 2;
  const c10::InferenceMode mode;
  for (const int64_t rows : {1024, 2048, 4096, 8192}) {
    const auto q = at::randn({1, 4, rows, 64}), k = at::randn({1, 4, rows, 64}), v = at::randn({1, 4, rows, 64});
    const auto blocks = rows / kBlock;
    const auto hidden = at::full({rows, rows}, -std::numeric_limits<float>::infinity()).triu(1), sampled = hidden.slice(0, kStride - 1, rows, kStride).contiguous();
    const auto unfused = [&] {
      const auto share = at::softmax((at::matmul(q.slice(2, kStride - 1, rows, kStride), k.transpose(-2, -1)) * 0.125).add_(sampled), -1).reshape({1, 4, blocks, kBlock / kStride, blocks, kBlock}).sum(-1);
      return share.square().mean(3).sqrt();
    };
    const auto ours = [&] { return scores.call(q, k, kBlock, kBlock, true, 0.125, kStride, kSampled, 2.0, Optional(), Optional(), 0.0, false); };
    const auto choose = [&](const at::Tensor& mass) { return select.call(mass, rows, rows, kBlock, kBlock, true, 0.125, 1.0, 1, 1, 1, true, Optional(), Optional()); };
    TORCH_CHECK((unfused() - ours()).abs().max().item<double>() < 1e-5, "scores differ from libtorch's");
    const auto label = " 4x" + std::to_string(rows) + "x64";
    const auto mass = ours();
    compare("selection: scores" + label, [&] { unfused(); }, [&] { ours(); });
    compare("selection: dense attention | choice alone" + label, [&] { at::matmul(at::softmax((at::matmul(q, k.transpose(-2, -1)) * 0.125).add_(hidden), -1), v); }, [&] { choose(mass); });
    compare("selection: dense | scores to attention" + label, [&] { at::matmul(at::softmax((at::matmul(q, k.transpose(-2, -1)) * 0.125).add_(hidden), -1), v); }, [&] {
      const auto lists = choose(ours());
      sparse.call(q, k, v, std::get<0>(lists), std::get<1>(lists), kBlock, kBlock, true, 0.125, Optional(), Optional());
    });
  }
}

// Forward and backward, all blocks and every eighth.
void attention_gradients() {
  if (!chosen("gradients")) return;
  const auto sparse = op<std::tuple<at::Tensor, at::Tensor>(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, int64_t, int64_t, bool, c10::optional<double>, const Optional&, const Optional&)>("deepseek::block_sparse_attention");
  for (const int64_t rows : {1024, 2048, 4096}) {
    const auto leaf = [&] { return at::randn({1, 4, rows, 64}).requires_grad_(); };
    const auto q = leaf(), k = leaf(), v = leaf(), dy = at::randn({1, 4, rows, 64});
    const std::vector<at::Tensor> leaves{q, k, v};
    const auto unfused = [&] { return torch::autograd::grad({at::matmul(at::softmax(at::matmul(q, k.transpose(-2, -1)) * 0.125, -1), v)}, leaves, {dy}); };
    for (const int64_t part : {1, 8}) {
      const auto blocks = rows / 64, kept = blocks / part;
      auto index = at::empty({1, 1, blocks, kept}, at::kInt);
      for (int64_t b = 0; b < blocks; b++) {
        for (int64_t i = 0; i < kept; i++) index.data_ptr<int>()[b * kept + i] = static_cast<int>((i * part + b) % blocks);
      }
      const auto count = at::full({1, 1, blocks}, kept, at::kInt);
      const auto ours = [&] { return torch::autograd::grad({std::get<0>(sparse.call(q, k, v, index, count, 64, 64, false, 0.125, Optional(), Optional()))}, leaves, {dy}); };
      if (part == 1) TORCH_CHECK((unfused()[1] - ours()[1]).abs().max().item<double>() < 1e-4, "attention's gradients differ from libtorch's");
      compare("attention gradients 4x" + std::to_string(rows) + "x64 density 1/" + std::to_string(part), [&] { unfused(); }, [&] { ours(); });
    }
  }
}

// 512 queries at the end of a context: the indexer's choice and attention to it, against dense attention.
void token_sparse() {
  if (!chosen("token_sparse")) return;
  using Pair = std::tuple<at::Tensor, at::Tensor>;
  const auto blocks = op<Pair(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, int64_t, int64_t, bool, c10::optional<double>, const Optional&, const Optional&)>("deepseek::block_sparse_attention");
  const auto gather = op<Pair(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, c10::optional<double>)>("deepseek::gather_attention");
  const auto select = op<Pair(const at::Tensor&, const at::Tensor&, const at::Tensor&, int64_t, bool, const Optional&, const Optional&, const Optional&)>("deepseek::indexer_select");
  const auto quantize = op<Pair(const at::Tensor&)>("deepseek::quantize_rows");
  const c10::InferenceMode mode;
  constexpr int64_t kHeads = 16, kKeyHeads = 4, kDim = 64, kIndexHeads = 2, kIndexDim = 64, kQueries = 512;
  const double scale = 0.125;
  for (const int64_t keys : {4096, 8192, 16384}) {
    const auto q = at::randn({1, kHeads, kQueries, kDim}), k = at::randn({1, kKeyHeads, keys, kDim}), v = at::randn({1, kKeyHeads, keys, kDim});
    const auto index_q = at::randn({1, kQueries, kIndexHeads, kIndexDim}), weights = at::rand({1, kQueries, kIndexHeads});
    // The keys' FP8 rows lie in a cache; the queries' are made here.
    const auto [codes, scales] = quantize.call(at::randn({1, keys, kIndexDim}));
    // All query heads of a key head in one product; what is behind the diagonal is hidden by a mask that exists already.
    const auto hidden = at::full({kQueries, keys}, -1e30).triu(keys - kQueries + 1).unsqueeze(0).unsqueeze(2).expand({1, kQueries, 1, keys}).transpose(1, 2);
    const auto unfused = [&] {
      const auto scores = at::matmul(q.view({1, kKeyHeads, kHeads / kKeyHeads * kQueries, kDim}), k.transpose(-2, -1)).view({1, kHeads, kQueries, keys}).mul_(scale).add_(hidden);
      return at::matmul(at::softmax(scores, -1).view({1, kKeyHeads, kHeads / kKeyHeads * kQueries, keys}), v).view({1, kHeads, kQueries, kDim});
    };
    const auto all = at::arange(keys / 64, at::kInt).view({1, 1, 1, keys / 64}).expand({1, 1, kQueries / 64, keys / 64}).contiguous();
    const auto count = at::full({1, 1, kQueries / 64}, keys / 64, at::kInt);
    const auto tiled = [&] { return std::get<0>(blocks.call(q, k, v, all, count, 64, 64, true, scale, Optional(), Optional())); };
    TORCH_CHECK((unfused() - tiled()).abs().max().item<double>() < 1e-5, "dense attention differs from libtorch's");
    const auto everything = at::arange(keys, at::kInt).view({1, 1, keys}).expand({1, kQueries, keys}).contiguous(), seen = at::arange(keys - kQueries + 1, keys + 1, at::kInt).unsqueeze(0);
    TORCH_CHECK((unfused() - std::get<0>(gather.call(q, k, v, everything, seen, scale))).abs().max().item<double>() < 1e-5, "attention to all keys differs from libtorch's");
    for (const int64_t most : {512, 1024, 2048}) {
      const auto choose = [&] {
        const auto [rows, units] = quantize.call(index_q);
        return select.call(rows, codes, weights, most, true, units, scales, Optional());
      };
      const auto lists = choose();
      const auto attend = [&] { gather.call(q, k, v, std::get<0>(lists), std::get<1>(lists), scale); };
      const auto whole = [&] {
        const auto [index, entries] = choose();
        gather.call(q, k, v, index, entries, scale);
      };
      const std::string label = " " + std::to_string(keys) + " top " + std::to_string(most);
      if (most == 2048) compare("token_sparse against unfused" + label, [&] { unfused(); }, whole);
      compare("token_sparse against all blocks" + label, [&] { tiled(); }, whole);
      compare("token_sparse selection | attention" + label, [&] { choose(); }, attend);
    }
  }
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 2 || dlopen(arguments[1], RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    std::fprintf(stderr, "kernels <libdeepseek.so> [case] [rounds]\n%s\n", count < 2 ? "" : dlerror());
    return 2;
  }
  at::set_num_threads(static_cast<int>(std::thread::hardware_concurrency()));
  if (count > 2) wanted = arguments[2];
  if (count > 3) rounds = std::atoi(arguments[3]);
  std::printf("%d threads, %d rounds; milliseconds: median [p10, p90]\n%-44s %-30s %-30s ratio\n", at::get_num_threads(), rounds, "", "unfused libtorch", "ours");
  fused_norm();
  topk();
  attention();
  selection();
  attention_gradients();
  token_sparse();
}
