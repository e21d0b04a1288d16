// decode_chunk: the attention of one query token over a run of cached tokens, for the query heads of one KV head.
// attention_decode cuts the context into such runs, shares them among the threads and merges their results.
#pragma once

#include <cstdint>

#include "ops/kv_pages.h"

namespace lowkey {

struct DecodeChunk {
  const KvPages* kv;
  int head;            // KV head
  const int32_t* ids;  // tokens to read are ids[begin, end); null: tokens [begin, end)
  int64_t begin, end;  // begin < end
  const float* q;      // [G, D], already multiplied by scale * log2(e)
  int group;           // G
  float cap;           // above 0: scores x become cap tanh(x / cap); times log2(e), as q
  float* state;        // out [G, state_floats(D)]: sum of 2^(score - max) v [D], then max, then sum of 2^(score - max)
};

constexpr int64_t state_floats(int64_t head_dim) { return head_dim + 8; }

// Tokens of a run when a (sequence, KV head) reads `count`: enough runs to keep many cores busy evenly, long
// enough that merging them costs nothing. It must not depend on the number of threads: then neither do results.
constexpr int64_t decode_run(int64_t count) {
  constexpr int64_t kShortest = 256, kMostRuns = 32;
  int64_t run = kShortest;
  while (run * kMostRuns < count) run *= 2;
  return run;
}

void decode_chunk(const DecodeChunk&) noexcept;

}  // namespace lowkey
