// One number of a cache row, for the references: i in [0, D) is a key's, i in [D, 2 D) a value's.
#pragma once

#include <cstring>

#include "base/half.h"
#include "ops/kv_pages.h"

namespace lowkey::ref {

inline float kv_value(DType dtype, const std::byte* row, int64_t i) noexcept {
  if (dtype == DType::kF32) {
    float x;
    std::memcpy(&x, row + i * 4, sizeof(x));
    return x;
  }
  uint16_t h;
  std::memcpy(&h, row + i * 2, sizeof(h));
  return dtype == DType::kF16 ? f16_to_f32(h) : bf16_to_f32(h);
}

// Of a row of kv, whatever its type.
inline float kv_value(const KvPages& kv, const std::byte* row, int64_t i) noexcept {
  if (kv.dtype != DType::kI8) return kv_value(kv.dtype, row, i);
  float scales[2];
  std::memcpy(scales, row + 2 * int64_t{kv.head_dim}, sizeof(scales));
  return scales[i < kv.head_dim ? 0 : 1] * static_cast<float>(static_cast<int8_t>(row[i]));
}

}  // namespace lowkey::ref
