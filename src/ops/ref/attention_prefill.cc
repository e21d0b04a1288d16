#include "ops/attention_prefill.h"

#include "ops/attention_decode.h"

namespace lowkey::ref {

// Row i of a prompt is one decoding step against the tokens up to its own, or against all.
void attention_prefill(const AttentionPrefillArgs& a) noexcept {
  const int64_t tokens = a.q.dim(0), heads = a.q.dim(1), dim = a.q.dim(2);
  for (int64_t t = 0; t < tokens; ++t) {
    KvPages kv = a.kv;
    if (a.causal) kv.length = a.kv.length - tokens + t + 1;
    const View q{a.q.row(t * heads), DType::kF32, {1, heads, dim}};
    const View out{a.out.row(t * heads), DType::kF32, {1, heads, dim}};
    attention_decode(
        {.q = q, .kv = {&kv, 1}, .tokens = {}, .scale = a.scale, .out = out, .window = a.window, .cap = a.cap});
  }
}

}  // namespace lowkey::ref
