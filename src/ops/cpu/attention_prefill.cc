#include "ops/attention_prefill.h"

#include "base/error.h"
#include "ops/attention_decode.h"
#include "ops/check_kv.h"

namespace lowkey {
namespace {

void check(const AttentionPrefillArgs& a) {
  check_kv("attention_prefill", a.kv);
  LK_REQUIRE(a.q.rank == 3 && a.q.dtype == DType::kF32 && a.q.dim(0) >= 1 && a.q.dim(0) <= a.kv.length,
             kInvalidArgument, "[attention_prefill] q={}, must be f32 [T, H, D] with T <= {}", a.q.describe(),
             a.kv.length);
  LK_REQUIRE(a.out.dtype == DType::kF32 && a.out.rank == 3 && a.out.shape == a.q.shape, kInvalidArgument,
             "[attention_prefill] out={}, must be shaped as q={}", a.out.describe(), a.q.describe());
  LK_REQUIRE(a.kv.head_dim == a.q.dim(2) && a.q.dim(1) % a.kv.kv_heads == 0, kInvalidArgument,
             "[attention_prefill] q={} against {} KV heads of {}", a.q.describe(), a.kv.kv_heads, a.kv.head_dim);
}

}  // namespace

void attention_prefill(const Context& context, const AttentionPrefillArgs& a) {
  check(a);
  const int64_t tokens = a.q.dim(0), heads = a.q.dim(1), dim = a.q.dim(2);
  for (int64_t t = 0; t < tokens; ++t) {
    KvPages kv = a.kv;
    kv.length = a.kv.length - tokens + t + 1;
    const View q{a.q.row(t * heads), DType::kF32, {1, heads, dim}};
    const View out{a.out.row(t * heads), DType::kF32, {1, heads, dim}};
    attention_decode(context, {.q = q, .kv = {&kv, 1}, .tokens = {}, .scale = a.scale, .out = out});
  }
}

}  // namespace lowkey
