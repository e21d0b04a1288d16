#include "ops/kv_append.h"

#include "base/error.h"
#include "base/half.h"
#include "ops/check_kv.h"

namespace lowkey {
namespace {

void check(const KvAppendArgs& a) {
  check_kv("kv_append", a.kv);
  for (const View& x : {a.k, a.v}) {
    LK_REQUIRE(x.rank == 3 && x.dtype == DType::kF32 && x.dim(1) == a.kv.kv_heads && x.dim(2) == a.kv.head_dim,
               kInvalidArgument, "[kv_append] {}, must be f32 [T, {}, {}]", x.describe(), a.kv.kv_heads, a.kv.head_dim);
  }
  LK_REQUIRE(a.k.dim(0) == a.v.dim(0) && a.k.dim(0) <= a.kv.length, kInvalidArgument,
             "[kv_append] {} keys, {} values, length={}: as many keys as values, at most length", a.k.dim(0),
             a.v.dim(0), a.kv.length);
}

void convert(DType dtype, const float* x, std::byte* out, int64_t n) noexcept {
  for (int64_t i = 0; i < n; ++i) {
    if (dtype == DType::kF32) reinterpret_cast<float*>(out)[i] = x[i];
    if (dtype == DType::kF16) reinterpret_cast<uint16_t*>(out)[i] = f32_to_f16(x[i]);
    if (dtype == DType::kBF16) reinterpret_cast<uint16_t*>(out)[i] = f32_to_bf16(x[i]);
  }
}

}  // namespace

void kv_append(const Context& context, const KvAppendArgs& a) {
  check(a);
  const int64_t tokens = a.k.dim(0), first = a.kv.length - tokens, heads = a.kv.kv_heads;
  const auto rows = [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      for (int head = 0; head < heads; ++head) {
        std::byte* row = a.kv.token(head, first + t);
        convert(a.kv.dtype, a.k.f32_row(t * heads + head), row, a.kv.head_dim);
        convert(a.kv.dtype, a.v.f32_row(t * heads + head), row + a.kv.token_bytes() / 2, a.kv.head_dim);
      }
    }
  };
  if (tokens < 16) return rows(0, tokens, 0);
  context.threads.split(tokens, 1, rows);
}

}  // namespace lowkey
