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
  if (!has_scales(kv.dtype)) return kv_value(kv.dtype, row, i);
  const int64_t dim = kv.head_dim;
  float scales[3] = {};  // of keys, of values; the least value
  std::memcpy(scales, row + kv.scale_offset(), static_cast<size_t>(kv.token_bytes() - kv.scale_offset()));
  if (i < dim || kv.dtype == DType::kI8)
    return scales[i < dim ? 0 : 1] * static_cast<float>(static_cast<int8_t>(row[i]));
  const auto pair = std::to_integer<unsigned>(row[dim + (i - dim) % (dim / 2)]);
  return scales[1] * static_cast<float>(i - dim < dim / 2 ? pair & 15 : pair >> 4) + scales[2];
}

}  // namespace lowkey::ref
