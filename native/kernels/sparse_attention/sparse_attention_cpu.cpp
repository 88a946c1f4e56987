// Tiles of 64 queries by 64 keys with a running softmax (Dao et al., arXiv 2205.14135): memory grows with the rows, not with
// their product. Keys that are seen are laid out once per head in float32, transposed, and values where they are not what the loop takes,
// so that every product is the same small loop: four rows of one factor, broadcast, times vectors of the other. The backward pass computes a tile's
// probabilities again from lse and uses them for all three gradients; one thread owns a key head, so results repeat.
// A few queries (tokens that are being generated) read the rows of their blocks where these lie, once.
#include "sparse_attention/sparse_attention_cpu.h"

#include "common/dots.h"
#include "common/product.h"
#include "common/row.h"

#include <cmath>
#include <type_traits>
#include <vector>

namespace deepseek {
namespace DS_ISA {
namespace {

constexpr int64_t kTile = 64;

int64_t tiles(int64_t rows) { return (rows + kTile - 1) / kTile; }

template <class T>
const T* row_of(const AttentionTensor& t, int64_t b, int64_t h, int64_t r) { return static_cast<const T*>(t.data) + b * t.batch_stride + h * t.head_stride + r * t.row_stride; }

// Rows first … first + 63 as floats, those from `last` on zero.
template <class T>
void read_rows(const AttentionTensor& t, int64_t b, int64_t h, int64_t first, int64_t last, int64_t dim, int64_t width, float* to) {
  for (int64_t r = 0; r < kTile; r++) {
    float* row = to + r * width;
    if (first + r >= last) {
      std::memset(row, 0, static_cast<size_t>(width) * sizeof(float));
      continue;
    }
    const T* from = row_of<T>(t, b, h, first + r);
    for (int64_t c = 0; c < width; c += kWidth) store(row + c, load_part(from + c, dim - c));
  }
}

template <class T>
void write_rows(const AttentionTensor& t, int64_t b, int64_t h, int64_t first, int64_t last, int64_t dim, int64_t width, const float* from) {
  for (int64_t r = 0; r < kTile && first + r < last; r++) {
    T* row = const_cast<T*>(row_of<T>(t, b, h, first + r));
    for (int64_t c = 0; c < dim; c += kWidth) store_part(row + c, load(from + r * width + c), dim - c);
  }
}

void transpose(const float* from, int64_t width, int64_t dim, float* to) {
  for (int64_t r = 0; r < kTile; r++) {
    for (int64_t c = 0; c < dim; c++) to[c * kTile + r] = from[r * width + c];
  }
}

struct Sizes {
  const SparseAttentionParams& p;
  int64_t width, q_tiles, k_tiles;  // of the padded rows; tiles of 64 rows

  explicit Sizes(const SparseAttentionParams& params) : p(params), width((params.dim + kWidth - 1) / kWidth * kWidth), q_tiles(tiles(params.queries)), k_tiles(tiles(params.keys)) {}
  int64_t q_length(int64_t b) const { return p.q_lengths != nullptr ? p.q_lengths[b] : p.queries; }
  int64_t k_length(int64_t b) const { return p.k_lengths != nullptr ? p.k_lengths[b] : p.keys; }

  // Calls body(key tile, first key, last key, all) for every tile of keys that rows [first, last) may see in part.
  template <class Body>
  void for_key_tiles(int64_t b, int64_t h, int64_t first, int64_t last, Body&& body) const {
    const int64_t list = (b * p.index_heads + h / (p.heads / p.index_heads)) * p.query_blocks + first / p.block_q;
    const int64_t length = k_length(b), shift = length - q_length(b);
    for (int64_t i = 0; i < p.block_count[list]; i++) {
      const int64_t block = p.block_index[list * p.max_blocks + i];
      if (block < 0 || block >= p.key_blocks) continue;
      int64_t begin = block * p.block_k, end = begin + p.block_k < length ? begin + p.block_k : length;
      if (p.causal != 0 && end > last + shift) end = last + shift;
      for (int64_t tile = begin / kTile; begin < end && tile * kTile < end; tile++) {
        const int64_t low = begin > tile * kTile ? begin : tile * kTile, high = end < (tile + 1) * kTile ? end : (tile + 1) * kTile;
        body(tile, low, high);
      }
    }
  }
};

// Scores of a tile, with −∞ where a query does not see a key.
void mask(const Sizes& s, int64_t b, int64_t first, int64_t rows, int64_t tile, int64_t low, int64_t high, float* scores) {
  const int64_t shift = s.k_length(b) - s.q_length(b), start = tile * kTile;
  for (int64_t r = 0; r < rows; r++) {
    int64_t end = high;
    if (s.p.causal != 0 && first + r + shift + 1 < end) end = first + r + shift + 1;
    float* row = scores + r * kTile;
    for (int64_t c = 0; c < low - start; c++) row[c] = -__builtin_inff();
    for (int64_t c = end > start ? end - start : 0; c < kTile; c++) row[c] = -__builtin_inff();
  }
}

// One row of scores joins the running softmax: probabilities relative to the new greatest in place of the scores.
void join(float* row, float scale, float& greatest, float& total, float* out, int64_t width) {
  vf top = load(row);
  for (int64_t c = kWidth; c < kTile; c += kWidth) top = vmax(top, load(row + c));
  const float before = greatest, here = highest(top) * scale;
  if (here > greatest) greatest = here;
  if (greatest == -__builtin_inff()) {
    for (int64_t c = 0; c < kTile; c += kWidth) store(row + c, vf{});
    return;
  }
  const vf shift = broadcast(greatest);
  vf sums{};
  for (int64_t c = 0; c < kTile; c += kWidth) {
    const vf probability = exp(load(row + c) * scale - shift);
    store(row + c, probability);
    sums += probability;
  }
  if (greatest != before) {
    const float factor = before == -__builtin_inff() ? 0.0f : std::exp(before - greatest);
    total *= factor;
    for (int64_t c = 0; c < width; c += kWidth) store(out + c, load(out + c) * factor);
  }
  total += sum(sums);
}

// The running softmax of rows [first, last) comes to its end; rows up to `end` that do not exist become 0.
void finish(const Sizes& s, int64_t b, int64_t h, int64_t first, int64_t last, int64_t end, const float* greatest, const float* total, float* out) {
  for (int64_t r = 0; first + r < end; r++) {
    const bool seen = total[r] > 0 && first + r < last;
    const float factor = seen ? 1.0f / total[r] : 0.0f;
    // A NaN among the inputs makes the sum NaN, and must be seen.
    const float kept = total[r] == total[r] ? factor : total[r];
    for (int64_t c = 0; c < s.width; c += kWidth) store(out + r * s.width + c, load(out + r * s.width + c) * kept);
    s.p.lse[(b * s.p.heads + h) * s.p.queries + first + r] = seen ? greatest[r] + std::log(total[r]) : -__builtin_inff();
  }
}

constexpr int64_t kFew = 4;

// The keys [low, high) of a tile, for R queries of which `rows` exist.
template <int R, class T>
void join_tile(const Sizes& s, int64_t b, int64_t kv, int64_t first, int64_t rows, int64_t tile, int64_t low, int64_t high, const float* q, float* greatest, float* total, float* out) {
  float scores[R * kTile], results[kResults], weights[R * kTile];
  constexpr int64_t kOthers = kResults / R;
  for (int64_t key = low; key < high; key += kOthers) {
    const T* keys[kOthers];
    for (int64_t j = 0; j < kOthers; j++) keys[j] = row_of<T>(s.p.k, b, kv, key + j < high ? key + j : high - 1);
    dots<R>(q, s.width, keys, s.p.dim, results);
    for (int64_t j = 0; j < kOthers && key + j < high; j++) {
      for (int64_t r = 0; r < R; r++) scores[r * kTile + key - tile * kTile + j] = results[j * R + r];
    }
  }
  mask(s, b, first, R, tile, low, high, scores);
  for (int64_t r = 0; r < R; r++) {
    if (r < rows) join(scores + r * kTile, s.p.scale, greatest[r], total[r], out + r * s.width, s.width);
    for (int64_t j = 0; j < high - low; j++) weights[j * R + r] = r < rows ? scores[r * kTile + low - tile * kTile + j] : 0.0f;
  }
  add_weighted<R, T>(weights, high - low, s.p.dim, out, s.width, [&](int64_t j) { return row_of<T>(s.p.v, b, kv, low + j); });
}

template <class T>
void forward_few(const SparseAttentionParams& p) {
  const Sizes s(p);
  cpu::parallel_for(p.batch * p.heads * p.query_blocks, 1, [&](int64_t from, int64_t to) {
    const auto q = floats(kFew * s.width), out = floats(kFew * s.width);
    for (int64_t i = from; i < to; i++) {
      const int64_t first = i % p.query_blocks * p.block_q, h = i / p.query_blocks % p.heads, b = i / p.query_blocks / p.heads, kv = h / (p.heads / p.kv_heads);
      const int64_t end = first + p.block_q < p.queries ? first + p.block_q : p.queries, last = end < s.q_length(b) ? end : s.q_length(b), rows = last > first ? last - first : 0;
      float greatest[kFew], total[kFew] = {};
      for (float& value : greatest) value = -__builtin_inff();
      std::memset(q.get(), 0, static_cast<size_t>(kFew * s.width) * sizeof(float));
      std::memset(out.get(), 0, static_cast<size_t>(kFew * s.width) * sizeof(float));
      for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < s.width; c += kWidth) store(q.get() + r * s.width + c, load_part(row_of<T>(p.q, b, h, first + r) + c, p.dim - c));
      }
      const auto at_once = rows_at_once(rows);
      const auto join_tile_of = at_once == 4 ? join_tile<4, T> : at_once == 2 ? join_tile<2, T> : join_tile<1, T>;
      if (rows > 0) s.for_key_tiles(b, h, first, last, [&](int64_t tile, int64_t low, int64_t high) { join_tile_of(s, b, kv, first, rows, tile, low, high, q.get(), greatest, total, out.get()); });
      finish(s, b, h, first, last, end, greatest, total, out.get());
      write_rows<T>(p.out, b, h, first, end, p.dim, s.width, out.get());
    }
  });
}

// Tiles of keys that a query of their head may see, numbered as [batch, kv_heads, tiles].
std::vector<int64_t> used_tiles(const Sizes& s) {
  const auto& p = s.p;
  std::vector<uint8_t> flags(static_cast<size_t>(p.batch * p.kv_heads * s.k_tiles));
  for (int64_t i = 0; i < p.batch * p.heads * p.query_blocks; i++) {
    const int64_t first = i % p.query_blocks * p.block_q, h = i / p.query_blocks % p.heads, b = i / p.query_blocks / p.heads;
    const int64_t end = first + p.block_q < p.queries ? first + p.block_q : p.queries, last = end < s.q_length(b) ? end : s.q_length(b);
    uint8_t* of_head = flags.data() + (b * p.kv_heads + h / (p.heads / p.kv_heads)) * s.k_tiles;
    if (first < last) s.for_key_tiles(b, h, first, last, [&](int64_t tile, int64_t, int64_t) { of_head[tile] = 1; });
  }
  std::vector<int64_t> used;
  for (size_t i = 0; i < flags.size(); i++) {
    if (flags[i] != 0) used.push_back(static_cast<int64_t>(i));
  }
  return used;
}

template <class T>
void forward(const SparseAttentionParams& p) {
  if (p.queries <= kFew) return forward_few<T>(p);
  const Sizes s(p);
  const int64_t group = p.heads / p.kv_heads, transposed = p.dim * kTile, natural = s.width * kTile;
  // Values that are what the products take stay where they are, but for a tile that ends behind the last key.
  const bool in_place = std::is_same_v<T, float> && s.width == p.dim;
  const auto keys = floats(p.batch * p.kv_heads * s.k_tiles * transposed), values = floats(p.batch * p.kv_heads * (in_place ? 1 : s.k_tiles) * natural);
  const auto used = used_tiles(s);
  cpu::parallel_for(static_cast<int64_t>(used.size()), 1, [&](int64_t from, int64_t to) {
    const auto rows = floats(natural);
    for (int64_t at = from; at < to; at++) {
      const int64_t i = used[static_cast<size_t>(at)], tile = i % s.k_tiles, h = i / s.k_tiles % p.kv_heads, b = i / s.k_tiles / p.kv_heads;
      read_rows<T>(p.k, b, h, tile * kTile, s.k_length(b), p.dim, s.width, rows.get());
      transpose(rows.get(), s.width, p.dim, keys.get() + i * transposed);
      if (in_place && (tile + 1) * kTile <= s.k_length(b)) continue;
      read_rows<T>(p.v, b, h, tile * kTile, s.k_length(b), p.dim, s.width, values.get() + (in_place ? i / s.k_tiles : i) * natural);
    }
  });
  const auto add_values = [&](const float* weights, int64_t rows, int64_t b, int64_t kv, int64_t tile, float* out) {
    const float* from = values.get() + (in_place ? b * p.kv_heads + kv : (b * p.kv_heads + kv) * s.k_tiles + tile) * natural;
    int64_t stride = s.width;
    if constexpr (std::is_same_v<T, float>) {
      if (in_place && (tile + 1) * kTile <= s.k_length(b)) from = row_of<float>(p.v, b, kv, tile * kTile), stride = p.v.row_stride;
    }
    multiply(rows, s.width, kTile, weights, kTile, 1, from, stride, out, s.width, true);
  };
  // Within a block of queries, tiles start at its first row.
  const int64_t per_block = tiles(p.block_q);
  cpu::parallel_for(p.batch * p.heads * p.query_blocks * per_block, 1, [&](int64_t from, int64_t to) {
    const auto q = floats(natural), out = floats(natural), scores = floats(kTile * kTile);
    float greatest[kTile], total[kTile];
    for (int64_t i = from; i < to; i++) {
      const int64_t block = i / per_block % p.query_blocks, h = i / per_block / p.query_blocks % p.heads, b = i / per_block / p.query_blocks / p.heads;
      const int64_t first = block * p.block_q + i % per_block * kTile, of_block = (block + 1) * p.block_q < p.queries ? (block + 1) * p.block_q : p.queries;
      const int64_t end = first + kTile < of_block ? first + kTile : of_block;
      if (first >= end) continue;
      const int64_t last = end < s.q_length(b) ? end : s.q_length(b), rows = last > first ? (last - first + 3) / 4 * 4 : 0, kv = h / group, head = (b * p.kv_heads + kv) * s.k_tiles;
      read_rows<T>(p.q, b, h, first, last, p.dim, s.width, q.get());
      std::memset(out.get(), 0, static_cast<size_t>(natural) * sizeof(float));
      for (int64_t r = 0; r < kTile; r++) {
        greatest[r] = -__builtin_inff();
        total[r] = 0;
      }
      if (rows > 0) {
        s.for_key_tiles(b, h, first, last, [&](int64_t tile, int64_t low, int64_t high) {
          multiply(rows, kTile, p.dim, q.get(), s.width, 1, keys.get() + (head + tile) * transposed, kTile, scores.get(), kTile, false);
          mask(s, b, first, rows, tile, low, high, scores.get());
          for (int64_t r = 0; r < rows; r++) join(scores.get() + r * kTile, p.scale, greatest[r], total[r], out.get() + r * s.width, s.width);
          add_values(scores.get(), rows, b, kv, tile, out.get());
        });
      }
      finish(s, b, h, first, last, end, greatest, total, out.get());
      write_rows<T>(p.out, b, h, first, end, p.dim, s.width, out.get());
    }
  });
}

template <class T>
void backward(const SparseAttentionParams& p) {
  const Sizes s(p);
  const int64_t group = p.heads / p.kv_heads, transposed = p.dim * kTile, natural = s.width * kTile;
  cpu::parallel_for(p.batch * p.kv_heads, 1, [&](int64_t from, int64_t to) {
    const auto keys = floats(s.k_tiles * natural), keys_t = floats(s.k_tiles * transposed), values_t = floats(s.k_tiles * transposed);
    const auto grad_k = floats(s.k_tiles * natural), grad_v = floats(s.k_tiles * natural);
    const auto q = floats(natural), out = floats(natural), grad_out = floats(natural), grad_q = floats(natural), probabilities = floats(kTile * kTile), slopes = floats(kTile * kTile);
    for (int64_t unit = from; unit < to; unit++) {
      const int64_t b = unit / p.kv_heads, kv = unit % p.kv_heads;
      for (int64_t tile = 0; tile < s.k_tiles; tile++) {
        read_rows<T>(p.v, b, kv, tile * kTile, s.k_length(b), p.dim, s.width, keys.get() + tile * natural);
        transpose(keys.get() + tile * natural, s.width, p.dim, values_t.get() + tile * transposed);
        read_rows<T>(p.k, b, kv, tile * kTile, s.k_length(b), p.dim, s.width, keys.get() + tile * natural);
        transpose(keys.get() + tile * natural, s.width, p.dim, keys_t.get() + tile * transposed);
      }
      std::memset(grad_k.get(), 0, static_cast<size_t>(s.k_tiles * natural) * sizeof(float));
      std::memset(grad_v.get(), 0, static_cast<size_t>(s.k_tiles * natural) * sizeof(float));
      for (int64_t h = kv * group; h < (kv + 1) * group; h++) {
        for (int64_t block = 0; block < p.query_blocks; block++) {
          const int64_t of_block = (block + 1) * p.block_q < p.queries ? (block + 1) * p.block_q : p.queries;
          for (int64_t first = block * p.block_q; first < of_block; first += kTile) {
            const int64_t end = first + kTile < of_block ? first + kTile : of_block, last = end < s.q_length(b) ? end : s.q_length(b);
            const int64_t rows = last > first ? (last - first + 3) / 4 * 4 : 0;
            std::memset(grad_q.get(), 0, static_cast<size_t>(natural) * sizeof(float));
            if (rows > 0) {
              read_rows<T>(p.q, b, h, first, last, p.dim, s.width, q.get());
              read_rows<T>(p.out, b, h, first, last, p.dim, s.width, out.get());
              read_rows<T>(p.grad_out, b, h, first, last, p.dim, s.width, grad_out.get());
              float delta[kTile], lse[kTile];
              for (int64_t r = 0; r < rows; r++) {
                vf products{};
                for (int64_t c = 0; c < s.width; c += kWidth) products += load(out.get() + r * s.width + c) * load(grad_out.get() + r * s.width + c);
                delta[r] = sum(products);
                lse[r] = first + r < last ? p.lse[(b * p.heads + h) * p.queries + first + r] : -__builtin_inff();
              }
              s.for_key_tiles(b, h, first, last, [&](int64_t tile, int64_t low, int64_t high) {
                multiply(rows, kTile, p.dim, q.get(), s.width, 1, keys_t.get() + tile * transposed, kTile, probabilities.get(), kTile, false);
                mask(s, b, first, rows, tile, low, high, probabilities.get());
                multiply(rows, kTile, p.dim, grad_out.get(), s.width, 1, values_t.get() + tile * transposed, kTile, slopes.get(), kTile, false);
                for (int64_t r = 0; r < rows; r++) {
                  float *probability = probabilities.get() + r * kTile, *slope = slopes.get() + r * kTile;
                  const bool seen = lse[r] != -__builtin_inff();
                  for (int64_t c = 0; c < kTile; c += kWidth) {
                    const vf share = seen ? exp(load(probability + c) * p.scale - lse[r]) : vf{};
                    store(probability + c, share);
                    store(slope + c, share * (load(slope + c) - delta[r]) * p.scale);
                  }
                }
                multiply(rows, s.width, kTile, slopes.get(), kTile, 1, keys.get() + tile * natural, s.width, grad_q.get(), s.width, true);
                multiply(kTile, s.width, rows, slopes.get(), 1, kTile, q.get(), s.width, grad_k.get() + tile * natural, s.width, true);
                multiply(kTile, s.width, rows, probabilities.get(), 1, kTile, grad_out.get(), s.width, grad_v.get() + tile * natural, s.width, true);
              });
            }
            write_rows<T>(p.grad_q, b, h, first, end, p.dim, s.width, grad_q.get());
          }
        }
      }
      for (int64_t tile = 0; tile < s.k_tiles; tile++) {
        write_rows<T>(p.grad_k, b, kv, tile * kTile, p.keys, p.dim, s.width, grad_k.get() + tile * natural);
        write_rows<T>(p.grad_v, b, kv, tile * kTile, p.keys, p.dim, s.width, grad_v.get() + tile * natural);
      }
    }
  });
}

}  // namespace

void sparse_attention_forward(const SparseAttentionParams& p) {
  if (p.type == kBFloat16) return forward<bf16>(p);
  if (p.type == kFloat16) return forward<f16>(p);
  forward<float>(p);
}

void sparse_attention_backward(const SparseAttentionParams& p) {
  if (p.type == kBFloat16) return backward<bf16>(p);
  if (p.type == kFloat16) return backward<f16>(p);
  backward<float>(p);
}

}  // namespace DS_ISA
}  // namespace deepseek
