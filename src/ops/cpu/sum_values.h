// sum_values: adds up the values of some cached tokens of a KV head.
#pragma once

#include "ops/kv_pages.h"

namespace lowkey {

// sum: out [D], in f32 token after token, of tokens [begin, end), all of one page.
void sum_values(const KvPages& kv, int head, int64_t begin, int64_t end, float* sum) noexcept;

}  // namespace lowkey
