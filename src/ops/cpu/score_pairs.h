// score_pairs: how the ops that score all that is cached share their work. A pair is a row and a KV head. Pairs are
// worked on a batch at a time, so that the scores of all query heads need little room; a batch is cut into runs of
// tokens or blocks ("items"), then the scores of each pair are reduced to its keys.
#pragma once

#include <algorithm>

#include "base/context.h"
#include "base/view.h"

namespace lowkey {

struct ScorePairs {
  int64_t rows, kv_heads, group;  // N, KH, G
  int64_t longest;                // items of the longest row
  View keys;                      // out [N, KH, S_max] f32; not reduced: the scores themselves, [N, KH * G, S_max]
  bool reduced;
};

// length(pair): its items. score(pair, begin, end, scores, stride): writes scores[h * stride + i], i in [begin, end).
// reduce(pair, scores, stride): the pair's keys.
template <typename Length, typename Score, typename Reduce>
void score_pairs(const Context& context, const ScorePairs& a, Length&& length, Score&& score, Reduce&& reduce) {
  constexpr int64_t kRun = 1024;                        // items: an even share of work for every thread
  constexpr int64_t kScratchFloats = int64_t{4} << 20;  // of scores held at a time, unless one pair takes more
  const int64_t pairs = a.rows * a.kv_heads, runs = (a.longest + kRun - 1) / kRun;
  const int64_t batch = std::clamp<int64_t>(kScratchFloats / (a.group * a.longest), 1, pairs);
  const int64_t stride = a.reduced ? a.longest : a.keys.columns();
  Scratch::Frame frame(context.scratch);
  float* room = a.reduced ? frame.take<float>(batch * a.group * stride) : nullptr;
  for (int64_t first = 0; first < pairs; first += batch) {
    float* scores = a.reduced ? room : a.keys.f32() + first * a.group * stride;
    const int64_t count = std::min(batch, pairs - first);
    context.threads.dynamic(count * runs, [&](int64_t i, int) {
      const int64_t pair = first + i / runs, begin = i % runs * kRun;
      const int64_t end = std::min(begin + kRun, length(pair));
      if (begin < end) score(pair, begin, end, scores + (pair - first) * a.group * stride, stride);
    });
    if (!a.reduced) continue;
    context.threads.dynamic(count, [&](int64_t i, int) { reduce(first + i, scores + i * a.group * stride, stride); });
  }
}

}  // namespace lowkey
