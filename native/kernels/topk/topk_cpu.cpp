// A row is read once (topk_row.h); a stable radix sort of the k greatest gives the order.
#include "topk/topk.h"

#include "topk/topk_row.h"

namespace deepseek {
namespace DS_ISA {
namespace {

// Stable, greatest first; leaves the result in `from`.
void sort(Entry*& from, Entry*& to, int64_t count, uint32_t* counts) {
  std::memset(counts, 0, 3 * 2048 * sizeof(uint32_t));
  for (int64_t i = 0; i < count; i++) {
    const uint32_t key = ~from[i].key;
    counts[key & 2047]++;
    counts[2048 + ((key >> 11) & 2047)]++;
    counts[4096 + (key >> 22)]++;
  }
  for (int pass = 0; pass < 3; pass++) {
    uint32_t* start = counts + 2048 * pass;
    const int shift = 11 * pass;
    if (start[(~from[0].key >> shift) & 2047] == static_cast<uint32_t>(count)) continue;
    uint32_t before = 0;
    for (int digit = 0; digit < 2048; digit++) {
      const uint32_t here = start[digit];
      start[digit] = before;
      before += here;
    }
    for (int64_t i = 0; i < count; i++) to[start[(~from[i].key >> shift) & 2047]++] = from[i];
    Entry* other = from;
    from = to;
    to = other;
  }
}

template <class T>
void row(const TopkParams& p, int64_t r, const Order& order, Workspace& work) {
  const int64_t k = p.k;
  const T* x = static_cast<const T*>(p.x) + r * p.columns;
  choose_row(x, p.columns, k, order, work);
  Entry *from = work.first.get(), *to = work.second.get();
  sort(from, to, k, work.counts.get());
  T* values = static_cast<T*>(p.values) + r * k;
  int64_t* indices = p.indices + r * k;
  for (int64_t i = 0; i < k; i++) {
    values[i] = x[from[i].index];
    indices[i] = from[i].index;
  }
}

template <class T>
void rows(const TopkParams& p) {
  const Order order(p.largest);
  cpu::parallel_for(p.rows, row_grain(p.columns), [&](int64_t first, int64_t last) {
    Workspace work(p.columns, p.k);
    for (int64_t r = first; r < last; r++) row<T>(p, r, order, work);
  });
}

}  // namespace

void topk(const TopkParams& p) {
  if (p.type == kBFloat16) return rows<bf16>(p);
  if (p.type == kFloat16) return rows<f16>(p);
  rows<float>(p);
}

}  // namespace DS_ISA
}  // namespace deepseek
