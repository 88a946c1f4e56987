#include "rotary/rotary.h"

#include "common/row.h"

namespace deepseek {
namespace DS_ISA {
namespace {

template <class T>
void turn(const RotaryParams& p) {
  const int64_t half = p.width / 2;
  const float sign = p.back ? -1.0f : 1.0f;
  cpu::parallel_for(p.rows, row_grain(p.width), [&](int64_t first, int64_t last) {
    RowBuffer row(p.width);
    for (int64_t r = first; r < last; r++) {
      const T* x = static_cast<const T*>(p.x) + r * p.width;
      T* y = static_cast<T*>(p.y) + r * p.width;
      const float* cosine = p.cosine + r % p.positions * half;
      const float* sine = p.sine + r % p.positions * half;
      if (p.interleaved) {
        for (int64_t c = 0; c < p.width; c += kWidth) store(row.data + c, load_part(x + c, p.width - c));
        for (int64_t i = 0; i < half; i++) {
          const float a = row.data[2 * i], b = row.data[2 * i + 1], s = sign * sine[i];
          row.data[2 * i] = a * cosine[i] - b * s;
          row.data[2 * i + 1] = a * s + b * cosine[i];
        }
        store_row(y, row.data, p.width);
        continue;
      }
      for (int64_t i = 0; i < half; i += kWidth) {
        const int64_t left = half - i;
        const vf a = load_part(x + i, left), b = load_part(x + half + i, left), c = load_part(cosine + i, left), s = sign * load_part(sine + i, left);
        store_part(y + i, a * c - b * s, left);
        store_part(y + half + i, a * s + b * c, left);
      }
    }
  });
}

}  // namespace

void rotary(const RotaryParams& p) {
  if (p.type == kBFloat16) return turn<bf16>(p);
  if (p.type == kFloat16) return turn<f16>(p);
  turn<float>(p);
}

}  // namespace DS_ISA
}  // namespace deepseek
