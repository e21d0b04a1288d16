#include "attention/method.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "ops/add.h"
#include "ops/attention_prefill.h"
#include "ops/kv_append.h"
#include "ops/matmul.h"
#include "ops/rmsnorm.h"

namespace lowkey {

View rows_of(View x, int64_t begin, int64_t count) {
  const int64_t row = x.dim(1) * x.dim(2);
  return f32_view(x.f32() + begin * row, {count, x.dim(1), x.dim(2)});
}

std::span<const KvPages> row_pages(const LayerStep& step) {
  const size_t rows = step.positions.size();
  auto* pages = step.frame.take<KvPages>(static_cast<int64_t>(rows));
  size_t row = 0;
  for (size_t b = 0; b < step.kv.size(); ++b) {
    for (int32_t i = 0; i < step.counts[b]; ++i, ++row) {
      pages[row] = step.kv[b];
      pages[row].length += i + 1 - step.counts[b];
    }
  }
  return {pages, rows};
}

int64_t Selection::bytes_read(const LayerStep& step) const noexcept {
  const int64_t token_bytes = step.kv.empty() ? 0 : step.kv[0].token_bytes();
  int64_t bytes = index_bytes;
  if (tokens.empty())
    for (const KvPages& kv : step.kv) bytes += step.visible(kv.length) * kv.kv_heads * token_bytes;
  for (const TokenList& list : tokens) bytes += (list.ids ? list.count : step.visible(list.count)) * token_bytes;
  return bytes;
}

std::vector<int64_t> Method::planes(const AttentionShape&, DType, int) const { return {}; }

void Method::to_cache_space(const LayerStep&, View) const {}

void Method::move_row(const LayerStep&, const KvPages& kv, int head, int64_t from, int64_t to) const {
  std::memcpy(kv.token(head, to), kv.token(head, from), static_cast<size_t>(kv.token_bytes()));
}

namespace {

// [T, H, D] as [T, H * D].
View flat(View x) { return f32_view(x.f32(), {x.dim(0), x.dim(1) * x.dim(2)}); }

// x = norm(x + bias), head by head. x: [T, H, D].
void add_and_normalise(const LayerStep& step, View x, View bias, View gain) {
  if (bias) add(step.context, {flat(x), bias});
  if (!gain) return;
  const View heads = f32_view(x.f32(), {x.dim(0) * x.dim(1), x.dim(2)});
  rmsnorm(step.context, {heads, gain, step.projections.norm_epsilon, heads});
}

}  // namespace

void rotate(const LayerStep& step, View x, std::span<const int32_t> positions) {
  if (step.inverse_frequency)
    rope(step.context, {x, positions, step.inverse_frequency, step.rope_layout, step.rope_amplitude});
}

void project_unrotated(const LayerStep& step, View x, const Qkv& qkv) {
  const Projections& p = step.projections;
  const MatmulPart parts[] = {{p.q, flat(qkv.q)}, {p.k, flat(qkv.k)}, {p.v, flat(qkv.v)}};
  matmul_parts(step.context, x, parts, 3);
  add_and_normalise(step, qkv.q, p.q_bias, p.q_norm);
  add_and_normalise(step, qkv.k, p.k_bias, p.k_norm);
  add_and_normalise(step, qkv.v, p.v_bias, {});
}

void Method::project(const LayerStep& step, View x, const Qkv& qkv) const {
  project_unrotated(step, x, qkv);
  for (View rotated : {qkv.q, qkv.k}) rotate(step, rotated, step.positions);
}

void Method::append(const LayerStep& step, const Qkv& qkv) const {
  int64_t row = 0;
  for (size_t b = 0; b < step.kv.size(); ++b) {
    const int32_t count = step.counts[b];
    kv_append(step.context, {rows_of(qkv.k, row, count), rows_of(qkv.v, row, count), step.kv[b]});
    row += count;
  }
}

namespace {

// The lists of rows [begin, begin + count), empty when they all read everything.
std::span<const TokenList> lists_of(const Selection& selection, int64_t rows, int64_t begin, int64_t count) {
  if (selection.tokens.empty()) return {};
  const size_t per_row = selection.tokens.size() / static_cast<size_t>(rows);
  const auto lists =
      selection.tokens.subspan(static_cast<size_t>(begin) * per_row, static_cast<size_t>(count) * per_row);
  const bool any = std::any_of(lists.begin(), lists.end(), [](const TokenList& l) { return l.ids != nullptr; });
  return any ? lists : std::span<const TokenList>{};
}

}  // namespace

void Method::attend(const LayerStep& step, View q, const Selection& selection, View out) const {
  const float scale = step.shape.scale();
  const int64_t rows = q.dim(0);
  const auto reads_all = [&](size_t b, int64_t row) {
    return step.counts[b] > 1 && lists_of(selection, rows, row, step.counts[b]).empty();
  };
  std::span<const KvPages> pages;
  int64_t row = 0;
  for (size_t b = 0; b < step.kv.size();) {
    if (reads_all(b, row)) {  // a piece of a prompt
      const int32_t count = step.counts[b];
      attention_prefill(step.context, {.q = rows_of(q, row, count),
                                       .kv = step.kv[b],
                                       .scale = scale,
                                       .out = rows_of(out, row, count),
                                       .causal = step.shape.causal,
                                       .window = step.window,
                                       .cap = step.shape.score_cap});
      row += count, ++b;
      continue;
    }
    // Rows that go one by one, together with those of the sequences that follow.
    const int64_t begin = row;
    for (; b < step.kv.size() && !reads_all(b, row); ++b) row += step.counts[b];
    const int64_t count = row - begin;
    if (pages.empty()) pages = row_pages(step);
    attention_decode(step.context, {.q = rows_of(q, begin, count),
                                    .kv = pages.subspan(static_cast<size_t>(begin), static_cast<size_t>(count)),
                                    .tokens = lists_of(selection, rows, begin, count),
                                    .scale = scale,
                                    .out = rows_of(out, begin, count),
                                    .window = step.window,
                                    .cap = step.shape.score_cap});
  }
}

void require_float_cache(std::string_view method, DType kv_type) {
  LK_REQUIRE(!has_scales(kv_type), kUnsupported, "[{}] keys and values of {}: must be f32, f16 or bf16", method,
             name(kv_type));
}

}  // namespace lowkey
