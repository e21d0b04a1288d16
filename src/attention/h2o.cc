#include "attention/h2o.h"

#include <algorithm>
#include <cmath>

#include "attention/dense.h"
#include "attention/h2o_paper.h"
#include "attention/spec.h"
#include "base/error.h"
#include "ops/add_softmax.h"
#include "ops/score_keys.h"

namespace lowkey {
namespace {

constexpr int64_t kScoreFloats = int64_t{8} << 20;  // scores held at a time, unless one row takes more
constexpr int64_t kInOrder = 64;                    // last rows that stay in the order of the text

// What the plane keeps of a token.
struct Memory {
  float mass;        // of attention, over all queries so far; the mean of the group's heads
  int32_t position;  // in the text
};

Memory& memory(const KvPages& kv, int plane, int head, int64_t row) {
  auto* page = reinterpret_cast<Memory*>(kv.plane_page(plane, head, row / kv.page_tokens));
  return page[row % kv.page_tokens];
}

}  // namespace

std::unique_ptr<Method> H2o::make(const AttentionSpec& spec, std::unique_ptr<Method> inner) {
  const Settings settings(spec);
  H2oOptions options;
  options.heavy = settings.amount("heavy", options.heavy);
  options.recent = settings.amount("recent", options.recent);
  options.whole_prompt = settings.choice("prefill", {"dense", "sparse"}) == "dense";
  if (settings.choice("form", {"own", "paper"}) == "own")
    return std::make_unique<H2o>(options, inner ? std::move(inner) : std::make_unique<Dense>());
  LK_REQUIRE(inner == nullptr, kInvalidArgument, "[h2o] form=paper goes with no other method");
  return std::make_unique<H2oPaper>(options.heavy, options.recent);
}

// Behind those of the inner method.
int H2o::plane(const LayerStep& step) const {
  return static_cast<int>(inner_->planes(step.shape, step.kv[0].dtype, step.kv[0].page_tokens).size());
}

std::vector<int64_t> H2o::planes(const AttentionShape& shape, DType kv_type, int page_tokens) const {
  std::vector<int64_t> bytes = inner_->planes(shape, kv_type, page_tokens);
  bytes.push_back(page_tokens * static_cast<int64_t>(sizeof(Memory)));
  return bytes;
}

int64_t H2o::kept(const StepEnd& end) const noexcept {
  if (end.count > 1 && options_.whole_prompt) return end.length;
  return std::min(end.length, options_.heavy.of(end.seen) + options_.recent.of(end.seen));
}

void H2o::append(const LayerStep& step, const Qkv& qkv) const {
  inner_->append(step, qkv);
  const int own = plane(step);
  size_t row = 0;
  for (size_t b = 0; b < step.kv.size(); ++b)
    for (int32_t i = 0; i < step.counts[b]; ++i, ++row)
      for (int head = 0; head < step.shape.kv_heads; ++head)
        memory(step.kv[b], own, head, step.kv[b].length - step.counts[b] + i) = {0, step.positions[row]};
}

// The keys of what is read are read twice: for the output, and to remember.
Selection H2o::select(const LayerStep& step, View q) const {
  Selection selection = inner_->select(step, q);
  selection.index_bytes += (selection.bytes_read(step) - selection.index_bytes) / 2;
  return selection;
}

void H2o::attend(const LayerStep& step, View q, const Selection& selection, View out) const {
  inner_->attend(step, q, selection, out);
  remember(step, q, selection);
  size_t row = 0;
  for (size_t b = 0; b < step.kv.size(); ++b) {
    row += static_cast<size_t>(step.counts[b]);
    evict(step, step.kv[b],
          {.length = step.kv[b].length, .seen = step.positions[row - 1] + int64_t{1}, .count = step.counts[b]});
  }
}

// Adds the attention of the step's queries to what their tokens have had before. Of tokens that were not selected
// nothing is known; they get nothing.
void H2o::remember(const LayerStep& step, View q, const Selection& selection) const {
  const std::span<const KvPages> rows = row_pages(step);
  const int kv_heads = step.shape.kv_heads, heads = step.shape.heads, group = heads / kv_heads, own = plane(step);
  const auto total = static_cast<int64_t>(rows.size());
  LK_REQUIRE(selection.tokens.size() <= rows.size() * static_cast<size_t>(kv_heads), kInvalidArgument,
             "[h2o] cannot go with a method that selects for each query head");
  int64_t longest = 1;
  for (const KvPages& kv : rows) longest = std::max(longest, kv.length);
  const int64_t batch = std::clamp<int64_t>(kScoreFloats / (heads * longest), 1, total);
  Scratch::Frame frame(step.context.scratch);
  View scores = frame.take_f32({batch, heads, longest});
  float* mass = frame.take<float>(kv_heads * longest);
  for (int64_t first = 0; first < total; first += batch) {
    const int64_t count = std::min(batch, total - first);
    const auto pages = rows.subspan(static_cast<size_t>(first), static_cast<size_t>(count));
    const auto lists = selection.tokens.empty() ? selection.tokens
                                                : selection.tokens.subspan(static_cast<size_t>(first * kv_heads),
                                                                           static_cast<size_t>(count * kv_heads));
    score_keys(step.context, {.q = rows_of(q, first, count),
                              .kv = pages,
                              .dims = step.shape.head_dim,
                              .scale = step.shape.scale(),
                              .per_query_head = true,
                              .keys = f32_view(scores.f32(), {count, heads, longest}),
                              .tokens = lists});
    step.context.threads.dynamic(kv_heads, [&](int64_t head, int) {
      float* sum = mass + head * longest;
      for (int64_t n = 0; n < count; ++n) {
        const KvPages& kv = pages[static_cast<size_t>(n)];
        const TokenList list = lists.empty() ? TokenList{} : lists[static_cast<size_t>(n * kv_heads + head)];
        const int64_t read = list.ids ? list.count : kv.length;
        std::fill_n(sum, read, 0.f);
        for (int g = 0; g < group; ++g)
          add_softmax(scores.f32() + (n * heads + head * group + g) * longest, read, 1.f / static_cast<float>(group),
                      sum);
        for (int64_t i = 0; i < read; ++i)
          memory(kv, own, static_cast<int>(head), list.ids ? list.ids[i] : i).mass += sum[i];
      }
    });
  }
}

void H2o::evict(const LayerStep& step, const KvPages& kv, const StepEnd& end) const {
  const int64_t keep = kept(end), remove = kv.length - keep;
  if (remove <= 0) return;
  const int heads = step.shape.kv_heads, own = plane(step);
  const int64_t recent = options_.recent.of(end.seen);
  Scratch::Frame frame(step.context.scratch);
  auto* candidates = frame.take<int32_t>(heads * kv.length);
  auto* gone = frame.take<bool>(heads * kv.length);
  step.context.threads.dynamic(heads, [&](int64_t h, int) {
    const auto head = static_cast<int>(h);
    int32_t* rows = candidates + h * kv.length;
    bool* evicted = gone + h * kv.length;
    int64_t count = 0;
    for (int64_t row = 0; row < kv.length; ++row)
      if (memory(kv, own, head, row).position < end.seen - recent) rows[count++] = static_cast<int32_t>(row);
    LK_DCHECK(count >= remove);
    std::nth_element(rows, rows + remove - 1, rows + count, [&](int32_t a, int32_t b) {
      const Memory &x = memory(kv, own, head, a), &y = memory(kv, own, head, b);
      return x.mass != y.mass ? x.mass < y.mass : x.position < y.position;
    });
    std::fill_n(evicted, kv.length, false);
    for (int64_t i = 0; i < remove; ++i) evicted[rows[i]] = true;
    close_gaps(step, {.kv = kv, .head = head, .evicted = evicted, .keep = keep, .ordered = std::min(recent, kInOrder)});
  });
}

// The rows that are not evicted move to the front, the last `ordered` of them in their order.
void H2o::close_gaps(const LayerStep& step, const Gaps& gaps) const {
  const int64_t ordered = std::min(gaps.ordered, gaps.keep), front = gaps.keep - ordered;
  int64_t from = front;
  for (int64_t to = 0; to < front; ++to) {
    if (!gaps.evicted[to]) continue;
    while (gaps.evicted[from]) ++from;
    move_row(step, gaps.kv, gaps.head, from++, to);
  }
  const int64_t tail = gaps.kv.length - ordered;
  for (int64_t i = 0; i < ordered; ++i) move_row(step, gaps.kv, gaps.head, tail + i, front + i);
}

void H2o::move_row(const LayerStep& step, const KvPages& kv, int head, int64_t from, int64_t to) const {
  inner_->move_row(step, kv, head, from, to);
  const int own = plane(step);
  memory(kv, own, head, to) = memory(kv, own, head, from);
}

}  // namespace lowkey
