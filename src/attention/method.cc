#include "attention/method.h"

#include <algorithm>
#include <cmath>

#include "ops/attention_prefill.h"
#include "ops/kv_append.h"
#include "ops/matmul.h"

namespace lowkey {
namespace {

// Rows [begin, begin + count) of a [T, H, D] view.
View rows_of(View x, int64_t begin, int64_t count) {
  const int64_t row = x.dim(1) * x.dim(2);
  return f32_view(x.f32() + begin * row, {count, x.dim(1), x.dim(2)});
}

}  // namespace

int64_t Selection::bytes_read(const LayerStep& step) const noexcept {
  int64_t bytes = index_bytes;
  if (tokens.empty())
    for (const KvPages& kv : step.kv) bytes += kv.length * kv.kv_heads * kv.token_bytes();
  for (const TokenList& list : tokens) bytes += list.count * step.kv[0].token_bytes();
  return bytes;
}

void Method::project(const LayerStep& step, View x, const Qkv& qkv) const {
  const int64_t rows = x.rows();
  const auto flat = [rows](View v) { return f32_view(v.f32(), {rows, v.dim(1) * v.dim(2)}); };
  const MatmulPart parts[] = {
      {step.projections.q, flat(qkv.q)}, {step.projections.k, flat(qkv.k)}, {step.projections.v, flat(qkv.v)}};
  matmul_parts(step.context, x, parts, 3);
  for (View rotated : {qkv.q, qkv.k})
    rope(step.context, {rotated, step.positions, step.inverse_frequency, step.rope_layout});
}

void Method::append(const LayerStep& step, const Qkv& qkv) const {
  int64_t row = 0;
  for (size_t b = 0; b < step.kv.size(); ++b) {
    const int32_t count = step.counts[b];
    kv_append(step.context, {rows_of(qkv.k, row, count), rows_of(qkv.v, row, count), step.kv[b]});
    row += count;
  }
}

void Method::attend(const LayerStep& step, View q, const Selection& selection, View out) const {
  const float scale = 1.0f / std::sqrt(static_cast<float>(step.shape.head_dim));
  int64_t row = 0;
  for (size_t b = 0; b < step.kv.size();) {
    if (step.counts[b] > 1) {  // a piece of a prompt
      const int32_t count = step.counts[b];
      attention_prefill(step.context, {rows_of(q, row, count), step.kv[b], scale, rows_of(out, row, count)});
      row += count, ++b;
      continue;
    }
    // Neighbours that decode go together.
    const auto end = static_cast<size_t>(
        std::find_if(step.counts.begin() + static_cast<int64_t>(b), step.counts.end(), [](int c) { return c > 1; }) -
        step.counts.begin());
    const auto sequences = static_cast<int64_t>(end - b);
    const auto lists = static_cast<size_t>(step.shape.kv_heads);
    attention_decode(step.context, {rows_of(q, row, sequences), step.kv.subspan(b, end - b),
                                    selection.tokens.empty() ? selection.tokens
                                                             : selection.tokens.subspan(b * lists, (end - b) * lists),
                                    scale, rows_of(out, row, sequences)});
    row += sequences, b = end;
  }
}

}  // namespace lowkey
