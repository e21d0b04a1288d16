#include "ops/mean_values.h"

#include "base/error.h"
#include "ops/check_value_sums.h"
#include "ops/cpu/sum_values.h"

namespace lowkey {

void mean_values(const Context& context, const MeanValuesArgs& a) {
  if (a.kv.empty()) return;
  const int kv_heads = a.kv[0].kv_heads, dim = a.kv[0].head_dim;
  LK_REQUIRE(a.means.rank == 3 && a.means.dtype == DType::kF32 && a.means.dim(0) == static_cast<int64_t>(a.kv.size()) &&
                 a.means.dim(1) == kv_heads && a.means.dim(2) == dim,
             kInvalidArgument, "[mean_values] means={}, must be f32 [{}, {}, {}]", a.means.describe(), a.kv.size(),
             kv_heads, dim);
  for (const KvPages& kv : a.kv) {
    check_value_sums("mean_values", kv, a.plane);
    LK_REQUIRE(kv.kv_heads == kv_heads && kv.head_dim == dim && kv.length >= 1, kInvalidArgument,
               "[mean_values] {} KV heads of {}, {} tokens", kv.kv_heads, kv.head_dim, kv.length);
  }
  context.threads.dynamic(a.means.dim(0) * kv_heads, [&](int64_t pair, int) {
    const KvPages& kv = a.kv[static_cast<size_t>(pair / kv_heads)];
    const auto head = static_cast<int>(pair % kv_heads);
    const int64_t page = (kv.length - 1) / kv.page_tokens;
    const float* before = value_sum(kv, a.plane, head, page);
    float* mean = a.means.f32_row(pair);
    sum_values(kv, head, page * kv.page_tokens, kv.length, mean);
    for (int i = 0; i < dim; ++i) mean[i] = (mean[i] + before[i]) / static_cast<float>(kv.length);
  });
}

}  // namespace lowkey
