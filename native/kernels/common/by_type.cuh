// The choice of an attention kernel's instance.
#pragma once

#include "common/types.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

namespace deepseek {

// Calls launch(element, width): `element` is a bfloat16 or float16 as `type` says, for its type; `width` a constant, 128 or else 64,
// as `dim` says. Whether a kernel takes these was asked before.
template <class Launch>
int by_type_and_width(int type, int64_t dim, const Launch& launch) {
  const auto of = [&](auto element) { return dim == 128 ? launch(element, std::integral_constant<int, 128>()) : launch(element, std::integral_constant<int, 64>()); };
  return type == kBFloat16 ? of(__nv_bfloat16()) : of(__half());
}

}  // namespace deepseek
