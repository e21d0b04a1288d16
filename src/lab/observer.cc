#include "lab/observer.h"

#include <algorithm>
#include <cmath>

#include "attention/spec.h"
#include "base/error.h"
#include "ops/attention_decode.h"
#include "ops/group_keys.h"
#include "ops/score_keys.h"
#include "ops/select_tokens.h"

namespace lowkey {

AlwaysRead always_read(const AttentionSpec& spec) {
  const Settings settings(spec);
  AlwaysRead always;
  const auto form = spec.settings.find("form");
  if (form != spec.settings.end() && form->second == "paper") always = {.sink = tokens(0), .recent = tokens(0)};
  always.sink = settings.amount("sink", always.sink, 0);
  always.recent = settings.amount("recent", always.recent, 0);
  return always;
}

void LayerObservation::add(const LayerObservation& o) noexcept {
  lists += o.lists, recall += o.recall, jaccard += o.jaccard;
  query_heads += o.query_heads, mass += o.mass, exact_mass += o.exact_mass, output_error += o.output_error;
}

void Observation::add(const Observation& o) {
  layers.resize(std::max(layers.size(), o.layers.size()));
  heads.resize(std::max(heads.size(), o.heads.size()));
  for (size_t i = 0; i < o.layers.size(); ++i) layers[i].add(o.layers[i]);
  for (size_t i = 0; i < o.heads.size(); ++i) heads[i].add(o.heads[i]);
  pairs += o.pairs, cached += o.cached, read += o.read, index_bytes += o.index_bytes;
}

std::vector<int64_t> Observer::planes(const AttentionShape& shape, DType kv_type, int page_tokens) const {
  return inner_.planes(shape, kv_type, page_tokens);
}

LayerObservation& Observer::head(const LayerStep& step, int64_t h) const noexcept {
  return out_.heads[static_cast<size_t>(int64_t{step.layer} * step.shape.heads + h)];
}

void Observer::attend(const LayerStep& step, View q, const Selection& selection, View out) const {
  out_.layers.resize(static_cast<size_t>(step.shape.layers));
  out_.heads.resize(static_cast<size_t>(step.shape.layers * step.shape.heads));
  count(step, selection);
  if (every_ == 0 || !inner_.rows_are_tokens()) return inner_.attend(step, q, selection, out);
  LK_REQUIRE(step.window == 0 && step.shape.score_cap == 0, kUnsupported,
             "[agreement] layer {} has a window of {} tokens or capped scores, which cannot be compared with",
             step.layer, step.window);
  compare(step, q, selection);
  const View exact = exact_outputs(step, q);  // before attend(), which may evict
  inner_.attend(step, q, selection, out);
  compare_outputs(step, exact, out);
}

void Observer::count(const LayerStep& step, const Selection& selection) const {
  const std::span<const KvPages> rows = row_pages(step);
  const auto heads = static_cast<size_t>(step.shape.kv_heads);
  const size_t lists = selection.tokens.size() / std::max<size_t>(rows.size() * heads, 1);  // of a KV head; 0: none
  for (size_t pair = 0; pair < rows.size() * heads; ++pair) {
    int64_t length = rows[pair / heads].length;
    const int64_t seen = step.positions[pair / heads] + int64_t{1};
    out_.cached += inner_.rows_are_tokens() ? length : seen;
    if (!inner_.rows_are_tokens()) length = inner_.kept({.length = length, .seen = seen, .count = 1});
    if (lists == 0) out_.read += length;
    for (size_t l = 0; l < lists; ++l) out_.read += selection.tokens[pair * lists + l].count;
  }
  out_.pairs += static_cast<int64_t>(rows.size() * heads);
  out_.index_bytes += selection.index_bytes;
}

// [N, H, D], of every `every`-th row.
View Observer::exact_outputs(const LayerStep& step, View q) const {
  const std::span<const KvPages> pages = row_pages(step);
  const int64_t rows = static_cast<int64_t>(pages.size()), heads = step.shape.heads, dim = step.shape.head_dim;
  const int64_t sampled = (rows + every_ - 1) / every_;
  View exact = step.frame.take_f32({sampled, heads, dim});
  Scratch::Frame frame(step.context.scratch);
  View turned = frame.take_f32({rows, heads, dim}), queries = frame.take_f32({sampled, heads, dim});
  auto* kv = frame.take<KvPages>(sampled);
  std::copy_n(q.f32(), q.elements(), turned.f32());
  inner_.to_cache_space(step, turned);
  for (int64_t i = 0; i < sampled; ++i) {
    kv[i] = pages[static_cast<size_t>(i * every_)];
    std::copy_n(turned.f32() + i * every_ * heads * dim, heads * dim, queries.f32() + i * heads * dim);
  }
  attention_decode(step.context, {.q = queries,
                                  .kv = {kv, static_cast<size_t>(sampled)},
                                  .tokens = {},
                                  .scale = step.shape.scale(),
                                  .out = exact});
  return exact;
}

void Observer::compare_outputs(const LayerStep& step, View exact, View out) const {
  const int64_t heads = step.shape.heads, dim = step.shape.head_dim;
  for (int64_t i = 0; i < exact.dim(0); ++i)
    for (int64_t h = 0; h < heads; ++h) {
      const float* good = exact.f32() + (i * heads + h) * dim;
      const float* got = out.f32() + (i * every_ * heads + h) * dim;
      double squares = 0, off = 0;
      for (int64_t d = 0; d < dim; ++d) {
        const double difference = double{got[d]} - double{good[d]};
        squares += double{good[d]} * good[d], off += difference * difference;
      }
      const double error = squares > 0 ? std::sqrt(off / squares) : 0;
      head(step, h).output_error += error;
      out_.layers[static_cast<size_t>(step.layer)].output_error += error;
    }
}

// Some rows of a step, with the keys of all tokens before them.
struct Observer::Sample {
  std::span<const KvPages> kv;       // [N]
  std::span<const TokenList> lists;  // [N * lists of a row]
  int64_t lists_per_row;             // KH or H
  View keys;                         // [N, H, S] log2 of the softmax of each query head
};

void Observer::compare(const LayerStep& step, View q, const Selection& selection) const {
  constexpr int64_t kKeyFloats = int64_t{8} << 20;  // held at a time, unless one row takes more
  const std::span<const KvPages> pages = row_pages(step);
  const int64_t rows = static_cast<int64_t>(pages.size()), heads = step.shape.heads, dim = step.shape.head_dim;
  const int64_t lists =
      selection.tokens.empty() ? step.shape.kv_heads : static_cast<int64_t>(selection.tokens.size()) / rows;
  int64_t longest = 0;
  for (const KvPages& kv : pages) longest = std::max(longest, kv.length);
  const int64_t sampled = (rows + every_ - 1) / every_;
  const int64_t batch = std::clamp<int64_t>(kKeyFloats / (heads * longest), 1, sampled);
  Scratch::Frame frame(step.context.scratch);
  // The method may read queries of its own space only together, so all are turned at once.
  View turned = frame.take_f32({rows, heads, dim}), queries = frame.take_f32({batch, heads, dim});
  View keys = frame.take_f32({batch, heads, longest});
  auto* kv = frame.take<KvPages>(batch);
  auto* chosen = frame.take<TokenList>(batch * lists);
  std::copy_n(q.f32(), q.elements(), turned.f32());
  inner_.to_cache_space(step, turned);
  for (int64_t first = 0; first < sampled; first += batch) {
    const int64_t n = std::min(batch, sampled - first);
    for (int64_t i = 0; i < n; ++i) {
      const int64_t row = (first + i) * every_;
      kv[i] = pages[static_cast<size_t>(row)];
      std::copy_n(turned.f32() + row * heads * dim, heads * dim, queries.f32() + i * heads * dim);
      for (int64_t l = 0; l < lists; ++l)
        chosen[i * lists + l] = selection.tokens.empty() ? TokenList{.ids = nullptr, .count = kv[i].length}
                                                         : selection.tokens[static_cast<size_t>(row * lists + l)];
    }
    const Sample sample{.kv = {kv, static_cast<size_t>(n)},
                        .lists = {chosen, static_cast<size_t>(n * lists)},
                        .lists_per_row = lists,
                        .keys = f32_view(keys.f32(), {n, heads, longest})};
    score_keys(step.context, {.q = f32_view(queries.f32(), {n, heads, dim}),
                              .kv = sample.kv,
                              .dims = static_cast<int>(dim),
                              .scale = step.shape.scale(),
                              .per_query_head = true,
                              .keys = sample.keys});
    step.context.threads.dynamic(n * heads, [&](int64_t i, int) {
      float* row = sample.keys.f32_row(i);
      group_keys(row, 1, longest, kv[i / heads].length, row);  // of a group of one: log2 of its softmax
    });
    compare(step, sample);
  }
}

namespace {

double mass_of(const float* keys, const TokenList& list) noexcept {
  double mass = 0;
  for (int64_t i = 0; i < list.count; ++i) mass += std::exp2(keys[list.ids == nullptr ? i : list.ids[i]]);
  return mass;
}

// Ids in [begin, end) of an ascending list.
std::span<const int32_t> between(const TokenList& list, int64_t begin, int64_t end) noexcept {
  const int32_t* first = std::lower_bound(list.ids, list.ids + list.count, begin);
  return {first, std::max(first, std::lower_bound(list.ids, list.ids + list.count, end))};
}

int64_t common(std::span<const int32_t> a, std::span<const int32_t> b) noexcept {
  int64_t count = 0;
  for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    count += a[i] == b[j];
    const int32_t x = a[i], y = b[j];
    i += x <= y, j += y <= x;
  }
  return count;
}

int64_t count_of(const Amount& amount, int64_t length) noexcept {
  return amount.count == 0 && amount.fraction == 0 ? 0 : std::min(amount.of(length), length);
}

// As many tokens besides the first and last ones as the list has. A list that has no others, because its method ranks
// nothing, is judged as if it did.
SelectBudget budget_of(const TokenList& list, int64_t length, const AlwaysRead& always) noexcept {
  if (list.ids == nullptr) return {.most = length};
  SelectBudget b;
  for (const AlwaysRead& a : {always, AlwaysRead{}}) {
    b.sink = count_of(a.sink, length);
    b.recent = std::min(count_of(a.recent, length), length - b.sink);
    b.most = static_cast<int64_t>(between(list, b.sink, length - b.recent).size());
    if (b.most > 0) return b;
  }
  b.most = 1;
  return b;
}

struct Judged {
  TokenList chosen, exact;
  SelectBudget budget;
  int64_t length;
};

// keys: [heads, stride], of the query heads that read the list; by_head: out [heads], each with one list of its own.
void judge(const Judged& j, const float* keys, int64_t stride, std::span<LayerObservation> by_head) noexcept {
  double recall = 1, jaccard = 1;
  if (j.chosen.ids != nullptr && j.exact.ids != nullptr) {
    const int64_t begin = j.budget.sink, end = j.length - j.budget.recent;
    const auto mine = between(j.chosen, begin, end), best = between(j.exact, begin, end);
    const auto both = static_cast<double>(common(mine, best));
    recall = both / static_cast<double>(best.size());
    jaccard = both / (static_cast<double>(mine.size() + best.size()) - both);
  }
  for (LayerObservation& head : by_head) {
    head = {.lists = 1, .recall = recall, .jaccard = jaccard, .query_heads = 1};
    head.mass = mass_of(keys, j.chosen), head.exact_mass = mass_of(keys, j.exact);
    keys += stride;
  }
}

}  // namespace

// For each list its exact counterpart.
void Observer::compare(const LayerStep& step, const Sample& s) const {
  const int64_t lists = s.lists_per_row, group = step.shape.heads / lists, longest = s.keys.dim(2);
  const auto pairs = static_cast<int64_t>(s.lists.size());
  const size_t n = s.lists.size();
  Scratch::Frame frame(step.context.scratch);
  View keys = frame.take_f32({pairs, longest});
  auto* lengths = frame.take<int64_t>(pairs);
  auto* budgets = frame.take<SelectBudget>(pairs);
  auto* ids = frame.take<int32_t*>(pairs);
  auto* exact = frame.take<TokenList>(pairs);
  auto* judged = frame.take<LayerObservation>(pairs * group);
  for (int64_t p = 0; p < pairs; ++p) {
    lengths[p] = s.kv[static_cast<size_t>(p / lists)].length;
    budgets[p] = budget_of(s.lists[static_cast<size_t>(p)], lengths[p], always_);
    ids[p] = frame.take<int32_t>(std::min(lengths[p], budgets[p].most + budgets[p].sink + budgets[p].recent));
  }
  step.context.threads.dynamic(pairs, [&](int64_t p, int) {
    float* best = keys.f32_row(p);
    std::copy_n(s.keys.f32_row(p * group), lengths[p], best);
    for (int64_t h = 1; h < group; ++h) {
      const float* head = s.keys.f32_row(p * group + h);
      for (int64_t t = 0; t < lengths[p]; ++t) best[t] = std::max(best[t], head[t]);
    }
  });
  select_tokens(step.context,
                {.keys = keys, .lengths = {lengths, n}, .budgets = {budgets, n}, .ids = {ids, n}, .lists = {exact, n}});
  step.context.threads.dynamic(pairs, [&](int64_t p, int) {
    judge({s.lists[static_cast<size_t>(p)], exact[p], budgets[p], lengths[p]}, s.keys.f32_row(p * group), longest,
          {judged + p * group, static_cast<size_t>(group)});
  });
  LayerObservation& layer = out_.layers[static_cast<size_t>(step.layer)];
  for (int64_t i = 0; i < pairs * group; ++i) {
    LayerObservation& one = judged[i];
    head(step, i % step.shape.heads).add(one);
    if (i % group != 0) one.lists = 0, one.recall = 0, one.jaccard = 0;  // of the layer a list counts once
    layer.add(one);
  }
}

}  // namespace lowkey
