#include "ops/attention_decode.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "ops/check_kv.h"
#include "ops/ref/kv_value.h"

namespace lowkey {
namespace {

void check(const AttentionDecodeArgs& a) {
  LK_REQUIRE(a.q.rank == 3 && a.q.dtype == DType::kF32 && a.q.dim(0) == static_cast<int64_t>(a.kv.size()),
             kInvalidArgument, "[attention_decode] q={}, must be f32 [{}, H, D]", a.q.describe(), a.kv.size());
  LK_REQUIRE(a.out.dtype == DType::kF32 && a.out.rank == 3 && a.out.shape == a.q.shape, kInvalidArgument,
             "[attention_decode] out={}, must be shaped as q={}", a.out.describe(), a.q.describe());
  for (const KvPages& kv : a.kv) {
    check_kv("attention_decode", kv);
    LK_REQUIRE(kv.head_dim == a.q.dim(2) && a.q.dim(1) % kv.kv_heads == 0, kInvalidArgument,
               "[attention_decode] q={} against {} KV heads of {}", a.q.describe(), kv.kv_heads, kv.head_dim);
    LK_REQUIRE(kv.kv_heads == a.kv[0].kv_heads && kv.dtype == a.kv[0].dtype, kInvalidArgument,
               "[attention_decode] caches of different shape or type in one batch");
  }
  LK_REQUIRE(a.tokens.empty() || a.kv.empty() || a.tokens.size() == a.kv.size() * static_cast<size_t>(a.kv[0].kv_heads),
             kInvalidArgument, "[attention_decode] {} token lists for {} sequences", a.tokens.size(), a.kv.size());
}

void attend(const KvPages& kv, int head, TokenList list, const float* q, float scale, float* out) noexcept {
  const int64_t dim = kv.head_dim, count = list.ids ? list.count : kv.length;
  float max = -std::numeric_limits<float>::infinity(), total = 0;
  std::fill(out, out + dim, 0.f);
  for (int64_t i = 0; i < count; ++i) {
    const std::byte* row = kv.token(head, list.ids ? list.ids[i] : i);
    float dot = 0;
    for (int64_t d = 0; d < dim; ++d) dot += q[d] * ref::kv_value(kv.dtype, row, d);
    dot *= scale;
    const float next = std::max(max, dot), old = std::exp(max - next), weight = std::exp(dot - next);
    max = next, total = total * old + weight;
    for (int64_t d = 0; d < dim; ++d) out[d] = out[d] * old + weight * ref::kv_value(kv.dtype, row, dim + d);
  }
  for (int64_t d = 0; d < dim; ++d) out[d] /= total;
}

}  // namespace

void attention_decode(const Context& context, const AttentionDecodeArgs& a) {
  check(a);
  const int64_t heads = a.q.dim(1);
  context.threads.dynamic(a.q.dim(0) * heads, [&](int64_t row, int) {
    const auto b = static_cast<size_t>(row / heads);
    const KvPages& kv = a.kv[b];
    const auto kv_head = static_cast<int>(row % heads / (heads / kv.kv_heads));
    const size_t pair = b * static_cast<size_t>(kv.kv_heads) + static_cast<size_t>(kv_head);
    attend(kv, kv_head, a.tokens.empty() ? TokenList{} : a.tokens[pair], a.q.f32_row(row), a.scale, a.out.f32_row(row));
  });
}

}  // namespace lowkey
