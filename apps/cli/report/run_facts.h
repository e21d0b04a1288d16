// run_facts: what a report needs of one JSON file that `lowkey eval`, `bench` or `tune` wrote, checked and typed.
// Numbers that a file does not have are NaN; parts that it does not have are empty.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lowkey::cli {

inline constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();

struct Measured {
  double mean = kMissing, low = kMissing, high = kMissing;  // 95 %
};

struct LayerFacts {
  double recall = kMissing, mass = kMissing;
  double error = kMissing;              // of attention's output, relative
  std::vector<double> recall_of_heads;  // [H], or empty
};

// One method against dense attention.
struct QualityFacts {
  std::string spec;
  double context = kMissing;  // tokens a window
  Measured kl;                // nats a token
  Measured increase;          // of perplexity, percent
  double perplexity = kMissing, dense_perplexity = kMissing;
  double same_top = kMissing;  // part of positions
  double tokens_read = kMissing, share_read = kMissing, index_bytes = kMissing;
  double bytes_share = kMissing;  // of the bytes that dense attention reads, index and rows
  double recall = kMissing, jaccard = kMissing, mass = kMissing, error = kMissing;
  double seconds = kMissing;  // a window
  std::vector<LayerFacts> layers;
};

struct PerplexityFacts {
  std::string spec;
  double context = kMissing, windows = kMissing;
  double perplexity = kMissing, low = kMissing, high = kMissing;
  Measured increase;  // over dense attention, percent
  double seconds = kMissing;
};

struct NeedleCell {
  double context = kMissing, depth = kMissing;  // depth: 0 the start of the document, 1 its end
  int found = 0, trials = 0;
};
struct NeedleFacts {
  std::string spec;
  int found = 0, trials = 0;
  double nll = kMissing, seconds = kMissing;
  std::vector<NeedleCell> cells;  // by context, then depth
};

// Coordinates that hold a share of the keys' spectrum (balanced bases: of the scores').
struct RankFacts {
  std::string basis;
  double share = kMissing;                 // 0.9
  std::vector<std::vector<double>> ranks;  // [L][KH]
};
struct SpectrumFacts {
  std::string basis;
  std::vector<double> cumulative;  // [D] share that the first coordinates hold, mean of layers and heads
  double entropy = kMissing, effective = kMissing;  // of the spectrum, the same mean: a part of log D; a rank
};

struct SpeedFacts {
  std::string bench;  // attention, decode or prefill
  std::string spec;
  double tokens = kMissing;        // cached before the step; of prefill: before the prompt
  double microseconds = kMissing;  // of attention: one layer, one step
  double tokens_per_second = kMissing;
  double rank = kMissing, choose = kMissing, read = kMissing, append = kMissing;  // microseconds of a step
  double bytes = kMissing;                                                        // read by a step
  double slowest = kMissing, fastest = kMissing;  // of several runs: the spread, microseconds or tokens a second
  double kv_bytes = kMissing;                     // kept of a token; of attention: in one layer
  double cache_bytes = kMissing;                  // of all tokens
};

// One setting in all layers, or a profile of one for each.
struct TuneRow {
  std::string setting;                          // of profiles: "profile 3"
  double bytes = kMissing, seconds = kMissing;  // of a step in all layers
  double kl = kMissing;
  Measured increase;  // of perplexity, percent
  bool taken = false;
};
struct TuneFacts {
  bool for_time = false;
  double max_loss = kMissing;                    // part of perplexity
  std::vector<TuneRow> uniform;                  // the first is dense
  std::vector<TuneRow> profiles, checked;        // checked: the profile taken, the best for all
  std::vector<std::vector<double>> sensitivity;  // [L][N] KL of the first N of `uniform`, in that layer alone
  std::vector<std::string> layers;               // [L] specs

  size_t candidates() const { return sensitivity.empty() ? 0 : sensitivity[0].size(); }  // N
};

// A task that this page knows nothing of: what its results have in common with a table.
struct OtherTask {
  std::string name;
  std::vector<std::pair<std::string, std::vector<std::pair<std::string, std::string>>>> rows;  // spec, (key, value)
};

struct RunFacts {
  std::string name;
  std::string json;                                           // as it was read
  std::vector<std::pair<std::string, std::string>> settings;  // model, threads, machine: whatever the file says
  std::vector<QualityFacts> quality;
  std::vector<PerplexityFacts> perplexities;
  std::vector<NeedleFacts> needles;
  std::vector<RankFacts> ranks;
  std::vector<SpectrumFacts> spectra;
  std::vector<SpeedFacts> speeds;
  std::vector<TuneFacts> tunes;
  std::vector<OtherTask> others;
};

// Throws kCorruptFile, naming `name`: no JSON, nothing that a report could show, or a number that is not one.
RunFacts read_run(const std::string& name, std::string_view text);
RunFacts run_facts(const std::string& name, const nlohmann::json& all);

}  // namespace lowkey::cli
