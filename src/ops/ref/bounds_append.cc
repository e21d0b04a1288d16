#include "ops/bounds_append.h"

#include <cstring>

#include "ops/ref/kv_value.h"

namespace lowkey::ref {

void bounds_append(const BoundsAppendArgs& a) noexcept {
  const int64_t block = a.bounds.block_tokens, dim = a.kv.head_dim, size = row_bytes(a.kv.dtype, 1);
  const KvPages rows = a.bounds.rows(a.kv);
  for (int head = 0; head < a.kv.kv_heads; ++head)
    for (int64_t b = (a.kv.length - a.tokens) / block; b < a.kv.length / block; ++b)
      for (int64_t i = 0; i < dim; ++i) {
        const std::byte *least = a.kv.token(head, b * block), *most = least;
        for (int64_t t = b * block; t < (b + 1) * block; ++t) {
          const std::byte* row = a.kv.token(head, t);
          if (kv_value(a.kv.dtype, row, i) < kv_value(a.kv.dtype, least, i)) least = row;
          if (kv_value(a.kv.dtype, row, i) > kv_value(a.kv.dtype, most, i)) most = row;
        }
        std::memcpy(rows.token(head, b) + i * size, least + i * size, static_cast<size_t>(size));
        std::memcpy(rows.token(head, b) + (dim + i) * size, most + i * size, static_cast<size_t>(size));
      }
}

}  // namespace lowkey::ref
