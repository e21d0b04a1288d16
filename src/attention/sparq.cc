#include "attention/sparq.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "attention/spec.h"
#include "base/error.h"
#include "ops/choose_columns.h"
#include "ops/columns_append.h"
#include "ops/group_keys.h"
#include "ops/mean_values.h"
#include "ops/ref/kv_value.h"
#include "ops/score_columns.h"
#include "ops/score_keys.h"
#include "ops/value_sums_append.h"

namespace lowkey {
namespace {

constexpr int kColumnsPlane = 0, kSumsPlane = 1;

float score_scale(const LayerStep& step) { return 1.f / std::sqrt(static_cast<float>(step.shape.head_dim)); }

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

void Sparq::score(const LayerStep& step, std::span<const KvPages> rows, View q, View keys, View notes) const {
  score_columns(step.context, {.q = q,
                               .kv = rows,
                               .plane = kColumnsPlane,
                               .columns = options_.columns,
                               .scale = score_scale(step),
                               .raw_sum = options_.raw_sum,
                               .keys = keys,
                               .log_sums = notes});
}

int64_t Sparq::score_bytes(const LayerStep& step, int64_t length) const noexcept {
  const KvPages& kv = step.kv[0];
  const int64_t columns = length * row_bytes(kv.dtype, options_.columns);
  if (!options_.mean) return columns;
  return columns + value_sums_page_bytes(kv.head_dim) + ((length - 1) % kv.page_tokens + 1) * kv.token_bytes() / 2;
}

// Some rows that have lists.
struct Sparq::Rows {
  std::span<const int32_t> at;       // [N] which of the step's rows
  std::span<const KvPages> kv;       // [N]
  std::span<const TokenList> lists;  // [N * KH]; {not null, 0} for a head that reads everything
  View q;                            // [N, H, D], for the scores of the tokens read; changed
  View notes;                        // [T, H]
  int64_t longest;                   // tokens cached
};

void Sparq::attend(const LayerStep& step, View q, const Selection& selection, View out) const {
  Method::attend(step, q, selection, out);
  if (!selection.notes) return;
  constexpr int64_t kScoreFloats = int64_t{8} << 20;  // scores held at a time, unless one row takes more
  constexpr int32_t kNone = 0;
  const std::span<const KvPages> pages = row_pages(step);
  const int64_t total = q.dim(0), heads = q.dim(1), dim = q.dim(2), kv_heads = step.shape.kv_heads;
  int64_t longest = 1;
  for (const KvPages& kv : pages) longest = std::max(longest, kv.length);
  const int64_t batch = std::clamp<int64_t>(kScoreFloats / (heads * longest), 1, total);
  Scratch::Frame frame(step.context.scratch);
  auto* at = frame.take<int32_t>(batch);
  auto* kv = frame.take<KvPages>(batch);
  auto* lists = frame.take<TokenList>(batch * kv_heads);
  View queries = frame.take_f32({batch, heads, dim});
  for (int64_t row = 0, n = 0; row < total; ++row) {
    const TokenList* list = &selection.tokens[static_cast<size_t>(row * kv_heads)];
    if (std::any_of(list, list + kv_heads, [](const TokenList& l) { return l.ids != nullptr; })) {
      at[n] = static_cast<int32_t>(row), kv[n] = pages[static_cast<size_t>(row)];
      for (int64_t h = 0; h < kv_heads; ++h)
        lists[n * kv_heads + h] = list[h].ids ? list[h] : TokenList{.ids = &kNone, .count = 0};
      std::copy_n(q.f32() + row * heads * dim, heads * dim, queries.f32() + n++ * heads * dim);
    }
    if (n == 0 || (n < batch && row + 1 < total)) continue;
    const auto count = static_cast<size_t>(n);
    reallocate(step,
               {.at = {at, count},
                .kv = {kv, count},
                .lists = {lists, count * static_cast<size_t>(kv_heads)},
                .q = rows_of(queries, 0, n),
                .notes = selection.notes,
                .longest = longest},
               out);
    n = 0;
  }
}

namespace {

// Leaves of a group's queries, [heads, dim], what score_columns used of them: the chosen coordinates, times the
// temperature of each head. Products of these with whole keys are its scores.
void keep_columns(float* q, int heads, int dim, int count, int32_t* columns, float* sums) noexcept {
  choose_columns(q, heads, dim, count, columns, sums);
  for (int h = 0; h < heads; ++h) {
    float* head = q + h * dim;
    const float temperature = column_temperature(head, dim, columns, count);
    for (int i = 0, r = 0; i < dim; ++i) head[i] = r < count && columns[r] == i ? (++r, head[i] * temperature) : 0.f;
  }
}

}  // namespace

// The tokens read are scored once more, by their own keys, which attention has just fetched.
void Sparq::reallocate(const LayerStep& step, const Rows& rows, View out) const {
  const int64_t count = rows.q.dim(0), kv_heads = step.shape.kv_heads, dim = step.shape.head_dim;
  const auto group = static_cast<int>(step.shape.heads / kv_heads);
  Scratch::Frame frame(step.context.scratch);
  View means = frame.take_f32({count, kv_heads, dim});
  View scores = frame.take_f32({count, kv_heads * group, rows.longest});
  auto* columns = frame.take<int32_t>(count * kv_heads * dim);
  auto* sums = frame.take<float>(count * kv_heads * dim);
  mean_values(step.context, {.kv = rows.kv, .plane = kSumsPlane, .means = means});
  step.context.threads.dynamic(count * kv_heads, [&](int64_t pair, int) {
    keep_columns(rows.q.f32_row(pair * group), group, static_cast<int>(dim), options_.columns, columns + pair * dim,
                 sums + pair * dim);
  });
  score_keys(step.context, {.q = rows.q,
                            .kv = rows.kv,
                            .dims = static_cast<int>(dim),
                            .scale = score_scale(step),
                            .per_query_head = true,
                            .keys = scores,
                            .tokens = rows.lists});
  step.context.threads.dynamic(count * kv_heads, [&](int64_t pair, int) {
    const TokenList list = rows.lists[static_cast<size_t>(pair)];
    const int64_t row = rows.at[static_cast<size_t>(pair / kv_heads)];
    const float* mean = means.f32_row(pair);
    for (int64_t g = 0; list.count > 0 && g < group; ++g) {
      const int64_t head = pair % kv_heads * group + g;
      const float held = log2_sum(scores.f32_row(pair * group + g), list.count) - rows.notes.f32_row(row)[head];
      const float alpha = std::exp2(std::min(held, 0.f));  // rounding may say more than all
      float* x = out.f32_row(row * kv_heads * group + head);
      for (int64_t i = 0; i < dim; ++i) x[i] = alpha * x[i] + (1 - alpha) * mean[i];
    }
  });
}

}  // namespace lowkey
