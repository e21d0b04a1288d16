// bench_model: how fast a whole model decodes at a given depth, and how fast it reads a prompt, with one or several
// methods in turn.
//
// For decoding at depth the cache is filled with random keys and values instead of a prompt: the time of a step
// depends on how many there are, not on what they say. Each method has a cache of its own, all at once.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "lab/dram_probe.h"
#include "model/model.h"

namespace lowkey {

struct BenchModelOptions {
  int64_t depth = 0;    // tokens in the cache before the first step
  int64_t tokens = 16;  // timed in one repetition
  int repetitions = 3;  // >= 1; the median counts. Each is the probe and every method in turn
  DType kv_type = DType::kF16;
  int chunk = 1;  // tokens a step: 1 to decode, more to read a prompt
};

struct BenchModelResult {
  std::vector<double> seconds;        // [repetitions] of all tokens
  int64_t attention_bytes = 0;        // read from the cache by one repetition
  int64_t kv_bytes_per_token = 0;     // kept of a token, over all layers: K, V and the method's side data
  int64_t cache_bytes = 0;            // the same of all tokens that are there at the end
  double probe_bytes_per_second = 0;  // DRAM reads, the median of the same run
};

using BenchProgress = std::function<void(int done, int total)>;

// The results in the methods' order. Throws kInvalidArgument, kOutOfMemory.
std::vector<BenchModelResult> bench_model(const Context&, const Model&, std::span<const Method* const> methods,
                                          const BenchModelOptions&, DramProbe&, const BenchProgress&);

}  // namespace lowkey
