// Cross entropy of rows of logits, which are replaced by its gradient: one read from memory, one from cache, one write.
#pragma once

#include <cstdint>

namespace deepseek::head_loss {

// logits [rows, columns], element type as common/types.h numbers it, 16-byte aligned, columns a multiple of 8 (4 for float32).
// loss[r] = log(sum(exp(x))) - x[target], and x becomes (softmax(x) - [column is target]) * *scale. A negative target gives
// a loss and a gradient of zero. Returns a cudaError_t.
int cuda(void* logits, const int64_t* targets, float* loss, const float* scale, int64_t rows, int64_t columns, int type, void* stream);

}  // namespace deepseek::head_loss
