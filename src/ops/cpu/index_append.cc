#include "ops/index_append.h"

#include "base/error.h"
#include "ops/check_index.h"

namespace lowkey {

void index_append(const Context&, const IndexAppendArgs& a) {
  check_index("index_append", a.index, a.kv, a.plane);
  LK_REQUIRE(a.k.rank == 3 && a.k.dtype == DType::kF32 && a.k.dim(1) == a.kv.kv_heads && a.k.dim(2) == a.kv.head_dim,
             kInvalidArgument, "[index_append] {}, must be f32 [T, {}, {}]", a.k.describe(), a.kv.kv_heads,
             a.kv.head_dim);
  LK_REQUIRE(a.k.dim(0) <= a.kv.length, kInvalidArgument, "[index_append] {} keys, length={}: at most length",
             a.k.dim(0), a.kv.length);
  ref::index_append(a);
}

}  // namespace lowkey
