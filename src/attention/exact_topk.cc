#include "attention/exact_topk.h"

#include <cmath>

#include "attention/spec.h"
#include "ops/score_keys.h"

namespace lowkey {

std::unique_ptr<Method> ExactTopk::make(const AttentionSpec& spec) {
  const Settings settings(spec);
  SelectiveOptions options = read_selective_options(settings, {});
  options.per_query_head = settings.choice("heads", {"kv", "query"}) == "query";
  return std::make_unique<ExactTopk>(options);
}

void ExactTopk::score(const LayerStep& step, std::span<const KvPages> rows, View q, View keys, View /*scores*/) const {
  score_keys(step.context, {.q = q,
                            .kv = rows,
                            .dims = step.shape.head_dim,
                            .scale = step.shape.scale(),
                            .per_query_head = options().per_query_head,
                            .keys = keys});
}

int64_t ExactTopk::score_bytes(const LayerStep& step, int64_t length) const noexcept {
  return length * step.kv[0].value_offset();
}

}  // namespace lowkey
