#include "attention/streaming.h"

#include <numeric>

#include "attention/spec.h"

namespace lowkey {

std::unique_ptr<Method> Streaming::make(const AttentionSpec& spec) {
  const Settings settings(spec);
  return std::make_unique<Streaming>(settings.integer("sink", 4, 0, int64_t{1} << 31),
                                     settings.amount("recent", tokens(1024)),
                                     settings.choice("prefill", {"dense", "all"}) == "all");
}

Selection Streaming::select(const LayerStep& step, View) const {
  const std::span<const KvPages> rows = row_pages(step);
  const int heads = step.shape.kv_heads;
  auto* lists = step.frame.take<TokenList>(static_cast<int64_t>(rows.size()) * heads);
  for (size_t b = 0, row = 0; b < step.kv.size(); ++b) {
    for (int32_t i = 0; i < step.counts[b]; ++i, ++row) {
      const int64_t length = rows[row].length, visible = step.visible(length), recent = recent_.of(visible);
      TokenList list{.ids = nullptr, .count = length};
      if (sink_ + recent < visible && (every_row_ || step.counts[b] == 1)) {
        auto* ids = step.frame.take<int32_t>(sink_ + recent);
        std::iota(ids, ids + sink_, static_cast<int32_t>(length - visible));
        std::iota(ids + sink_, ids + sink_ + recent, static_cast<int32_t>(length - recent));
        list = {.ids = ids, .count = sink_ + recent};
      }
      for (int head = 0; head < heads; ++head) lists[static_cast<int64_t>(row) * heads + head] = list;
    }
  }
  return {.tokens = {lists, rows.size() * static_cast<size_t>(heads)}};
}

}  // namespace lowkey
