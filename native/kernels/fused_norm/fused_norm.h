// Dropout, residual addition and LayerNorm (Ba et al., arXiv 1607.06450) or RMSNorm (Zhang & Sennrich, arXiv 1910.07467) in one
// pass:  z = residual + dropout(x + shift),  y = (z − mean) · rstd · weight + bias;  RMSNorm leaves the mean out.
// The statistics are those of z as stored. Dropout's mask is never stored: common/philox.h gives it again.
#pragma once

#include "common/cpu.h"
#include "common/types.h"

#include <cstdint>

namespace deepseek {

struct NormParams {
  int64_t rows = 0, columns = 0;
  // Of x, y, dy, dx; of residual, z, dz, dresidual (the same, or float32); of weight, bias, dweight, dbias.
  int type = kFloat32, stream_type = kFloat32, weight_type = kFloat32;
  int shift_type = kFloat32;  // of shift and dshift
  bool rms = false;
  float epsilon = 1e-5f;
  double p = 0;
  // The mask's key and counter: element (r, c) is number r · (columns rounded up to 8) + c. `rng` points to two int64 on the
  // device that are added to them when the kernel runs, so that a captured graph draws anew; `rng_used` receives their copy.
  uint64_t seed = 0, offset = 0;
  const int64_t* rng = nullptr;
  int64_t* rng_used = nullptr;

  const void* x = nullptr;         // [rows, columns]
  const void* shift = nullptr;     // [columns] or null: the bias of the linear layer that made x without it
  const void* residual = nullptr;  // or null: z = dropout(x)
  const void* weight = nullptr;    // [columns] or null
  const void* bias = nullptr;      // [columns] or null
  void* y = nullptr;
  void* z = nullptr;      // or null: neither written (forward) nor, being x itself, different from x
  float* mean = nullptr;  // [rows]; unused by RMSNorm
  float* rstd = nullptr;  // [rows]

  // Backward: z, mean, rstd and weight as above.
  const void* dy = nullptr;
  const void* dz = nullptr;     // gradient that reached z by other ways, or null
  void* dx = nullptr;           // or null where it equals dresidual
  void* dresidual = nullptr;    // or null
  void* dweight = nullptr;      // [columns] or null
  void* dbias = nullptr;        // [columns] or null
  void* dshift = nullptr;       // [columns] or null: dx's sum over rows
  float* partial = nullptr;     // [partials, 3, columns]: sums of groups of rows for dweight, dbias and dshift
  int64_t partials = 0;

  void* stream = nullptr;  // CUDA stream
};

DS_CPU_DECLARE(void, norm_forward, (const NormParams&))
DS_CPU_DECLARE(void, norm_backward, (const NormParams&))

// Sums of groups of rows that the backward pass wants room for.
inline int64_t norm_partials_cpu(int64_t rows) { return rows < 16 ? 1 : rows < 1024 ? rows / 16 : 64; }

#ifdef DEEPSEEK_CUDA
// Return a cudaError_t.
int norm_forward_cuda(const NormParams& params);
int norm_backward_cuda(const NormParams& params);
int64_t norm_partials_cuda(const NormParams& params);  // everything but `partial` and `partials` is set
#endif

}  // namespace deepseek
