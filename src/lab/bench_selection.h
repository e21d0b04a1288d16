// bench_selection: one layer's decoding attention by any methods, side by side with reading everything, in one run: how
// long ranking, choosing and reading take each, and how many bytes they move.
//
// As many layers in turn as fill half a gigabyte, as a model does, so that no context is timed out of the caches. Keys
// and values are noise: the time depends on how many there are, not on what they say.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "attention/calibration.h"
#include "attention/method.h"
#include "lab/bench_attention.h"

namespace lowkey {

// A calibration for a layer of this shape, of keys whose variance falls from coordinate to coordinate; no codebooks.
Calibration synthetic_calibration(const Context&, const AttentionShape&);

struct BenchedMethod {
  std::string name;
  const Method* method;  // outlives the bench
};

struct BenchSelectionResult {
  std::string name;
  int64_t context = 0;                                               // S
  double seconds = 0;                                                // of one layer and token: the median
  double fastest = 0, slowest = 0;                                   // the spread
  double score_seconds = 0, select_seconds = 0, attend_seconds = 0;  // parts of it, medians of their own
  int64_t score_bytes = 0, attend_bytes = 0;                         // read by ranking, by exact attention
  double append_seconds = 0;                                         // of one token, K, V and side data
  int64_t kv_bytes_per_token = 0;                                    // kept of a token in one layer: the same
  double probe_bytes_per_second = 0;                                 // DRAM reads, the median of the same run
  double row_probe_bytes_per_second = 0;                             // the same of rows of K and V that lie apart
};

// For each context the methods in their order, timed in turn. Throws kInvalidArgument, kOutOfMemory.
std::vector<BenchSelectionResult> bench_selection(const Context&, const BenchAttentionOptions&,
                                                  const std::vector<BenchedMethod>&);

}  // namespace lowkey
