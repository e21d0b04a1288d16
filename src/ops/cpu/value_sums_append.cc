#include "ops/value_sums_append.h"

#include <algorithm>

#include "base/error.h"
#include "ops/check_value_sums.h"
#include "ops/cpu/sum_values.h"

namespace lowkey {

void value_sums_append(const Context& context, const ValueSumsAppendArgs& a) {
  check_value_sums("value_sums_append", a.kv, a.plane);
  LK_REQUIRE(a.tokens >= 0 && a.tokens <= a.kv.length, kInvalidArgument,
             "[value_sums_append] {} new tokens, length={}: at most length", a.tokens, a.kv.length);
  const int64_t page = a.kv.page_tokens, dim = a.kv.head_dim;
  const int64_t first = (a.kv.length - a.tokens + page - 1) / page, end = (a.kv.length + page - 1) / page;
  if (first >= end) return;  // no page begins
  context.threads.dynamic(a.kv.kv_heads, [&](int64_t h, int) {
    const auto head = static_cast<int>(h);
    for (int64_t p = first; p < end; ++p) {
      float* sum = value_sum(a.kv, a.plane, head, p);
      std::fill_n(sum, dim, 0.f);
      if (p == 0) continue;
      sum_values(a.kv, head, (p - 1) * page, p * page, sum);
      const float* before = value_sum(a.kv, a.plane, head, p - 1);
      for (int64_t i = 0; i < dim; ++i) sum[i] += before[i];
    }
  });
}

}  // namespace lowkey
