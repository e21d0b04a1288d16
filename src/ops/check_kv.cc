#include "ops/check_kv.h"

#include <bit>

#include "base/error.h"

namespace lowkey {

namespace {

bool is_float(DType type) { return type == DType::kF32 || type == DType::kF16 || type == DType::kBF16; }

}  // namespace

void check_float_kv(std::string_view op, const KvPages& kv) {
  check_kv(op, kv);
  LK_REQUIRE(is_float(kv.dtype), kUnsupported, "[{}] KV type {}, must be f32, f16 or bf16", op, name(kv.dtype));
}

void check_kv(std::string_view op, const KvPages& kv) {
  LK_REQUIRE(is_float(kv.dtype) || has_scales(kv.dtype), kUnsupported,
             "[{}] KV type {}, must be f32, f16, bf16, i8 or i8i4", op, name(kv.dtype));
  LK_REQUIRE(kv.kv_heads >= 1, kInvalidArgument, "[{}] kv_heads={}, must be >= 1", op, kv.kv_heads);
  LK_REQUIRE(kv.head_dim >= 8 && kv.head_dim % 8 == 0, kInvalidArgument,
             "[{}] head_dim={}, must be a positive multiple of 8", op, kv.head_dim);
  LK_REQUIRE(kv.dtype != DType::kI8I4 || kv.head_dim % 16 == 0, kUnsupported,
             "[{}] head_dim={} with KV type i8i4 (keys in 8 bits, values in 4), must be a multiple of 16", op,
             kv.head_dim);
  LK_REQUIRE(kv.page_tokens >= 1 && std::has_single_bit(static_cast<unsigned>(kv.page_tokens)), kInvalidArgument,
             "[{}] page_tokens={}, must be a power of two", op, kv.page_tokens);
  LK_REQUIRE(kv.length >= 1, kInvalidArgument, "[{}] length={}, must be >= 1", op, kv.length);
  LK_REQUIRE(kv.base != nullptr && kv.table != nullptr, kInvalidArgument, "[{}] the cache has no memory", op);
}

}  // namespace lowkey
