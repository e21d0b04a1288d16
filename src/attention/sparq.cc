#include "attention/sparq.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "attention/spec.h"
#include "base/error.h"
#include "ops/columns_append.h"
#include "ops/mean_values.h"
#include "ops/ref/kv_value.h"
#include "ops/score_columns.h"
#include "ops/value_sums_append.h"

namespace lowkey {
namespace {

constexpr int kColumnsPlane = 0, kSumsPlane = 1;
}  // namespace

std::unique_ptr<Method> Sparq::make(const AttentionSpec& spec, const MethodInputs& inputs) {
  const Settings settings(spec);
  const SelectiveOptions budget = read_selective_options(settings, {});
  SparqOptions options;
  const int dim = inputs.shape.head_dim;
  options.columns = static_cast<int>(settings.integer("r", std::min(options.columns, dim), 1, dim));
  options.raw_sum = settings.choice("score", {"raw", "softmax"}) == "raw";
  options.mean = settings.choice("mean", {"on", "off"}) == "on";
  if (budget.share < 1 && options.raw_sum) settings.refuse("p", "1 with score=raw, whose sums are no shares");
  return std::make_unique<Sparq>(budget, options);
}

std::vector<int64_t> Sparq::planes(const AttentionShape& shape, DType kv_type, int page_tokens) const {
  require_float_cache("sparq", kv_type);
  LK_REQUIRE(page_tokens % kColumnTileTokens == 0, kInvalidArgument,
             "[sparq] the cache has pages of {} tokens, must be a multiple of {}", page_tokens, kColumnTileTokens);
  std::vector<int64_t> bytes{key_columns_page_bytes(kv_type, shape.head_dim, page_tokens)};
  if (options_.mean) bytes.push_back(value_sums_page_bytes(shape.head_dim));
  return bytes;
}

void Sparq::append(const LayerStep& step, const Qkv& qkv) const {
  Method::append(step, qkv);
  for (size_t b = 0; b < step.kv.size(); ++b) {
    columns_append(step.context, {.kv = step.kv[b], .tokens = step.counts[b], .plane = kColumnsPlane});
    if (options_.mean)
      value_sums_append(step.context, {.kv = step.kv[b], .tokens = step.counts[b], .plane = kSumsPlane});
  }
}

// The pages between the two rows lose one value before them and gain the other.
void Sparq::move_row(const LayerStep& step, const KvPages& kv, int head, int64_t from, int64_t to) const {
  const int dim = kv.head_dim;
  const std::byte *source = kv.token(head, from), *target = kv.token(head, to);
  for (int64_t page = to / kv.page_tokens + 1; options_.mean && page <= from / kv.page_tokens; ++page)
    for (int i = 0; i < dim; ++i)
      value_sum(kv, kSumsPlane, head, page)[i] +=
          ref::kv_value(kv.dtype, source, dim + i) - ref::kv_value(kv.dtype, target, dim + i);
  Method::move_row(step, kv, head, from, to);
  const int64_t size = row_bytes(kv.dtype, 1);
  const auto column = [&](int64_t t, int i) {
    return key_column_tile(kv, kColumnsPlane, head, t) + (i * kColumnTileTokens + t % kColumnTileTokens) * size;
  };
  for (int i = 0; i < dim; ++i) std::memcpy(column(to, i), column(from, i), static_cast<size_t>(size));
}

void Sparq::score(const LayerStep& step, std::span<const KvPages> rows, View q, View keys, View scores) const {
  score_columns(step.context, {.q = q,
                               .kv = rows,
                               .plane = kColumnsPlane,
                               .columns = options_.columns,
                               .scale = step.shape.scale(),
                               .raw_sum = options_.raw_sum,
                               .keys = keys,
                               .scores = scores});
}

int64_t Sparq::score_bytes(const LayerStep& step, int64_t length) const noexcept {
  const KvPages& kv = step.kv[0];
  const int64_t columns = length * row_bytes(kv.dtype, options_.columns);
  if (!options_.mean) return columns;
  return columns + value_sums_page_bytes(kv.head_dim) + ((length - 1) % kv.page_tokens + 1) * kv.token_bytes() / 2;
}

void Sparq::note(const LayerStep& step, std::span<const KvPages> rows, View scores, std::span<const TokenList> lists,
                 View notes) const {
  const int64_t heads = step.shape.heads, group = heads / step.shape.kv_heads;
  step.context.threads.dynamic(scores.rows(), [&](int64_t i, int) {
    notes.f32()[i] =
        share_of(scores.f32_row(i), rows[static_cast<size_t>(i / heads)].length, lists[static_cast<size_t>(i / group)]);
  });
}

void Sparq::attend(const LayerStep& step, View q, const Selection& selection, View out) const {
  Method::attend(step, q, selection, out);
  if (!selection.notes) return;
  const std::span<const KvPages> pages = row_pages(step);
  const int64_t heads = q.dim(1), dim = q.dim(2), kv_heads = step.shape.kv_heads, group = heads / kv_heads;
  Scratch::Frame frame(step.context.scratch);
  auto* kv = frame.take<KvPages>(q.dim(0));
  auto* at = frame.take<int64_t>(q.dim(0));
  int64_t count = 0;  // rows that have a list
  for (int64_t row = 0; row < q.dim(0); ++row) {
    const auto lists = selection.tokens.subspan(static_cast<size_t>(row * kv_heads), static_cast<size_t>(kv_heads));
    if (std::none_of(lists.begin(), lists.end(), [](const TokenList& l) { return l.ids != nullptr; })) continue;
    kv[count] = pages[static_cast<size_t>(row)], at[count++] = row;
  }
  View means = frame.take_f32({count, kv_heads, dim});
  mean_values(step.context, {.kv = {kv, static_cast<size_t>(count)}, .plane = kSumsPlane, .means = means});
  for (int64_t i = 0; i < count * heads; ++i) {
    const int64_t head = at[i / heads] * heads + i % heads;
    if (selection.tokens[static_cast<size_t>(head / group)].ids == nullptr) continue;
    const float alpha = selection.notes.f32()[head], *mean = means.f32_row(i / group);
    float* x = out.f32_row(head);
    for (int64_t d = 0; d < dim; ++d) x[d] = alpha * x[d] + (1 - alpha) * mean[d];
  }
}

}  // namespace lowkey
