#include "ops/score_index.h"

#include "base/error.h"
#include "ops/check_index.h"

namespace lowkey {
namespace {

void check(const ScoreIndexArgs& a) {
  LK_REQUIRE(a.q.rank == 3 && a.q.dtype == DType::kF32 && a.q.dim(0) == static_cast<int64_t>(a.kv.size()),
             kInvalidArgument, "[score_index] q={}, must be f32 [{}, H, D]", a.q.describe(), a.kv.size());
  for (const KvPages& kv : a.kv) {
    check_index("score_index", a.index, kv, a.plane);
    LK_REQUIRE(a.q.dim(2) == kv.head_dim && a.q.dim(1) >= 1 && a.q.dim(1) % kv.kv_heads == 0, kInvalidArgument,
               "[score_index] q={} against {} KV heads of {}", a.q.describe(), kv.kv_heads, kv.head_dim);
    LK_REQUIRE(a.keys.rank == 3 && a.keys.dtype == DType::kF32 && a.keys.dim(0) == a.q.dim(0) &&
                   a.keys.dim(1) == kv.kv_heads && a.keys.dim(2) >= kv.length,
               kInvalidArgument, "[score_index] keys={}, must be f32 [{}, {}, at least {}]", a.keys.describe(),
               a.q.dim(0), kv.kv_heads, kv.length);
  }
}

}  // namespace

void score_index(const Context&, const ScoreIndexArgs& a) {
  check(a);
  ref::score_index(a);
}

}  // namespace lowkey
