#include "ops/check_bounds.h"

#include <bit>

#include "base/error.h"
#include "ops/check_kv.h"

namespace lowkey {

void check_bounds(std::string_view op, const KeyBounds& bounds, const KvPages& kv) {
  check_float_kv(op, kv);
  const int block = bounds.block_tokens;
  LK_REQUIRE(block >= 1 && block <= kv.page_tokens && std::has_single_bit(static_cast<unsigned>(block)),
             kInvalidArgument, "[{}] blocks of {} tokens, must be a power of two up to the page's {}", op, block,
             kv.page_tokens);
  const auto plane = static_cast<size_t>(bounds.plane);
  LK_REQUIRE(bounds.plane >= 0 && bounds.plane < KvPages::kMaxPlanes && kv.planes[plane].base != nullptr,
             kInvalidArgument, "[{}] plane={}, the cache has none there", op, bounds.plane);
  const int64_t wanted = KeyBounds::page_bytes(kv.dtype, kv.head_dim, kv.page_tokens, block);
  LK_REQUIRE(kv.planes[plane].page_bytes >= wanted, kInvalidArgument,
             "[{}] plane of {} bytes a page, must be {} or more", op, kv.planes[plane].page_bytes, wanted);
}

}  // namespace lowkey
