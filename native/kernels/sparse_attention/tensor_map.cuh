// Descriptions of attention tensors for the bulk tensor copy engine.
#pragma once

#include "common/tensor_map.cuh"
#include "sparse_attention/sparse_attention.h"

namespace deepseek::hopper {

// [batch, heads, rows, dim] in boxes of box_rows x 64, swizzled over 128 bytes; what lies outside reads as 0.
inline bool tensor_map(CUtensorMap* map, const AttentionTensor& t, int type, int64_t batch, int64_t heads, int64_t rows, int64_t dim, int box_rows) {
  const auto encode = tensor_map_encoder();
  if (encode == nullptr) return false;
  const cuuint64_t sizes[4] = {static_cast<cuuint64_t>(dim), static_cast<cuuint64_t>(rows), static_cast<cuuint64_t>(heads), static_cast<cuuint64_t>(batch)};
  const cuuint64_t strides[3] = {static_cast<cuuint64_t>(t.row_stride) * 2, static_cast<cuuint64_t>(t.head_stride) * 2, static_cast<cuuint64_t>(t.batch_stride) * 2};
  const cuuint32_t box[4] = {64, static_cast<cuuint32_t>(box_rows), 1, 1};
  const cuuint32_t steps[4] = {1, 1, 1, 1};
  return encode(map, type == kBFloat16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 4, t.data, sizes, strides, box, steps,
                CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

}  // namespace deepseek::hopper
