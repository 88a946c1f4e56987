// Rotary position embedding (Su et al., arXiv 2104.09864): pairs of features of a row turn by the angle of its position.
// Pair i is (i, i + width / 2), or (2i, 2i + 1) where interleaved. The backward pass turns back.
#pragma once

#include "common/cpu.h"
#include "common/types.h"

#include <cstdint>

namespace deepseek {

struct RotaryParams {
  int64_t rows = 0;       // of x, in order; row r is at position r % positions
  int64_t positions = 0;  // rows of the tables
  int64_t width = 0;      // even
  int type = kFloat32;
  bool interleaved = false;
  bool back = false;
  const void* x = nullptr;
  void* y = nullptr;
  const float* cosine = nullptr;  // [positions, width / 2]
  const float* sine = nullptr;
  void* stream = nullptr;
};

DS_CPU_DECLARE(void, rotary, (const RotaryParams&))

#ifdef DEEPSEEK_CUDA
int rotary_cuda(const RotaryParams& params);  // a cudaError_t
#endif

}  // namespace deepseek
