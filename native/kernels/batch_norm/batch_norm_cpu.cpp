#include "batch_norm/batch_norm.h"

#include "common/row.h"

#include <cmath>
#include <vector>

namespace deepseek {
namespace DS_ISA {
namespace {

constexpr int64_t kChunk = 128;  // rows summed in float32 before they are added to a share's sums in float64

int64_t shares_of(int64_t rows) { return rows < 16 ? 1 : rows < 1024 ? rows / 16 : 64; }

// Two sums of every channel, of each share of the rows; the shares do not depend on the number of threads.
struct Sums {
  explicit Sums(const BatchNormParams& p) : columns(p.columns), shares(shares_of(p.rows)), values(static_cast<size_t>(2 * shares * columns)) {}
  double* first(int64_t share) { return values.data() + 2 * share * columns; }
  double* second(int64_t share) { return first(share) + columns; }
  // The total of all shares in the first one's place.
  void add_up() {
    for (int64_t share = 1; share < shares; share++) {
      for (int64_t i = 0; i < 2 * columns; i++) values[static_cast<size_t>(i)] += first(share)[i];
    }
  }
  const int64_t columns, shares;
  std::vector<double> values;
};

template <class Body>
void over_shares(const BatchNormParams& p, Sums& sums, Body body) {
  cpu::parallel_for(sums.shares, 1, [&](int64_t first, int64_t last) {
    for (int64_t share = first; share < last; share++) {
      const int64_t end = (share + 1) * p.rows / sums.shares;
      for (int64_t row = share * p.rows / sums.shares; row < end; row += kChunk) body(share, row, row + kChunk < end ? row + kChunk : end);
    }
  });
}

// Σ x and Σ x², the squares taken from the deviations of a chunk's mean.
template <class T>
void statistics(const BatchNormParams& p, Sums& sums) {
  const int64_t n = p.columns;
  over_shares(p, sums, [&](int64_t share, int64_t begin, int64_t end) {
    RowBuffer centre(n), sum(n), squares(n);
    const T* x = static_cast<const T*>(p.x);
    for (int64_t c = 0; c < n; c += kWidth) {
      store(centre.data + c, load_part(x + begin * n + c, n - c));
      store(sum.data + c, vf{});
      store(squares.data + c, vf{});
    }
    for (int64_t row = begin; row < end; row++) {
      for (int64_t c = 0; c < n; c += kWidth) {
        const vf d = load_part(x + row * n + c, n - c) - load(centre.data + c);
        store(sum.data + c, load(sum.data + c) + d);
        store(squares.data + c, load(squares.data + c) + d * d);
      }
    }
    const double count = static_cast<double>(end - begin);
    for (int64_t c = 0; c < n; c++) {
      const double total = sum.data[c], mean = centre.data[c] + total / count;
      sums.first(share)[c] += count * mean;
      sums.second(share)[c] += squares.data[c] - total * total / count + count * mean * mean;
    }
  });
  sums.add_up();
  const double count = static_cast<double>(p.rows);
  for (int64_t c = 0; c < n; c++) {
    const double mean = sums.first(0)[c] / count;
    double deviation = sums.second(0)[c] - count * mean * mean;
    deviation = deviation < 0 ? 0 : deviation;
    p.mean[c] = static_cast<float>(mean);
    p.spread[c] = static_cast<float>(1 / std::sqrt(deviation / count + p.epsilon));
    if (p.running_mean != nullptr) p.running_mean[c] = static_cast<float>((1 - p.momentum) * p.running_mean[c] + p.momentum * mean);
    if (p.running_variance != nullptr) p.running_variance[c] = static_cast<float>((1 - p.momentum) * p.running_variance[c] + p.momentum * (deviation / (count - 1)));
  }
}

float rstd_of(const BatchNormParams& p, int64_t c) { return p.training ? p.spread[c] : static_cast<float>(1 / std::sqrt(p.spread[c] + p.epsilon)); }

// Each channel's numbers in rows that vectors may read to their end.
struct Channels {
  explicit Channels(const BatchNormParams& p) : mean(p.columns), scale(p.columns), bias(p.columns) {
    for (int64_t c = 0; c < p.columns; c++) {
      mean.data[c] = p.mean[c];
      scale.data[c] = rstd_of(p, c) * p.weight[c];
      bias.data[c] = p.bias[c];
    }
  }
  vf normalised(vf d, int64_t c) const { return d * load(scale.data + c) + load(bias.data + c); }
  RowBuffer mean, scale, bias;
};

vf at_least_zero(vf value, vf gate) { return select(gate <= vf{}, vf{}, value); }

void keep_bits(const float* row, int64_t columns, uint8_t* bits) {
  for (int64_t c = 0; c < columns; c += 8) {
    unsigned byte = 0;
    for (int64_t i = 0; i < 8 && c + i < columns; i++) byte |= (row[c + i] <= 0.0f ? 0u : 1u) << i;
    bits[c / 8] = static_cast<uint8_t>(byte);
  }
}

template <class T>
void apply(const BatchNormParams& p) {
  const int64_t n = p.columns, bytes = (n + 7) / 8;
  const Channels channels(p);
  cpu::parallel_for(p.rows, row_grain(n), [&](int64_t first, int64_t last) {
    RowBuffer line(n);
    for (int64_t row = first; row < last; row++) {
      const T* x = static_cast<const T*>(p.x) + row * n;
      const T* residual = p.residual != nullptr ? static_cast<const T*>(p.residual) + row * n : nullptr;
      T* y = static_cast<T*>(p.y) + row * n;
      for (int64_t c = 0; c < n; c += kWidth) {
        vf value = channels.normalised(load_part(x + c, n - c) - load(channels.mean.data + c), c);
        if (residual != nullptr) value += load_part(residual + c, n - c);
        if (p.mask != nullptr) store(line.data + c, value);
        store_part(y + c, p.relu ? at_least_zero(value, value) : value, n - c);
      }
      if (p.mask != nullptr) keep_bits(line.data, n, p.mask + row * bytes);
    }
  });
}

// The gradient that ReLU let through in one row; with a residual rounded as it is stored.
template <class T>
void gradient_row(const BatchNormParams& p, const Channels& channels, int64_t row, float* line) {
  const int64_t n = p.columns;
  const T* x = static_cast<const T*>(p.x) + row * n;
  const T* dy = static_cast<const T*>(p.dy) + row * n;
  const T* other = p.other != nullptr ? static_cast<const T*>(p.other) + row * n : nullptr;
  for (int64_t c = 0; c < n; c += kWidth) {
    vf g = load_part(dy + c, n - c);
    if (other != nullptr) g += load_part(other + c, n - c);
    if (p.relu && p.mask == nullptr) g = at_least_zero(g, channels.normalised(load_part(x + c, n - c) - load(channels.mean.data + c), c));
    store(line + c, g);
  }
  if (p.mask == nullptr) return;
  const uint8_t* bits = p.mask + row * ((n + 7) / 8);
  for (int64_t c = 0; c < n; c++) line[c] = (bits[c / 8] >> (c % 8) & 1) != 0 ? line[c] : 0.0f;
  T* kept = static_cast<T*>(p.dresidual) + row * n;
  for (int64_t c = 0; c < n; c += kWidth) {
    store_part(kept + c, load(line + c), n - c);
    store(line + c, rounded<T>(load(line + c)));
  }
}

template <class T>
void forward_of(const BatchNormParams& p) {
  if (p.training) {
    Sums sums(p);
    statistics<T>(p, sums);
  }
  apply<T>(p);
}

template <class T>
void backward_of(const BatchNormParams& p) {
  const int64_t n = p.columns;
  const Channels channels(p);
  const T* x = static_cast<const T*>(p.x);
  Sums sums(p);
  over_shares(p, sums, [&](int64_t share, int64_t begin, int64_t end) {
    RowBuffer line(n), sum(n), product(n);
    for (int64_t c = 0; c < n; c += kWidth) {
      store(sum.data + c, vf{});
      store(product.data + c, vf{});
    }
    for (int64_t row = begin; row < end; row++) {
      gradient_row<T>(p, channels, row, line.data);
      for (int64_t c = 0; c < n; c += kWidth) {
        const vf g = load(line.data + c), d = load_part(x + row * n + c, n - c) - load(channels.mean.data + c);
        store(sum.data + c, load(sum.data + c) + g);
        store(product.data + c, load(product.data + c) + g * d);
      }
    }
    for (int64_t c = 0; c < n; c++) {
      sums.first(share)[c] += sum.data[c];
      sums.second(share)[c] += product.data[c];
    }
  });
  sums.add_up();
  RowBuffer slope(n), constant(n);
  for (int64_t c = 0; c < n; c++) {
    const double rstd = rstd_of(p, c), scale = rstd * p.weight[c], count = static_cast<double>(p.rows);
    if (p.dweight != nullptr) p.dweight[c] = static_cast<float>(sums.second(0)[c] * rstd);
    if (p.dbias != nullptr) p.dbias[c] = static_cast<float>(sums.first(0)[c]);
    slope.data[c] = p.training ? static_cast<float>(-scale * rstd * rstd * sums.second(0)[c] / count) : 0.0f;
    constant.data[c] = p.training ? static_cast<float>(-scale * sums.first(0)[c] / count) : 0.0f;
  }
  if (p.dx == nullptr) return;
  cpu::parallel_for(p.rows, row_grain(n), [&](int64_t first, int64_t last) {
    RowBuffer line(n);
    for (int64_t row = first; row < last; row++) {
      gradient_row<T>(p, channels, row, line.data);
      T* dx = static_cast<T*>(p.dx) + row * n;
      for (int64_t c = 0; c < n; c += kWidth) {
        const vf d = load_part(x + row * n + c, n - c) - load(channels.mean.data + c);
        store_part(dx + c, load(line.data + c) * load(channels.scale.data + c) + (d * load(slope.data + c) + load(constant.data + c)), n - c);
      }
    }
  });
}

}  // namespace

void batch_norm_forward(const BatchNormParams& p) {
  if (p.type == kBFloat16) return forward_of<bf16>(p);
  if (p.type == kFloat16) return forward_of<f16>(p);
  forward_of<float>(p);
}

void batch_norm_backward(const BatchNormParams& p) {
  if (p.type == kBFloat16) return backward_of<bf16>(p);
  if (p.type == kFloat16) return backward_of<f16>(p);
  backward_of<float>(p);
}

}  // namespace DS_ISA
}  // namespace deepseek
