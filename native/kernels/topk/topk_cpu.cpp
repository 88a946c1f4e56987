// A row is read once (topk_row.h); a stable radix sort of what was kept gives the order.
#include "topk/topk.h"

#include "topk/topk_row.h"

namespace deepseek {
namespace DS_ISA {
namespace {

constexpr int kDigitBits = 9, kDigits = 1 << kDigitBits;

template <int kPasses>
void sort_by_digits(Entry*& from, Entry*& to, int64_t count, uint32_t greatest, int width, uint32_t* counts) {
  const uint32_t digits = 1u << width, mask = digits - 1;
  std::memset(counts, 0, kPasses * kDigits * sizeof(uint32_t));
  for (int64_t i = 0; i < count; i++) {
    const uint32_t key = greatest - from[i].key;
    for (int pass = 0; pass < kPasses; pass++) counts[pass * kDigits + (key >> (pass * width) & mask)]++;
  }
  for (int pass = 0; pass < kPasses; pass++) {
    uint32_t *start = counts + pass * kDigits, before = 0;
    const int shift = pass * width;
    for (uint32_t digit = 0; digit < digits; digit++) {
      const uint32_t here = start[digit];
      start[digit] = before;
      before += here;
    }
    for (int64_t i = 0; i < count; i++) to[start[(greatest - from[i].key) >> shift & mask]++] = from[i];
    Entry* other = from;
    from = to;
    to = other;
  }
}

// Stable, greatest first, by what the keys lack to the greatest: what the kept have in common costs no pass. Leaves the result in `from`.
void sort(Entry*& from, Entry*& to, int64_t count, uint32_t* counts) {
  uint32_t greatest = from[0].key, least = greatest;
  for (int64_t i = 1; i < count; i++) {
    greatest = from[i].key > greatest ? from[i].key : greatest;
    least = from[i].key < least ? from[i].key : least;
  }
  if (greatest == least) return;
  const int bits = 32 - __builtin_clz(greatest - least), passes = (bits + kDigitBits - 1) / kDigitBits, width = (bits + passes - 1) / passes;
  if (passes == 1) return sort_by_digits<1>(from, to, count, greatest, width, counts);
  if (passes == 2) return sort_by_digits<2>(from, to, count, greatest, width, counts);
  if (passes == 3) return sort_by_digits<3>(from, to, count, greatest, width, counts);
  sort_by_digits<4>(from, to, count, greatest, width, counts);
}

template <class T>
void row(const TopkParams& p, int64_t r, const Order& order, Workspace& work) {
  const int64_t k = p.k;
  const T* x = static_cast<const T*>(p.x) + r * p.columns;
  int64_t count = keep_row(x, p.columns, k, order, work);
  Entry *from = work.first.get(), *to = work.second.get();
  if (count > 2 * k) {
    choose_kept(count, k, work);
    count = k;
  } else {
    // Sorting a few more than are wanted costs less than finding the last that is.
    for (int64_t i = 0; i < count; i++) from[i] = {work.keys[i], work.indices[i]};
  }
  sort(from, to, count, work.counts.get());
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
