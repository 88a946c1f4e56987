// Element types of the kernels' parameters.
#pragma once

#include <cstdint>

namespace deepseek {

enum ElementType : int { kFloat32 = 0, kBFloat16 = 1, kFloat16 = 2 };

}  // namespace deepseek
