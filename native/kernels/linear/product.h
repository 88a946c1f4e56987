// Matrix products with an epilogue on an NVIDIA GPU, by cuBLASLt: what would be a pass over memory of its own is done on the product's
// accumulators. Algorithms are chosen by cuBLASLt's heuristic once for each shape, or timed there (tune_products).
#pragma once

#include <ATen/ATen.h>

namespace deepseek::linear {

enum class Epilogue : int {
  kNone,
  kBias,  // out = ab + vector
  kGelu,  // kept = ab + vector, out = GELU of it by its tanh form
};

// out [m, n] = a [m, k] · b [k, n], each with unit stride in one dimension, all bfloat16 or all float16 (out may be float32).
struct Product {
  at::Tensor out, a, b;
  Epilogue epilogue = Epilogue::kNone;
  at::Tensor vector;         // [n], of out's type
  at::Tensor kept;           // laid out as out, which is row by row then
  bool accumulates = false;  // adds to out
  // Eight-bit factors: uint8 codes (common/fp8.h) with the summed dimension innermost in both, and what a code times is worth, float32 [1].
  at::Tensor a_inverse, b_inverse;
  int a_format = -1, b_format = -1;  // 0: E4M3, 1: E5M2; not both E5M2
  bool fast = false;                 // lets the matrix cores add up with fewer bits
};

// Whether cuBLASLt can be reached and takes such a matrix.
bool can_multiply(const at::Tensor& matrix);
// Whether it can be reached and the tensor's GPU multiplies eight-bit floats: compute capability 8.9 and up.
bool can_multiply_codes(const at::Tensor& codes);
// Multiplies on the current stream; fails where no algorithm is found.
void multiply(const Product& product);
// Whether the next product of a new shape is timed with each algorithm that the heuristic proposes; not while a graph is captured.
// Returns the former setting.
bool tune_products(bool on);

}  // namespace deepseek::linear
