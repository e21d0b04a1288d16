#include "ops/kv_append.h"

#include <cstring>

#include "base/half.h"

namespace lowkey::ref {
namespace {

void store(DType dtype, std::byte* row, int64_t i, float x) noexcept {
  if (dtype == DType::kF32) {
    std::memcpy(row + i * 4, &x, sizeof(x));
    return;
  }
  const uint16_t h = dtype == DType::kF16 ? f32_to_f16(x) : f32_to_bf16(x);
  std::memcpy(row + i * 2, &h, sizeof(h));
}

}  // namespace

void kv_append(const KvAppendArgs& a) noexcept {
  const int64_t tokens = a.k.dim(0), dim = a.kv.head_dim, first = a.kv.length - tokens;
  for (int64_t t = 0; t < tokens; ++t) {
    for (int head = 0; head < a.kv.kv_heads; ++head) {
      std::byte* row = a.kv.token(head, first + t);
      const int64_t source = t * a.kv.kv_heads + head;
      for (int64_t i = 0; i < dim; ++i) {
        store(a.kv.dtype, row, i, a.k.f32_row(source)[i]);
        store(a.kv.dtype, row, dim + i, a.v.f32_row(source)[i]);
      }
    }
  }
}

}  // namespace lowkey::ref
