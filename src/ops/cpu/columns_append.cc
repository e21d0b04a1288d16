// Plain copies, a tile of one KV head at a time: prompts are bound by the products around it, and the one token of a
// decoding step touches D lines whatever is done.
#include "ops/columns_append.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "ops/check_columns.h"

namespace lowkey {
namespace {

// Tokens [begin, end), all of one tile.
template <typename Word>
void append_tile(const ColumnsAppendArgs& a, int head, int64_t begin, int64_t end) noexcept {
  auto* tile = reinterpret_cast<Word*>(key_column_tile(a.kv, a.plane, head, begin));
  for (int64_t t = begin; t < end; ++t) {
    const auto* key = reinterpret_cast<const Word*>(a.kv.token(head, t));
    Word* column = tile + t % kColumnTileTokens;
    for (int i = 0; i < a.kv.head_dim; ++i) column[i * kColumnTileTokens] = key[i];
  }
}

}  // namespace

void columns_append(const Context& context, const ColumnsAppendArgs& a) {
  check_columns("columns_append", a.kv, a.plane);
  LK_REQUIRE(a.tokens >= 0 && a.tokens <= a.kv.length, kInvalidArgument,
             "[columns_append] {} new tokens, length={}: at most length", a.tokens, a.kv.length);
  const int64_t first = a.kv.length - a.tokens, first_tile = first / kColumnTileTokens;
  const int64_t tiles = (a.kv.length + kColumnTileTokens - 1) / kColumnTileTokens - first_tile;
  context.threads.dynamic(a.kv.kv_heads * tiles, [&](int64_t i, int) {
    const int64_t at = (first_tile + i % tiles) * kColumnTileTokens;
    const int64_t begin = std::max(at, first), end = std::min(at + kColumnTileTokens, a.kv.length);
    const int head = static_cast<int>(i / tiles);
    a.kv.dtype == DType::kF32 ? append_tile<uint32_t>(a, head, begin, end) : append_tile<uint16_t>(a, head, begin, end);
  });
}

}  // namespace lowkey
