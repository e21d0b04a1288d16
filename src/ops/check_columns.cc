#include "ops/check_columns.h"

#include "base/error.h"
#include "ops/check_kv.h"

namespace lowkey {

void check_columns(std::string_view op, const KvPages& kv, int plane) {
  check_float_kv(op, kv);
  LK_REQUIRE(kv.page_tokens % kColumnTileTokens == 0, kInvalidArgument, "[{}] page_tokens={}, must be a multiple of {}",
             op, kv.page_tokens, kColumnTileTokens);
  LK_REQUIRE(plane >= 0 && plane < KvPages::kMaxPlanes && kv.planes[static_cast<size_t>(plane)].base != nullptr,
             kInvalidArgument, "[{}] plane={}, the cache has none there", op, plane);
  const int64_t bytes = kv.planes[static_cast<size_t>(plane)].page_bytes;
  const int64_t wanted = key_columns_page_bytes(kv.dtype, kv.head_dim, kv.page_tokens);
  LK_REQUIRE(bytes >= wanted, kInvalidArgument, "[{}] plane of {} bytes a page, must be {} or more", op, bytes, wanted);
}

}  // namespace lowkey
