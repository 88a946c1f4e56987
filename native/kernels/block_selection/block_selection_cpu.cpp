// One unit of work is a block of queries of one head: the rows that stand for it, against tiles of 64 key groups, which lie transposed. Of a
// row and a key block one sum of exponentials is kept, with the greatest score that it was taken at; no scores lie in memory. Where so few
// rows stand for the queries that laying the keys out would cost more, they are multiplied with the keys where these lie.
#include "block_selection/block_selection_cpu.h"

#include "common/dots.h"
#include "common/product.h"
#include "common/row.h"
#include "common/types.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

namespace deepseek {
namespace DS_ISA {
namespace {

constexpr int64_t kTile = 64;
constexpr float kNone = -__builtin_inff();

struct Rows {  // of one sequence
  int64_t queries, keys;
};

int64_t limited(const int32_t* lengths, int64_t b, int64_t rows, int64_t pool) {
  if (lengths == nullptr) return rows;
  return lengths[b] < 0 ? 0 : std::min<int64_t>(lengths[b] / pool, rows);
}

template <class Params>
Rows rows_of(const Params& p, int64_t b, int64_t pool = 1) { return {limited(p.q_lengths, b, p.queries, pool), limited(p.k_lengths, b, p.keys, pool)}; }

// A group of `depth` rows, from the first (step 1) or the last (step -1), as one row of floats.
template <class T>
void gather(const T* row, int64_t stride, int64_t step, int64_t depth, int64_t dim, float* to) {
  for (int64_t d = 0; d < depth; d++, row += step * stride, to += dim) {
    for (int64_t c = 0; c < dim; c += kWidth) {
      const vf part = load_part(row + c, dim - c);
      if (dim - c >= kWidth) store(to + c, part);
      else store_some(to + c, part, dim - c);
    }
  }
}

// The mean of `count` rows, as it would be stored.
template <class T>
void mean(const T* row, int64_t stride, int64_t count, int64_t dim, float* to) {
  for (int64_t c = 0; c < dim; c += kWidth) {
    vf total{};
    for (int64_t r = 0; r < count; r++) total += load_part(row + r * stride + c, dim - c);
    const vf part = rounded<T>(total / static_cast<float>(count));
    if (dim - c >= kWidth) store(to + c, part);
    else store_some(to + c, part, dim - c);
  }
}

// Sums of exponentials of one row, by key blocks.
struct Sums {
  std::vector<float> sum, at;
  float greatest = kNone;

  explicit Sums(int64_t blocks) : sum(static_cast<size_t>(blocks)), at(static_cast<size_t>(blocks)) {}

  void clear() {
    std::fill(sum.begin(), sum.end(), 0.0f);
    std::fill(at.begin(), at.end(), kNone);
    greatest = kNone;
  }

  // Scores of the groups [first, first + 64), of which those from `end` on are hidden; `each` groups are a block.
  void join(float* row, float scale, int64_t first, int64_t end, int64_t each) {
    const int64_t seen = end - first < kTile ? end - first : kTile;
    for (int64_t c = seen; c < kTile; c++) row[c] = kNone;
    vf top = load(row);
    for (int64_t c = kWidth; c < kTile; c += kWidth) top = vmax(top, load(row + c));
    const float here = highest(top) * scale;
    if (here > greatest) greatest = here;
    const vf shift = broadcast(greatest == kNone ? 0.0f : greatest);
    vf all{};
    for (int64_t c = 0; c < kTile; c += kWidth) {
      const vf part = exp(load(row + c) * scale - shift);
      store(row + c, part);
      all += part;
    }
    const int64_t only = first / each;
    if ((only + 1) * each >= end || (only + 1) * each >= first + kTile) return add(only, deepseek::DS_ISA::sum(all));
    for (int64_t c = 0; c < seen;) {
      const int64_t block = (first + c) / each, last = (block + 1) * each - first < seen ? (block + 1) * each - first : seen;
      vf sums{};
      float total = 0;
      for (; c + kWidth <= last; c += kWidth) sums += load(row + c);
      for (; c < last; c++) total += row[c];
      add(block, total + deepseek::DS_ISA::sum(sums));
    }
  }

  // Exponentials of scores less the greatest one.
  void add(int64_t block, float total) {
    const auto b = static_cast<size_t>(block);
    sum[b] = at[b] == kNone || at[b] == greatest ? sum[b] + total : sum[b] * std::exp(at[b] - greatest) + total;
    at[b] = greatest;
  }

  // Turns the sums of the first blocks into shares of the whole.
  void share(int64_t blocks) {
    float total = 0;
    for (int64_t b = 0; b < blocks; b++) {
      const auto i = static_cast<size_t>(b);
      if (at[i] != kNone && at[i] != greatest) sum[i] *= std::exp(at[i] - greatest);
      total += sum[i];
    }
    for (int64_t b = 0; b < blocks && total != 0; b++) sum[static_cast<size_t>(b)] /= total;
  }
};

template <class T>
class Scores {
 public:
  explicit Scores(const BlockScoresParams& params)
      : p(params), features(p.depth * p.dim), width((features + kWidth - 1) / kWidth * kWidth), key_tiles((p.key_groups + kTile - 1) / kTile), group(p.heads / p.kv_heads), of_block(p.block_q / p.q_step) {}

  void run() const {
    if (p.query_groups == 0 || p.key_groups == 0) {
      std::fill(p.mass, p.mass + p.batch * p.heads * p.query_blocks * p.key_blocks, 0.0f);
      return;
    }
    const bool direct = few();
    const Matrix products = direct ? multiplied() : nullptr, keys = direct ? nullptr : laid_out();
    cpu::parallel_for(p.batch * p.heads * p.query_blocks, 1, [&](int64_t from, int64_t to) {
      const int64_t padded_rows = direct ? 0 : (of_block + 3) / 4 * 4;
      const auto q = floats(padded_rows * features), row = floats(padded_rows * kTile);
      std::vector<Sums> sums(static_cast<size_t>(std::min(of_block, p.query_groups)), Sums(p.key_blocks));
      for (int64_t i = from; i < to; i++) score(i, keys.get(), products.get(), q.get(), row.get(), sums);
    });
  }

 private:
  const BlockScoresParams& p;
  const int64_t features, width, key_tiles, group, of_block;

  const T* keys_of(int64_t b, int64_t kv) const { return static_cast<const T*>(p.k) + b * p.k_batch_stride + kv * p.k_head_stride; }

  // Groups of a sequence.
  Rows groups(const Rows& rows) const { return {(rows.queries + (p.short_group != 0 ? p.q_step - 1 : 0)) / p.q_step, rows.keys / p.k_step}; }

  // A group of queries as one row of floats.
  void read_query(int64_t b, int64_t h, int64_t g, const Rows& rows, float* to) const {
    const T* source = static_cast<const T*>(p.q) + b * p.q_batch_stride + h * p.q_head_stride;
    if (p.pool > 1) return mean(source + g * p.q_group_stride, p.q_row_stride, p.pool, p.dim, to);
    // Of samples, the last query that exists.
    const int64_t last = p.short_group != 0 ? std::max<int64_t>(std::min((g + 1) * p.q_step, rows.queries) - 1 - p.lead, 0) * p.q_row_stride : g * p.q_group_stride + (p.depth - 1) * p.q_row_stride;
    gather(source + last, p.q_row_stride, -1, p.depth, p.dim, to);
  }

  // All keys in tiles of 64 groups, [batch, kv_heads, tiles, features, 64]; groups that do not exist are zero.
  Matrix laid_out() const {
    const int64_t tile_size = features * kTile;
    auto keys = floats(p.batch * p.kv_heads * key_tiles * tile_size);
    cpu::parallel_for(p.batch * p.kv_heads * key_tiles, 1, [&](int64_t from, int64_t to) {
      std::vector<float> row(static_cast<size_t>(features));
      for (int64_t i = from; i < to; i++) {
        const int64_t tile = i % key_tiles, h = i / key_tiles % p.kv_heads, b = i / key_tiles / p.kv_heads, there = groups(rows_of(p, b, p.pool)).keys;
        float* target = keys.get() + i * tile_size;
        for (int64_t c = 0; c < kTile; c++) {
          const int64_t g = tile * kTile + c;
          if (g >= there) std::fill(row.begin(), row.end(), 0.0f);
          else if (p.pool > 1) mean(keys_of(b, h) + g * p.k_group_stride, p.k_row_stride, p.pool, p.dim, row.data());
          else gather(keys_of(b, h) + g * p.k_group_stride, p.k_row_stride, 1, p.depth, p.dim, row.data());
          for (int64_t f = 0; f < features; f++) target[f * kTile + c] = row[static_cast<size_t>(f)];
        }
      }
    });
    return keys;
  }

  // Laying out a key costs about as much as 32 products with it.
  bool few() const { return p.query_groups * group <= 32 && p.pool == 1 && (p.depth == 1 || p.k_row_stride == p.dim); }

  // Products of all query groups with all key groups, [batch, heads, query_groups, tiles * 64]; of groups that do not exist, any.
  Matrix multiplied() const {
    const int64_t padded = key_tiles * kTile, queries = p.query_groups, all = rows_in_all(queries);
    auto q = floats(p.batch * p.heads * all * width), products = floats(p.batch * p.heads * queries * padded);
    std::fill(q.get(), q.get() + p.batch * p.heads * all * width, 0.0f);
    for (int64_t i = 0; i < p.batch * p.heads; i++) {
      const Rows rows = rows_of(p, i / p.heads);
      for (int64_t g = 0; g < std::min(queries, groups(rows).queries); g++) read_query(i / p.heads, i % p.heads, g, rows, q.get() + (i * all + g) * width);
    }
    cpu::parallel_for(p.batch * p.kv_heads * key_tiles, 4, [&](int64_t from, int64_t to) {
      for (int64_t i = from; i < to; i++) {
        const int64_t first = i % key_tiles * kTile, kv = i / key_tiles % p.kv_heads, b = i / key_tiles / p.kv_heads;
        const T* keys[kTile];
        for (int64_t c = 0; c < kTile; c++) keys[c] = keys_of(b, kv) + std::min(first + c, p.key_groups - 1) * p.k_group_stride;
        for (int64_t head = b * p.heads + kv * group; head < b * p.heads + (kv + 1) * group; head++) {
          for (int64_t r = 0; r < queries;) {
            const int64_t at_once = rows_at_once(queries - r), there = std::min(at_once, queries - r);
            const float* rows = q.get() + (head * all + r) * width;
            float* to_row = products.get() + (head * queries + r) * padded + first;
            if (at_once == 4) tile_of<4>(rows, keys, there, to_row, padded);
            else if (at_once == 2) tile_of<2>(rows, keys, there, to_row, padded);
            else tile_of<1>(rows, keys, there, to_row, padded);
            r += there;
          }
        }
      }
    });
    return products;
  }

  template <int R>
  void tile_of(const float* rows, const T* const* keys, int64_t there, float* to, int64_t padded) const {
    float results[kResults];
    for (int64_t c = 0; c < kTile; c += kResults / R) {
      dots<R>(rows, width, keys + c, features, results);
      for (int64_t r = 0; r < there; r++) {
        for (int64_t j = 0; j < kResults / R; j++) to[r * padded + c + j] = results[j * R + r];
      }
    }
  }

  // A block of queries.
  void score(int64_t i, const float* keys, float* products, float* q, float* tile_products, std::vector<Sums>& sums) const {
    const int64_t block = i % p.query_blocks, head = i / p.query_blocks, h = head % p.heads, b = head / p.heads;
    const Rows rows = rows_of(p, b, p.pool), all = groups(rows);
    const int64_t first = block * of_block, there = std::min(of_block, std::max<int64_t>(all.queries - first, 0));
    // Groups of keys that a row sees: those that start at or before its last query.
    const auto seen = [&](int64_t r) {
      if (p.causal == 0) return all.keys;
      const int64_t last = std::min((first + r + 1) * p.q_step, rows.queries) - 1 + rows.keys - rows.queries;
      return last < 0 ? int64_t{0} : std::min(all.keys, last / p.k_step + 1);
    };
    if (products == nullptr) {
      std::fill(q, q + (there + 3) / 4 * 4 * features, 0.0f);
      for (int64_t r = 0; r < there; r++) read_query(b, h, first + r, rows, q + r * features);
    }
    for (int64_t r = 0; r < there; r++) sums[static_cast<size_t>(r)].clear();
    for (int64_t tile = 0; there > 0 && tile * kTile < seen(there - 1); tile++) {
      float* row = tile_products;
      int64_t stride = kTile;
      if (products == nullptr) {
        const float* of_tile = keys + ((b * p.kv_heads + h / group) * key_tiles + tile) * features * kTile;
        multiply((there + 3) / 4 * 4, kTile, features, q, features, 1, of_tile, kTile, row, kTile, false);
      } else {
        stride = key_tiles * kTile, row = products + (head * p.query_groups + first) * stride + tile * kTile;
      }
      for (int64_t r = 0; r < there; r++) {
        if (tile * kTile < seen(r)) sums[static_cast<size_t>(r)].join(row + r * stride, p.scale, tile * kTile, seen(r), p.block_k / p.k_step);
      }
    }
    average(there, sums, p.mass + i * p.key_blocks);
  }

  // The power mean of a block's rows, all of which count.
  void average(int64_t there, std::vector<Sums>& sums, float* mass) const {
    std::fill(mass, mass + p.key_blocks, 0.0f);
    for (int64_t r = 0; r < there; r++) {
      auto& shares = sums[static_cast<size_t>(r)];
      shares.share(p.key_blocks);
      for (int64_t c = 0; c < p.key_blocks; c++) {
        const float share = shares.sum[static_cast<size_t>(c)];
        if (p.power == 1.0f) mass[c] += share;
        else if (p.power == 2.0f) mass[c] += share * share;
        else if (!(share <= mass[c])) mass[c] = share;
      }
    }
    for (int64_t c = 0; c < p.key_blocks && p.power <= 2.0f; c++) {
      const float mean = mass[c] / static_cast<float>(of_block);
      mass[c] = p.power == 1.0f ? mean : std::sqrt(mean);
    }
  }
};

// What a block of queries may see, and must.
struct Sight {
  int64_t first, last, visible;

  Sight(const SelectBlocksParams& p, int64_t b, int64_t block) {
    const Rows rows = rows_of(p, b);
    const int64_t row = block * p.block_q, shift = rows.keys - rows.queries, end = std::min(row + p.block_q, rows.queries);
    const int64_t last_key = std::max<int64_t>(std::min(end - 1 + shift, rows.keys - 1), -1), first_key = std::max<int64_t>(std::min(row + shift, rows.keys - 1), 0);
    first = first_key / p.block_k;
    last = (last_key + p.block_k) / p.block_k - 1;
    visible = row >= rows.queries ? 0 : p.causal != 0 ? last + 1 : (rows.keys + p.block_k - 1) / p.block_k;
  }

  bool forced(const SelectBlocksParams& p, int64_t block) const { return block < p.sink || (block >= first - p.window && block <= last + p.window); }
};

// NaN counts as the greatest: comparisons must have an order.
float ranked(float score) { return score == score ? score : __builtin_inff(); }

int64_t rounded_up(double count) { return static_cast<int64_t>(std::ceil(count - 1e-9)); }

}  // namespace

void block_scores_cpu(const BlockScoresParams& p) {
  if (p.type == kBFloat16) return Scores<bf16>(p).run();
  if (p.type == kFloat16) return Scores<f16>(p).run();
  Scores<float>(p).run();
}

void select_blocks_cpu(const SelectBlocksParams& p) {
  const int64_t heads = p.lists_of_batch / p.query_blocks, batch = p.lists / p.lists_of_batch, work = heads * p.key_blocks;
  cpu::parallel_for(batch * p.query_blocks, work >= 4096 ? 1 : 4096 / work, [&](int64_t from, int64_t to) {
    std::vector<float> rank(static_cast<size_t>(p.key_blocks)), free;
    std::vector<int32_t> order(static_cast<size_t>(p.key_blocks));
    for (int64_t i = from; i < to; i++) {
      const int64_t block = i % p.query_blocks, b = i / p.query_blocks;
      const Sight sight(p, b, block);
      int64_t forced = 0;
      for (int64_t c = 0; c < sight.visible; c++) forced += sight.forced(p, c) ? 1 : 0;
      const auto list_of = [&](int64_t h) { return (b * heads + h) * p.query_blocks + block; };
      float bound = __builtin_inff();
      const bool bounded = p.shared != 0 && p.density < 1.0;
      const int64_t budget = bounded ? rounded_up(static_cast<double>(sight.visible * heads) * p.density) - forced * heads : 0;
      if (budget > 0) {
        free.clear();
        for (int64_t h = 0; h < heads; h++) {
          for (int64_t c = 0; c < sight.visible; c++) {
            if (!sight.forced(p, c)) free.push_back(ranked(p.scores[list_of(h) * p.key_blocks + c]));
          }
        }
        bound = 0;
        if (budget <= static_cast<int64_t>(free.size())) {
          std::nth_element(free.begin(), free.begin() + (budget - 1), free.end(), std::greater<float>());
          bound = free[static_cast<size_t>(budget - 1)];
        }
      }
      for (int64_t h = 0; h < heads; h++) {
        const float* score = p.scores + list_of(h) * p.key_blocks;
        int64_t above = 0;
        double total = 0;
        for (int64_t c = 0; c < sight.visible; c++) {
          const bool must = sight.forced(p, c);
          rank[static_cast<size_t>(c)] = must ? __builtin_inff() : ranked(score[c]);
          order[static_cast<size_t>(c)] = static_cast<int32_t>(c);
          above += !must && ranked(score[c]) >= bound && ranked(score[c]) > 0 ? 1 : 0;
          total += score[c];
        }
        const auto end = order.begin() + sight.visible;
        std::sort(order.begin(), end, [&](int32_t x, int32_t y) {
          const float a = rank[static_cast<size_t>(x)], c = rank[static_cast<size_t>(y)];
          return a != c ? a > c : x < y;
        });
        int64_t kept = p.density >= 1.0 ? sight.visible : rounded_up(static_cast<double>(sight.visible) * p.density);
        if (bounded) {
          kept = forced + above;
        } else if (p.mass < 1.0) {
          int64_t needed = 1;
          double running = 0;
          for (auto at = order.begin(); at != end && (running += score[*at]) < total * p.mass; ++at) needed++;
          kept = std::min(kept, needed);
        }
        kept = std::min({std::max({kept, static_cast<int64_t>(p.min_blocks), forced}), sight.visible, p.max_blocks});
        std::sort(order.begin(), order.begin() + kept);
        int32_t* index = p.block_index + list_of(h) * p.max_blocks;
        for (int64_t c = 0; c < p.max_blocks; c++) index[c] = c < kept ? order[static_cast<size_t>(c)] : -1;
        p.block_count[list_of(h)] = static_cast<int32_t>(kept);
      }
    }
  });
}

}  // namespace DS_ISA
}  // namespace deepseek
