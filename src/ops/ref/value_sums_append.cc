#include "ops/value_sums_append.h"

#include "ops/ref/kv_value.h"

namespace lowkey::ref {

void value_sums_append(const ValueSumsAppendArgs& a) noexcept {
  const int64_t page = a.kv.page_tokens, dim = a.kv.head_dim;
  for (int head = 0; head < a.kv.kv_heads; ++head)
    for (int64_t i = 0; i < dim; ++i) {
      double sum = 0;
      for (int64_t t = 0; t < a.kv.length; ++t) {
        if (t % page == 0 && t >= a.kv.length - a.tokens)
          value_sum(a.kv, a.plane, head, t / page)[i] = static_cast<float>(sum);
        sum += kv_value(a.kv.dtype, a.kv.token(head, t), dim + i);
      }
    }
}

}  // namespace lowkey::ref
