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

}  // namespace lowkey::ref
