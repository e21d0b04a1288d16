#include "ops/check_value_sums.h"

#include "base/error.h"
#include "ops/check_kv.h"

namespace lowkey {

void check_value_sums(std::string_view op, const KvPages& kv, int plane) {
  check_float_kv(op, kv);
  LK_REQUIRE(plane >= 0 && plane < KvPages::kMaxPlanes && kv.planes[static_cast<size_t>(plane)].base != nullptr,
             kInvalidArgument, "[{}] plane={}, the cache has none there", op, plane);
  const int64_t bytes = kv.planes[static_cast<size_t>(plane)].page_bytes, wanted = value_sums_page_bytes(kv.head_dim);
  LK_REQUIRE(bytes >= wanted, kInvalidArgument, "[{}] plane of {} bytes a page, must be {} or more", op, bytes, wanted);
}

}  // namespace lowkey
