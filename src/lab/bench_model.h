// bench_model: how fast a whole model decodes at a given depth, and how fast it reads a prompt.
//
// For decoding at depth the cache is filled with random keys and values instead of a prompt: the time of a step
// depends on how many there are, not on what they say.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "model/model.h"

namespace lowkey {

struct BenchModelOptions {
  int repetitions = 3;  // >= 1; the median counts
  DType kv_type = DType::kF16;
  int chunk = 512;  // prompt tokens a step
};

struct BenchModelResult {
  int64_t depth = 0;                 // tokens in the cache before the first step
  int64_t tokens = 0;                // timed in one repetition
  std::vector<double> seconds;       // [repetitions]
  int64_t attention_bytes = 0;       // read from the cache by one repetition
  double tokens_per_second() const;  // of the median
};

using BenchProgress = std::function<void(int done, int total)>;

// `count` decoding steps behind `depth` cached tokens. Throws kInvalidArgument, kOutOfMemory.
BenchModelResult bench_decode(const Context&, const Model&, const Method&, int64_t depth, int64_t count,
                              const BenchModelOptions&, const BenchProgress&);
// A prompt of `count` tokens behind `depth` cached ones.
BenchModelResult bench_prefill(const Context&, const Model&, const Method&, int64_t depth, int64_t count,
                               const BenchModelOptions&, const BenchProgress&);

}  // namespace lowkey
