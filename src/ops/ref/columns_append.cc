#include "ops/columns_append.h"

#include <cstring>

namespace lowkey::ref {

void columns_append(const ColumnsAppendArgs& a) noexcept {
  const auto size = row_bytes(a.kv.dtype, 1);
  for (int head = 0; head < a.kv.kv_heads; ++head)
    for (int64_t t = a.kv.length - a.tokens; t < a.kv.length; ++t)
      for (int64_t i = 0; i < a.kv.head_dim; ++i)
        std::memcpy(key_column_tile(a.kv, a.plane, head, t) + (i * kColumnTileTokens + t % kColumnTileTokens) * size,
                    a.kv.token(head, t) + i * size, static_cast<size_t>(size));
}

}  // namespace lowkey::ref
