#include "attention/h2o_paper.h"

#include <algorithm>
#include <cmath>

#include "ops/add_softmax.h"
#include "ops/score_keys.h"

namespace lowkey {
namespace {

constexpr int kPlane = 0;
constexpr int64_t kScoreFloats = int64_t{8} << 20;

// One query head at a time.
struct Head {
  const KvPages& kv;  // as the row sees it
  int kv_head, slot;  // slot: which of its group
  int group;

  // The sum of attention that token t has had.
  float& sum(int64_t t) const {
    auto* page = reinterpret_cast<float*>(kv.plane_page(kPlane, kv_head, t / kv.page_tokens));
    return page[t % kv.page_tokens * group + slot];
  }
};

// The row's tokens into ids, ascending; sums move on. scores: [S] log2 scores, overwritten; order: [S] scratch.
int64_t take_row(const Head& head, int64_t heavy, int64_t recent, float* scores, int32_t* order, int32_t* ids) {
  const int64_t length = head.kv.length, row = length - 1;
  int64_t kept = row;  // of the earlier tokens
  for (int64_t t = 0; t < row; ++t) order[t] = static_cast<int32_t>(t);
  if (row >= heavy) {
    kept = std::min(heavy - 1, row);
    std::nth_element(order, order + kept, order + row, [&](int32_t a, int32_t b) {
      return head.sum(a) != head.sum(b) ? head.sum(a) > head.sum(b) : a < b;
    });
    for (int64_t i = kept; i < row; ++i) head.sum(order[i]) = -1;  // gone for good, marked below
  }
  std::fill_n(ids, length, 0);
  auto* mass = reinterpret_cast<float*>(ids);  // [S]: the list is written only after the sums
  add_softmax(scores, length, 1.f, mass);
  for (int64_t t = 0; t < length; ++t)
    if (head.sum(t) >= 0) head.sum(t) += mass[t];
  int64_t count = 0;
  for (int64_t t = 0; t < length; ++t) {
    const bool gone = head.sum(t) < 0;
    if (gone) head.sum(t) = 0;
    if (!gone || t >= length - recent) ids[count++] = static_cast<int32_t>(t);
  }
  return count;
}

}  // namespace

std::vector<int64_t> H2oPaper::planes(const AttentionShape& shape, DType, int page_tokens) const {
  return {int64_t{page_tokens} * (shape.heads / shape.kv_heads) * static_cast<int64_t>(sizeof(float))};
}

void H2oPaper::append(const LayerStep& step, const Qkv& qkv) const {
  Method::append(step, qkv);
  const int group = step.shape.heads / step.shape.kv_heads;
  for (size_t b = 0; b < step.kv.size(); ++b)
    for (int64_t t = step.kv[b].length - step.counts[b]; t < step.kv[b].length; ++t)
      for (int head = 0; head < step.shape.kv_heads; ++head)
        for (int slot = 0; slot < group; ++slot) Head{step.kv[b], head, slot, group}.sum(t) = 0;
}

Selection H2oPaper::select(const LayerStep& step, View q) const {
  const std::span<const KvPages> rows = row_pages(step);
  const int heads = step.shape.heads, group = heads / step.shape.kv_heads;
  const auto total = static_cast<int64_t>(rows.size());
  int64_t longest = 1;
  for (const KvPages& kv : rows) longest = std::max(longest, kv.length);
  auto* lists = step.frame.take<TokenList>(total * heads);
  for (int64_t i = 0; i < total * heads; ++i) {
    const int64_t room = rows[static_cast<size_t>(i / heads)].length;
    lists[i] = {.ids = step.frame.take<int32_t>(room), .count = 0};
  }
  const int64_t batch = std::clamp<int64_t>(kScoreFloats / (heads * longest), 1, total);
  Scratch::Frame frame(step.context.scratch);
  View scores = frame.take_f32({batch, heads, longest});
  auto* orders = frame.take<int32_t>(step.context.threads.count() * longest);
  for (int64_t first = 0; first < total; first += batch) {
    const int64_t count = std::min(batch, total - first);
    const auto pages = rows.subspan(static_cast<size_t>(first), static_cast<size_t>(count));
    score_keys(step.context, {.q = rows_of(q, first, count),
                              .kv = pages,
                              .dims = step.shape.head_dim,
                              .scale = step.shape.scale(),
                              .per_query_head = true,
                              .keys = f32_view(scores.f32(), {count, heads, longest})});
    step.context.threads.dynamic(heads, [&](int64_t h, int thread) {
      for (int64_t n = 0; n < count; ++n) {
        const KvPages& kv = pages[static_cast<size_t>(n)];
        const Head head{kv, static_cast<int>(h) / group, static_cast<int>(h) % group, group};
        TokenList& list = lists[(first + n) * heads + h];
        list.count =
            take_row(head, heavy_.of(kv.length), recent_.of(kv.length), scores.f32() + (n * heads + h) * longest,
                     orders + thread * longest, const_cast<int32_t*>(list.ids));
        if (list.count == kv.length) list.ids = nullptr;
      }
    });
  }
  Selection selection{.tokens = {lists, static_cast<size_t>(total * heads)}};
  for (const KvPages& kv : rows) selection.index_bytes += kv.length * step.shape.kv_heads * kv.value_offset();
  return selection;
}

}  // namespace lowkey
