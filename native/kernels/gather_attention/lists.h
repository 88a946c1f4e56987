// Lists of keys as operators take them.
#pragma once

#include "common/operator.h"

namespace deepseek {

// Shapes and types; on the CPU also every entry: each list is strictly ascending, so that no key can stand in it twice, and
// names existing keys only. On CUDA entries are not read here, that would stop the stream; the kernels answer with NaN.
inline void check_lists(const at::Tensor& index, const at::Tensor& count, int64_t batch, int64_t queries, int64_t keys, c10::Device device, const char* op) {
  TORCH_CHECK(index.scalar_type() == at::kInt && count.scalar_type() == at::kInt, op, ": indices and counts must be int32");
  TORCH_CHECK(index.device() == device && count.device() == device, op, ": indices and counts must be on the device of q");
  TORCH_CHECK(index.dim() == 3 && index.size(0) == batch && index.size(1) == queries, op, ": indices ", index.sizes(), " are not [", batch, ", ", queries, ", entries]");
  TORCH_CHECK(count.sizes() == index.sizes().slice(0, 2), op, ": counts ", count.sizes(), " do not fit indices ", index.sizes());
  if (!device.is_cpu()) return;
  const auto lists = index.contiguous(), counts = count.contiguous();
  const int64_t capacity = lists.size(2);
  for (int64_t i = 0; i < batch * queries; i++) {
    const int32_t *list = lists.data_ptr<int32_t>() + i * capacity, n = counts.data_ptr<int32_t>()[i];
    TORCH_CHECK(n >= 0 && n <= capacity, op, ": the list of sequence ", i / queries, ", query ", i % queries, " has a count of ", n, "; there are ", capacity, " entries");
    bool ascending = n == 0 || list[0] >= 0;
    for (int32_t j = 1; j < n; j++) ascending &= list[j] > list[j - 1];
    if (ascending && (n == 0 || list[n - 1] < keys)) continue;
    for (int32_t j = 0; j < n; j++) {
      TORCH_CHECK(list[j] >= 0 && list[j] < keys, op, ": the list of sequence ", i / queries, ", query ", i % queries, " names key ", list[j], "; there are ", keys, " keys");
      TORCH_CHECK(j == 0 || list[j] > list[j - 1], op, ": the list of sequence ", i / queries, ", query ", i % queries, " names key ", list[j], " after key ", list[j - 1],
                  "; entries must ascend and may stand in a list once");
    }
  }
}

}  // namespace deepseek
