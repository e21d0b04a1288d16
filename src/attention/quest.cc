#include "attention/quest.h"

#include <bit>
#include <cmath>

#include "attention/spec.h"
#include "base/error.h"
#include "ops/bounds_append.h"
#include "ops/score_bounds.h"

namespace lowkey {

std::unique_ptr<Method> Quest::make(const AttentionSpec& spec) {
  const Settings settings(spec);
  constexpr int64_t kDefault = 16, kMost = 1024;
  const int64_t block = settings.integer("page", kDefault, 1, kMost);
  if (!std::has_single_bit(static_cast<uint64_t>(block))) settings.refuse("page", "a power of two");
  return std::make_unique<Quest>(read_selective_options(settings, {}), static_cast<int>(block));
}

std::vector<int64_t> Quest::planes(const AttentionShape& shape, DType kv_type, int page_tokens) const {
  require_float_cache("quest", kv_type);
  const int block = bounds_.block_tokens;
  LK_REQUIRE(page_tokens % block == 0, kInvalidArgument, "[quest] page={}, must divide the cache's pages of {} tokens",
             block, page_tokens);
  return {KeyBounds::page_bytes(kv_type, shape.head_dim, page_tokens, block)};
}

void Quest::append(const LayerStep& step, const Qkv& qkv) const {
  Method::append(step, qkv);
  for (size_t b = 0; b < step.kv.size(); ++b)
    bounds_append(step.context, {.kv = step.kv[b], .tokens = step.counts[b], .bounds = bounds_});
}

void Quest::score(const LayerStep& step, std::span<const KvPages> rows, View q, View keys, View /*scores*/) const {
  score_bounds(step.context, {.q = q, .kv = rows, .bounds = bounds_, .scale = step.shape.scale(), .keys = keys});
}

int64_t Quest::score_bytes(const LayerStep& step, int64_t length) const noexcept {
  const int64_t block = bounds_.block_tokens, row = step.kv[0].token_bytes();
  return length / block * row + length % block * row / 2;  // of the last block, the keys
}

}  // namespace lowkey
