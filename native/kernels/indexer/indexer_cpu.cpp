// A block of queries meets a tile of 64 keys at a time, decoded to float32 once for all of them. Where a selection follows,
// only the block's logits exist: they go through the exact selection of kernels/topk and are overwritten by the next block's.
#include "indexer/indexer.h"

#include "common/dots.h"
#include "common/fp8.h"
#include "common/fp8_row.h"
#include "gather_attention/list_row.h"
#include "topk/topk_row.h"

namespace deepseek {
namespace DS_ISA {
namespace {

constexpr int64_t kTile = 64;

struct Sizes {
  int64_t rows, width, block, blocks;  // heads with made-up ones; of padded rows; queries of a block; blocks of a sequence

  explicit Sizes(const IndexerParams& p)
      : rows(p.heads <= 2 ? p.heads : (p.heads + 3) / 4 * 4), width((p.dim + kWidth - 1) / kWidth * kWidth) {
    // The block's queries take 64 KB at most.
    block = 16384 / (rows * width);
    block = block < 1 ? 1 : block > 16 ? 16 : block;
    blocks = (p.queries + block - 1) / block;
  }
};

template <class T>
void decode(const T* from, int64_t dim, int64_t width, float* to) {
  for (int64_t c = 0; c < width; c += kWidth) store(to + c, load_part(from + c, dim - c));
}

// logits[j] = Σ_h weight · ReLU(q_h · key_j) for `count` keys of a tile. R heads at a time; parts[j·R + r] sums over every R-th head.
template <int R>
void tile_logits(const Sizes& s, const float* q, const float* weights, const float* tile, int64_t count, int64_t dim, float* logits) {
  constexpr int64_t kOthers = kResults / R;
  alignas(64) float parts[kTile * R] = {};
  for (int64_t h = 0; h < s.rows; h += R) {
    const vf weight = lanes<R>(weights + h);
    for (int64_t j = 0; j < count; j += kOthers) {
      const float* others[kOthers];
      for (int64_t i = 0; i < kOthers; i++) others[i] = tile + (j + i) * s.width;
      alignas(64) float results[kResults];
      dots<R>(q + h * s.width, s.width, others, dim, results);
      for (int64_t i = 0; i < kResults; i += kWidth) {
        const vf x = load(results + i);
        store(parts + j * R + i, load(parts + j * R + i) + weight * select(x < vf{}, vf{}, x));
      }
    }
  }
  for (int64_t j = 0; j < count; j++) {
    float total = parts[j * R];
    for (int r = 1; r < R; r++) total += parts[j * R + r];
    logits[j] = total;
  }
}

struct Choice {
  Order order{true};
  Workspace work;
  Choice(int64_t keys, int64_t k) : work(keys, k < keys ? k : keys) {}

  // The first `seen` keys' greatest logits; all keys where there are no more than wanted.
  void list(const IndexerParams& p, int64_t row, const float* logits, int64_t seen) {
    int32_t* index = p.index + row * p.select;
    const int64_t n = seen < p.select ? seen : p.select;
    if (n < seen) {
      choose_row(logits, seen, n, order, work);
      for (int64_t i = 0; i < n; i++) index[i] = static_cast<int32_t>(work.first[i].index);
    } else {
      for (int64_t i = 0; i < n; i++) index[i] = static_cast<int32_t>(i);
    }
    for (int64_t i = n; i < p.select; i++) index[i] = static_cast<int32_t>(p.keys);
    p.count[row] = static_cast<int32_t>(n);
  }
};

template <class T>
void run(const IndexerParams& p) {
  const Sizes s(p);
  const bool selects = p.logits == nullptr;
  const int64_t columns = selects ? (p.keys + kTile - 1) / kTile * kTile : p.keys;
  cpu::parallel_for(p.batch * s.blocks, 1, [&](int64_t from, int64_t to) {
    const auto queries = room(s.block * s.rows * s.width), weights = room(s.block * s.rows), tile = room(kTile * s.width), held = room(selects ? s.block * columns : 0);
    Choice choice(selects ? p.keys : 0, selects ? p.select : 0);
    for (int64_t unit = from; unit < to; unit++) {
      // Late queries see more keys than early ones: a thread's stretch of blocks holds both.
      const int64_t i = unit % s.blocks, b = unit / s.blocks, block = i % 2 == 0 ? i / 2 : s.blocks - 1 - i / 2;
      const int64_t first = block * s.block, last = first + s.block < p.queries ? first + s.block : p.queries;
      float* logits = selects ? held.get() : p.logits + (b * p.queries + first) * columns;
      for (int64_t t = first; t < last; t++) {
        for (int64_t h = 0; h < p.heads; h++) {
          decode(static_cast<const T*>(p.q) + ((b * p.queries + t) * p.heads + h) * p.dim, p.dim, s.width, queries.get() + ((t - first) * s.rows + h) * s.width);
          weights[static_cast<size_t>((t - first) * s.rows + h)] = p.weights[(b * p.queries + t) * p.heads + h];
        }
      }
      const int64_t most = indexer_seen(p, b, last - 1);
      // Queries whose keys are all chosen need no logits; they come before the others.
      int64_t begin = first;
      while (selects && begin < last && indexer_seen(p, b, begin) <= p.select) begin++;
      for (int64_t start = 0; start < most && begin < last; start += kTile) {
        const int64_t end = start + kTile < most ? start + kTile : most;
        for (int64_t j = start; j < end; j++) decode(static_cast<const T*>(p.k) + b * p.k_batch_stride + j * p.k_row_stride, p.dim, s.width, tile.get() + (j - start) * s.width);
        for (int64_t t = begin; t < last; t++) {
          const int64_t seen = indexer_seen(p, b, t), count = (seen < end ? seen : end) - start;
          if (count <= 0) continue;
          const float *q = queries.get() + (t - first) * s.rows * s.width, *w = weights.get() + (t - first) * s.rows;
          float* row = logits + (t - first) * columns + start;
          if (s.rows == 1) {
            tile_logits<1>(s, q, w, tile.get(), count, p.dim, row);
          } else if (s.rows == 2) {
            tile_logits<2>(s, q, w, tile.get(), count, p.dim, row);
          } else {
            tile_logits<4>(s, q, w, tile.get(), count, p.dim, row);
          }
          if (p.k_scale == nullptr) continue;
          const float* scale = p.k_scale + b * p.k_scale_stride + start;
          for (int64_t j = 0; j < count; j++) row[j] *= scale[j];
        }
      }
      for (int64_t t = first; t < last; t++) {
        const int64_t seen = indexer_seen(p, b, t);
        float* row = logits + (t - first) * columns;
        if (selects) {
          choice.list(p, b * p.queries + t, row, seen);
        } else {
          for (int64_t j = seen; j < p.keys; j++) row[j] = -__builtin_inff();
        }
      }
    }
  });
}

}  // namespace

void indexer(const IndexerParams& p) {
  if (p.type == kE4m3) return run<e4m3>(p);
  if (p.type == kBFloat16) return run<bf16>(p);
  if (p.type == kFloat16) return run<f16>(p);
  run<float>(p);
}

void quantize_e4m3(const float* x, int64_t rows, int64_t dim, uint8_t* codes, float* scale) {
  cpu::parallel_for(rows, row_grain(dim), [&](int64_t from, int64_t to) {
    for (int64_t r = from; r < to; r++) {
      float greatest = 0;
      for (int64_t c = 0; c < dim; c++) greatest = std::fabs(x[r * dim + c]) > greatest ? std::fabs(x[r * dim + c]) : greatest;
      scale[r] = greatest > 0 ? greatest / kE4m3Greatest : 1.0f;
      for (int64_t c = 0; c < dim; c++) codes[r * dim + c] = fp8_encode<E4M3>(x[r * dim + c] / scale[r]);
    }
  });
}

}  // namespace DS_ISA
}  // namespace deepseek
