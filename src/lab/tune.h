// tune: which setting each layer should have, so that a step reads or takes least while perplexity rises by no more
// than it may.
//
// 1. Every candidate is measured in all layers at once (what one setting for all costs and loses) and, on a
//    third of the windows, in each layer alone with the others dense (how sensitive that layer is): agreement.h.
// 2. For several bounds on the sum of the layers' KL, choose_layers.h picks the cheapest candidates; each such profile
//    is measured as a whole, and the cheapest whose loss is small enough, confidence interval and all, is taken.
// 3. It is measured again on windows that had no part in this, beside the best setting for all layers.
// Tuning takes its windows from the first half of the stream, the check from the second.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "attention/spec.h"
#include "lab/agreement.h"

namespace lowkey {

struct TuneOptions {
  std::vector<std::string> candidates;  // specs, beside dense; none that evicts
  std::vector<std::string> uniform;     // more of them, for all layers at once only: a fair measure for profiles
  bool for_time = false;                // least time of a step's attention on this machine, not least bytes
  double max_loss = 0.005;              // how much perplexity may rise: the upper end of its 95 % interval, as a part
  AgreementOptions windows{.windows = 6, .observe_every = 0};  // to tune on, and as many to check
};

struct TuneMeasure {
  double bytes = 0;    // of keys, values and index that a step reads in all layers, at the length of the windows
  double seconds = 0;  // of its attention in all layers, at that length; 0: not timed
  double kl = 0;       // to dense
  Estimate increase;   // of perplexity, percent
};

struct TuneTrial {
  double budget = 0;        // on the sum of the layers' KL
  std::vector<int> layers;  // [L] candidates
  TuneMeasure measured;
};

struct TuneResult {
  std::vector<std::string> candidates;      // [M], the first is dense; the first N layers may have on their own
  std::vector<TuneMeasure> uniform;         // [M] in every layer
  std::vector<std::vector<double>> kl;      // [L][N] in that layer alone
  std::vector<TuneTrial> trials;            // from the strictest budget on
  int best_uniform = 0;                     // of candidates: the cheapest that loses little enough
  int best_trial = -1;                      // of trials, in the same sense; -1: none, dense in every layer
  TuneMeasure checked, uniform_checked;     // on unseen windows
  std::vector<std::string> layers() const;  // [L] the specs found
};

// Indexes of half a bit and of one bit a coordinate (codebooks where the calibration has them), half to a sixty-fourth
// of the tokens, and the first and last tokens alone.
std::vector<std::string> default_candidates(const MethodInputs&);
// The same indexes with the parts of the tokens that lie between.
std::vector<std::string> default_uniform(const MethodInputs&);

// `stage` of the progress: "times" (for_time), "everywhere", "layer by layer", "profiles", "check". Throws
// kInvalidArgument (candidates, a stream too short for the windows; progress that returned false, since there is
// nothing to return).
using TuneProgress = std::function<bool(const std::string& stage, int64_t done, int64_t total, std::string_view what)>;
TuneResult tune(const Context&, const Model&, const MethodInputs&, std::span<const int32_t> stream, const TuneOptions&,
                const TuneProgress&);

}  // namespace lowkey
