#include "attention/selective.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "ops/group_keys.h"
#include "ops/select_tokens.h"

namespace lowkey {
namespace {

constexpr int64_t kKeyFloats = int64_t{8} << 20;  // keys held at a time, unless one row takes more

double seconds(std::chrono::steady_clock::duration d) { return std::chrono::duration<double>(d).count(); }

int64_t units(int64_t tokens, int unit) { return (tokens + unit - 1) / unit; }

// The first token of the page in which a row's window begins.
int64_t first_page(const KvPages& kv, int64_t window) {
  const int64_t first = window > 0 ? std::max<int64_t>(0, kv.length - window) : 0;
  return first / kv.page_tokens * kv.page_tokens;
}

// The cache from there on, and how many of its first units lie before the window, if only in part.
struct Visible {
  KvPages kv;
  int64_t tokens_before, units_before;

  Visible(const KvPages& all, int64_t window, int unit) : kv(all), tokens_before(first_page(all, window)) {
    const int64_t first = window > 0 ? std::max<int64_t>(0, all.length - window) : 0;
    units_before = units(first - tokens_before, unit);
    kv.table += tokens_before / kv.page_tokens;
    kv.length -= tokens_before;
  }
};

}  // namespace

SelectiveOptions read_selective_options(const Settings& s, SelectiveOptions o) {
  constexpr int64_t kMost = int64_t{1} << 31;
  o.k = s.amount("k", o.k);
  o.sink = s.integer("sink", o.sink, 0, kMost);
  o.recent = s.integer("recent", o.recent, 0, kMost);
  o.share = s.share("p", o.share);
  o.least = s.amount("kmin", o.least);
  if (s.text("min") != "auto") o.min_tokens = s.integer("min", o.min_tokens, 0, kMost);
  o.dense_layers = static_cast<int>(s.integer("dense_layers", o.dense_layers, 0, 1 << 20));
  if (s.has("prefill")) {
    const std::string mode = s.choice("prefill", {"dense", "sparse", "all"});
    o.prefill = mode == "dense" ? PrefillMode::kDense : mode == "sparse" ? PrefillMode::kSparse : PrefillMode::kAll;
  }
  return o;
}

// The list's keys move to the front, in place: ids ascend, so none is overwritten before it is read.
float share_of(float* keys, int64_t length, const TokenList& list) noexcept {
  if (list.ids == nullptr) return 1;
  const float all = log2_sum(keys, length);
  for (int64_t i = 0; i < list.count; ++i) keys[i] = keys[list.ids[i]];
  return std::exp2(std::min(log2_sum(keys, list.count) - all, 0.f));  // rounding may say more than all
}

// The new tokens that select. Each sees its cache from the page on where its window begins.
struct Selective::Rows {
  std::span<const KvPages> kv;            // [T], of all new tokens
  View q;                                 // [T, H, D]
  std::span<const int32_t> at;            // [N] which of them
  std::span<int32_t*> ids;                // [N * lists]
  std::span<const SelectBudget> budgets;  // [N], in units
  int64_t lists;                          // of a token
  int64_t longest;                        // tokens
  int64_t window;                         // 0: none
};

bool Selective::selects(const LayerStep& step, size_t b, int64_t length) const noexcept {
  const SelectiveOptions& o = options_;
  if (step.counts[b] > 1) {
    const bool first_chunk = step.kv[b].length == step.counts[b];
    if (o.prefill == PrefillMode::kDense || (o.prefill == PrefillMode::kSparse && first_chunk)) return false;
  }
  if (step.window > 0 && length < 2 * unit()) return false;  // there may be no whole unit in it
  return length >= o.min_tokens && o.k.of(length) + o.sink + o.recent < length;
}

Selection Selective::select(const LayerStep& step, View q) const {
  if (step.layer < options_.dense_layers) return {};
  const std::span<const KvPages> kv = row_pages(step);
  const auto tokens = static_cast<int64_t>(kv.size());
  Rows rows{.kv = kv, .q = q, .at = {}, .ids = {}, .budgets = {}, .lists = 0, .longest = 0, .window = step.window};
  rows.lists = options_.per_query_head ? step.shape.heads : step.shape.kv_heads;
  auto* at = step.frame.take<int32_t>(tokens);
  auto* budgets = step.frame.take<SelectBudget>(tokens);
  size_t count = 0;
  for (size_t b = 0, row = 0; b < step.kv.size(); ++b) {
    for (int32_t i = 0; i < step.counts[b]; ++i, ++row) {
      const int64_t length = step.visible(kv[row].length);
      if (!selects(step, b, length)) continue;
      at[count] = static_cast<int32_t>(row);
      budgets[count++] = {
          .most = units(options_.k.of(length), unit()),
          .least = std::min(units(options_.least.of(length), unit()), units(options_.k.of(length), unit())),
          .sink = units(options_.sink, unit()),
          .recent = units(options_.recent, unit()),
          .share = static_cast<float>(options_.share)};
      rows.longest = std::max(rows.longest, kv[row].length - first_page(kv[row], step.window));
    }
  }
  if (count == 0) return {};
  rows.at = {at, count}, rows.budgets = {budgets, count};

  Selection selection;
  auto* lists = step.frame.take<TokenList>(tokens * rows.lists);
  for (int64_t i = 0; i < tokens * rows.lists; ++i)
    lists[i] = {.ids = nullptr, .count = kv[static_cast<size_t>(i / rows.lists)].length};
  auto* ids = step.frame.take<int32_t*>(static_cast<int64_t>(count) * rows.lists);
  for (size_t n = 0; n < count; ++n) {
    const SelectBudget& b = budgets[n];
    const int64_t length = step.visible(kv[static_cast<size_t>(at[n])].length);
    const int64_t room = std::min(length, (b.most + b.sink + b.recent) * unit());
    for (int64_t l = 0; l < rows.lists; ++l)
      ids[static_cast<int64_t>(n) * rows.lists + l] = step.frame.take<int32_t>(room);
    selection.index_bytes += score_bytes(step, length) * step.shape.kv_heads;
  }
  rows.ids = {ids, count * static_cast<size_t>(rows.lists)};
  selection.tokens = {lists, static_cast<size_t>(tokens * rows.lists)};
  if (notes()) selection.notes = step.frame.take_f32({tokens, step.shape.heads});
  if (step.estimates) {
    selection.mass = step.frame.take_f32({tokens * rows.lists});
    std::fill_n(selection.mass.f32(), tokens * rows.lists, 1.f);
  }
  rank(step, rows, lists, selection);
  return selection;
}

namespace {

// The ids of units, counted from the first that lies in the window, become those of their tokens in the whole cache, in
// place, from the last to the first.
TokenList expand(TokenList list, int unit, const Visible& visible, int32_t* ids) {
  const int64_t length = visible.kv.length;
  if (list.ids == nullptr) return {.ids = nullptr, .count = length + visible.tokens_before};
  if (unit == 1 && visible.units_before + visible.tokens_before == 0) return list;
  const auto begin = static_cast<int32_t>(visible.units_before), before = static_cast<int32_t>(visible.tokens_before);
  const int64_t last = std::min<int64_t>(unit, length - (int64_t{list.ids[list.count - 1]} + begin) * unit);
  const int64_t count = (list.count - 1) * unit + last;
  for (int64_t i = count - 1; i >= 0; --i)
    ids[i] = before + (ids[i / unit] + begin) * unit + static_cast<int32_t>(i % unit);
  return {.ids = ids, .count = count};
}

// Keys of units before the window go: those behind move to the front.
void drop_first(View keys, int64_t row, int64_t length, int64_t count) {
  if (count > 0) std::copy_n(keys.f32_row(row) + count, length, keys.f32_row(row));
}

}  // namespace

// A batch of rows at a time: their keys, their selection, and the lists of units as lists of tokens.
void Selective::rank(const LayerStep& step, const Rows& rows, TokenList* lists, Selection& selection) const {
  const int64_t heads = step.shape.heads, dim = step.shape.head_dim, most_units = units(rows.longest, unit());
  const auto count = static_cast<int64_t>(rows.at.size());
  const int64_t kept = rows.lists + (notes() ? heads : 0);
  const int64_t batch = std::clamp<int64_t>(kKeyFloats / (kept * most_units), 1, count);
  Scratch::Frame frame(step.context.scratch);
  View keys = frame.take_f32({batch, rows.lists, most_units});
  View q = frame.take_f32({batch, heads, dim});
  View scores = notes() ? frame.take_f32({batch, heads, most_units}) : View{};
  View noted = notes() ? frame.take_f32({batch, heads}) : View{};
  auto* kv = frame.take<KvPages>(batch);
  auto* lengths = frame.take<int64_t>(batch * rows.lists);
  auto* budgets = frame.take<SelectBudget>(batch * rows.lists);
  auto* chosen = frame.take<TokenList>(batch * rows.lists);
  for (int64_t first = 0; first < count; first += batch) {
    const int64_t n = std::min(batch, count - first), pairs = n * rows.lists;
    for (int64_t i = 0; i < n; ++i) {
      const int32_t row = rows.at[static_cast<size_t>(first + i)];
      const Visible visible(rows.kv[static_cast<size_t>(row)], rows.window, unit());
      kv[i] = visible.kv;
      std::copy_n(rows.q.f32() + row * heads * dim, heads * dim, q.f32() + i * heads * dim);
      std::fill_n(lengths + i * rows.lists, rows.lists, units(kv[i].length, unit()) - visible.units_before);
      std::fill_n(budgets + i * rows.lists, rows.lists, rows.budgets[static_cast<size_t>(first + i)]);
    }
    const auto start = std::chrono::steady_clock::now();
    score(step, {kv, static_cast<size_t>(n)}, f32_view(q.f32(), {n, heads, dim}),
          f32_view(keys.f32(), {n, rows.lists, most_units}), notes() ? rows_of(scores, 0, n) : View{});
    for (int64_t i = 0; rows.window > 0 && i < pairs; ++i) {
      const int32_t row = rows.at[static_cast<size_t>(first + i / rows.lists)];
      drop_first(f32_view(keys.f32(), {pairs, most_units}), i, lengths[i],
                 Visible(rows.kv[static_cast<size_t>(row)], rows.window, unit()).units_before);
    }
    const auto scored = std::chrono::steady_clock::now();
    const auto ids = rows.ids.subspan(static_cast<size_t>(first * rows.lists), static_cast<size_t>(pairs));
    select_tokens(step.context, {.keys = f32_view(keys.f32(), {pairs, most_units}),
                                 .lengths = {lengths, static_cast<size_t>(pairs)},
                                 .budgets = {budgets, static_cast<size_t>(pairs)},
                                 .ids = ids,
                                 .lists = {chosen, static_cast<size_t>(pairs)}});
    for (int64_t i = 0; i < pairs; ++i) {
      const int64_t row = rows.at[static_cast<size_t>(first + i / rows.lists)];
      if (selection.mass)
        selection.mass.f32()[row * rows.lists + i % rows.lists] =
            share_of(keys.f32() + i * most_units, lengths[i], chosen[i]);
      lists[row * rows.lists + i % rows.lists] =
          expand(chosen[i], unit(), Visible(rows.kv[static_cast<size_t>(row)], rows.window, unit()),
                 ids[static_cast<size_t>(i)]);
    }
    if (notes()) {
      note(step, {kv, static_cast<size_t>(n)}, rows_of(scores, 0, n), {chosen, static_cast<size_t>(pairs)},
           noted.slice_rows(0, n));
      for (int64_t i = 0; i < n; ++i)
        std::copy_n(noted.f32_row(i), heads, selection.notes.f32_row(rows.at[static_cast<size_t>(first + i)]));
    }
    selection.score_seconds += seconds(scored - start);
    selection.select_seconds += seconds(std::chrono::steady_clock::now() - scored);
  }
}

}  // namespace lowkey
