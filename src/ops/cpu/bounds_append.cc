// Numbers of all three types are compared as integers, without widening them: that order is the same once the bits of
// negative ones below the sign are turned over. So plain loops, which the compiler vectorises, are fast enough.
#include "ops/bounds_append.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "ops/check_bounds.h"
#include "ops/cpu/bound_rows.h"

namespace lowkey {
namespace {

constexpr int kLanes = 8;           // coordinates at a time; D is a multiple
constexpr int64_t kTokenRun = 256;  // tokens handed to a thread at a time, or one block

// Its own inverse.
template <typename Int>
Int ordered(Int x) noexcept {
  return static_cast<Int>(x ^ ((x >> (8 * sizeof(Int) - 1)) & std::numeric_limits<Int>::max()));
}

template <typename Int>
void bound_typed(const KvPages& kv, int head, int64_t begin, int64_t end, std::byte* out) noexcept {
  for (int at = 0; at < kv.head_dim; at += kLanes) {
    Int x[kLanes], least[kLanes], most[kLanes];
    for (int i = 0; i < kLanes; ++i)
      least[i] = std::numeric_limits<Int>::max(), most[i] = std::numeric_limits<Int>::min();
    for (int64_t t = begin; t < end; ++t) {
      std::memcpy(x, kv.token(head, t) + at * sizeof(Int), sizeof(x));
      for (int i = 0; i < kLanes; ++i) {
        const Int value = ordered(x[i]);
        least[i] = std::min(least[i], value), most[i] = std::max(most[i], value);
      }
    }
    for (int i = 0; i < kLanes; ++i) least[i] = ordered(least[i]), most[i] = ordered(most[i]);
    std::memcpy(out + at * sizeof(Int), least, sizeof(least));
    std::memcpy(out + (kv.head_dim + at) * sizeof(Int), most, sizeof(most));
  }
}

}  // namespace

void bound_rows(const KvPages& kv, int head, int64_t begin, int64_t end, std::byte* out) noexcept {
  kv.dtype == DType::kF32 ? bound_typed<int32_t>(kv, head, begin, end, out)
                          : bound_typed<int16_t>(kv, head, begin, end, out);
}

void bounds_append(const Context& context, const BoundsAppendArgs& a) {
  check_bounds("bounds_append", a.bounds, a.kv);
  LK_REQUIRE(a.tokens >= 0 && a.tokens <= a.kv.length, kInvalidArgument,
             "[bounds_append] {} new tokens, length={}: at most length", a.tokens, a.kv.length);
  const int64_t block = a.bounds.block_tokens, run = std::max<int64_t>(kTokenRun / block, 1);
  const int64_t first = (a.kv.length - a.tokens) / block, end = a.kv.length / block;
  const int64_t runs = (end - first + run - 1) / run;
  const KvPages rows = a.bounds.rows(a.kv);
  context.threads.dynamic(a.kv.kv_heads * runs, [&](int64_t i, int) {
    const int head = static_cast<int>(i / runs);
    const int64_t begin = first + i % runs * run;
    for (int64_t b = begin; b < std::min(begin + run, end); ++b)
      bound_rows(a.kv, head, b * block, (b + 1) * block, rows.token(head, b));
  });
}

}  // namespace lowkey
