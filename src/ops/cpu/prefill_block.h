// prefill_block: the attention of a run of query rows of one KV head over all keys they may see. The rows of the
// G query heads that share the KV head are stacked, row r = token r / G, head r % G of the group, so that
// keys and values are converted once for all of them. attention_prefill cuts the work into such blocks.
#pragma once

#include <algorithm>
#include <cstdint>

#include "ops/attention_prefill.h"

namespace lowkey {

struct PrefillBlock {
  const AttentionPrefillArgs* args;
  int head;            // KV head
  int64_t begin, end;  // stacked rows, of the KV head's T * G
  std::byte* scratch;  // aligned to a cache line, this thread's
};

// A stacked row as it lies in memory, and the keys it sees: from first() up to position().
struct PrefillRows {
  int64_t heads, group, dim, first_head, first_position, step, window;

  PrefillRows(const AttentionPrefillArgs& a, int head)
      : heads(a.q.dim(1)),
        group(heads / a.kv.kv_heads),
        dim(a.q.dim(2)),
        first_head(head * group),
        first_position(a.kv.length - (a.causal ? a.q.dim(0) : 1)),
        step(a.causal ? 1 : 0),
        window(a.window > 0 ? a.window : a.kv.length) {}
  int64_t offset(int64_t row) const { return (row / group * heads + first_head + row % group) * dim; }  // elements
  int64_t position(int64_t row) const { return first_position + step * (row / group); }
  // The first key that it sees.
  int64_t first(int64_t row) const { return std::max<int64_t>(0, position(row) - window + 1); }
};

// f32 arithmetic, every instruction set.
int64_t prefill_block_scratch(int64_t rows, int64_t head_dim) noexcept;  // bytes
void prefill_block(const PrefillBlock&) noexcept;

// AMX: products of bf16 with f32 sums; for caches of 16 and 8 bits. Only when active_isa() is kAmx.
int64_t prefill_block_amx_scratch(int64_t rows, int64_t head_dim) noexcept;
void prefill_block_amx(const PrefillBlock&) noexcept;

}  // namespace lowkey
