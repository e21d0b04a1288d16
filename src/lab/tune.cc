#include "lab/tune.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "attention/calibration.h"
#include "attention/layered.h"
#include "base/error.h"
#include "lab/choose_layers.h"
#include "lab/layer_bench.h"
#include "lab/protocol.h"
#include "lab/statistics.h"

namespace lowkey {
namespace {

// Bounds on the sum of KL that profiles are made for, as multiples of the loss allowed: sums of single layers and the
// whole agree within a factor of two or so, and so do KL and the rise of perplexity.
constexpr double kBudgets[] = {0.125, 0.18, 0.25, 0.35, 0.5, 0.71, 1, 1.4, 2, 2.8, 4};

constexpr int64_t kTimedBytes = int64_t{16} << 20;  // of K and V, of each candidate that is timed
constexpr int kTimedRounds = 7;

using Shared = std::shared_ptr<const Method>;

class Tuner {
 public:
  Tuner(const Context& context, const Model& model, const MethodInputs& inputs, const TuneOptions& options,
        const TuneProgress& progress)
      : context_(context), model_(model), inputs_(inputs), options_(options), progress_(progress) {
    result_.candidates.emplace_back("dense");
    for (const auto* more : {&options.candidates, &options.uniform})
      for (const std::string& spec : *more) result_.candidates.push_back(spec);
    for (const std::string& text : result_.candidates) {
      const AttentionSpec spec = judged_spec(parse_attention_spec(text), Protocol::kDecode, 0);
      candidates_.push_back(make_method(spec, inputs));
      always_.push_back(always_read(spec));
    }
    seconds_.assign(candidates_.size(), 0);
  }

  TuneResult run(std::span<const int32_t> stream) {
    const std::span<const int32_t> seen = stream.first(stream.size() / 2), unseen = stream.subspan(stream.size() / 2);
    if (options_.for_time) measure_times();
    measure_uniform(seen);
    measure_layers(seen);
    try_profiles(seen);
    check(unseen);
    return std::move(result_);
  }

 private:
  size_t layers() const { return static_cast<size_t>(inputs_.shape.layers); }
  size_t count() const { return options_.candidates.size() + 1; }  // N

  // One method for all layers, or for one of them.
  Shared profile(const std::vector<int>& chosen) const {
    std::vector<Shared> made;
    for (int c : chosen) made.push_back(candidates_[static_cast<size_t>(c)]);
    return std::make_shared<Layered>(std::move(made));
  }
  Shared alone(size_t layer, size_t candidate) const {
    std::vector<int> chosen(layers(), 0);
    chosen[layer] = static_cast<int>(candidate);
    return profile(chosen);
  }

  std::vector<AgreementSummary> measure(const std::string& stage, std::span<const ComparedMethod> methods,
                                        std::span<const int32_t> stream, int64_t count) const {
    AgreementOptions options = options_.windows;
    options.windows = count;
    bool stopped = false;
    const auto windows =
        agreement(context_, model_, methods, stream, options, [&](int64_t done, int64_t total, std::string_view what) {
          stopped |= !progress_(stage, done, total, what);
          return !stopped;
        });
    LK_REQUIRE(!stopped, kInvalidArgument, "[tune] interrupted, nothing was found yet");
    std::vector<AgreementSummary> summaries;
    for (const auto& w : windows) summaries.push_back(summarise(w));
    return summaries;
  }

  // What candidates take in one layer, of noise: the time depends on how much is read, not on what it says. They are
  // timed in turn; one round goes through more memory than caches hold.
  void measure_times() {
    AttentionShape layer = inputs_.shape;
    layer.layers = 1;
    const int64_t length = options_.windows.context;
    const int64_t bytes = kv_row_bytes(options_.windows.kv_type, layer.head_dim) * layer.kv_heads * length;
    const KvShape kv{.layers = static_cast<int>(std::clamp<int64_t>(kTimedBytes / bytes, 1, 64)),
                     .kv_heads = layer.kv_heads,
                     .head_dim = layer.head_dim,
                     .dtype = options_.windows.kv_type,
                     .max_tokens = length,
                     .plane_bytes = {}};
    std::vector<std::unique_ptr<LayerBench>> benches;
    for (const Shared& method : candidates_)
      benches.push_back(std::make_unique<LayerBench>(context_, *method, layer, kv, length));
    std::vector<std::vector<double>> times(benches.size());
    for (int r = 0; r < kTimedRounds; ++r) {
      LK_REQUIRE(progress_("times", r, kTimedRounds, "a layer"), kInvalidArgument, "[tune] interrupted");
      for (size_t c = 0; c < benches.size(); ++c) times[c].push_back(benches[c]->decode(length).total);
    }
    for (size_t c = 0; c < times.size(); ++c) seconds_[c] = spread(times[c]).median;
  }

  double cost(const TuneMeasure& m) const { return options_.for_time ? m.seconds : m.bytes; }

  // chosen: [L] candidates.
  double seconds_of(const std::vector<int>& chosen) const {
    double sum = 0;
    for (int c : chosen) sum += seconds_[static_cast<size_t>(c)];
    return sum;
  }

  TuneMeasure to_measure(const AgreementSummary& s) const {
    const Observation& o = s.observed;
    const double per_pair = static_cast<double>(inputs_.shape.kv_heads * inputs_.shape.layers) / double(o.pairs);
    const auto token = static_cast<double>(kv_row_bytes(options_.windows.kv_type, inputs_.shape.head_dim));
    const double bytes = (static_cast<double>(o.read) * token + static_cast<double>(o.index_bytes)) * per_pair;
    return {.bytes = bytes, .kl = s.kl.mean, .increase = s.increase};
  }

  bool acceptable(const TuneMeasure& m) const { return m.increase.high <= 100 * options_.max_loss; }

  void measure_uniform(std::span<const int32_t> stream) {
    std::vector<ComparedMethod> methods;
    for (size_t c = 0; c < candidates_.size(); ++c)
      methods.push_back({.name = result_.candidates[c], .method = candidates_[c].get(), .always = always_[c]});
    for (const AgreementSummary& s : measure("everywhere", methods, stream, options_.windows.windows))
      result_.uniform.push_back(to_measure(s));
    result_.uniform[0].increase = {};  // dense beside itself
    for (size_t c = 0; c < candidates_.size(); ++c) {
      TuneMeasure& m = result_.uniform[c];
      m.seconds = seconds_[c] * static_cast<double>(layers());
      if (acceptable(m) && cost(m) < cost(result_.uniform[best_uniform()])) result_.best_uniform = static_cast<int>(c);
    }
  }

  // What a layer's KL is worth is clear from fewer windows than whether perplexity rises.
  void measure_layers(std::span<const int32_t> stream) {
    std::vector<ComparedMethod> methods;
    std::vector<Shared> kept;
    for (size_t l = 0; l < layers(); ++l) {
      for (size_t c = 1; c < count(); ++c) {
        kept.push_back(alone(l, c));
        methods.push_back({.name = fmt::format("layer {}: {}", l, result_.candidates[c]),
                           .method = kept.back().get(),
                           .always = always_[c]});
      }
    }
    const int64_t few = std::max<int64_t>(2, options_.windows.windows / 3);
    const std::vector<AgreementSummary> found = measure("layer by layer", methods, stream, few);
    for (size_t l = 0, next = 0; l < layers(); ++l) {
      result_.kl.emplace_back(count(), 0.0);
      for (size_t c = 1; c < count(); ++c) result_.kl[l][c] = std::max(found[next++].kl.mean, 0.0);
    }
  }

  size_t best_uniform() const { return static_cast<size_t>(result_.best_uniform); }

  void try_profiles(std::span<const int32_t> stream) {
    std::vector<LayerChoice> choices;
    for (size_t l = 0; l < layers(); ++l)
      for (size_t c = 0; c < count(); ++c)
        choices.push_back({.cost = cost(result_.uniform[c]) / static_cast<double>(layers()), .loss = result_.kl[l][c]});
    std::vector<Shared> made;
    std::vector<ComparedMethod> methods;
    for (double multiple : kBudgets) {
      TuneTrial trial{.budget = multiple * options_.max_loss, .layers = {}, .measured = {}};
      trial.layers = choose_layers(choices, inputs_.shape.layers, trial.budget);
      if (!result_.trials.empty() && result_.trials.back().layers == trial.layers) continue;
      made.push_back(profile(trial.layers));
      methods.push_back({.name = fmt::format("profile {}", made.size()), .method = made.back().get(), .always = {}});
      result_.trials.push_back(std::move(trial));
    }
    const std::vector<AgreementSummary> found = measure("profiles", methods, stream, options_.windows.windows);
    double least = cost(result_.uniform[0]);
    for (size_t t = 0; t < found.size(); ++t) {
      TuneMeasure& m = result_.trials[t].measured = to_measure(found[t]);
      m.seconds = seconds_of(result_.trials[t].layers);
      if (acceptable(m) && cost(m) < least) least = cost(m), result_.best_trial = static_cast<int>(t);
    }
  }

  void check(std::span<const int32_t> stream) {
    const std::vector<int> dense(layers(), 0);
    const std::vector<int>& chosen =
        result_.best_trial < 0 ? dense : result_.trials[static_cast<size_t>(result_.best_trial)].layers;
    const Shared found = profile(chosen);
    const ComparedMethod methods[] = {{.name = "the profile", .method = found.get(), .always = {}},
                                      {.name = result_.candidates[best_uniform()],
                                       .method = candidates_[best_uniform()].get(),
                                       .always = always_[best_uniform()]}};
    const std::vector<AgreementSummary> summaries = measure("check", methods, stream, options_.windows.windows);
    result_.checked = to_measure(summaries[0]), result_.uniform_checked = to_measure(summaries[1]);
    result_.checked.seconds = seconds_of(chosen),
    result_.uniform_checked.seconds = result_.uniform[best_uniform()].seconds;
  }

  const Context& context_;
  const Model& model_;
  const MethodInputs& inputs_;
  const TuneOptions& options_;
  const TuneProgress& progress_;
  std::vector<Shared> candidates_;  // [M]
  std::vector<AlwaysRead> always_;  // [M]
  std::vector<double> seconds_;     // [M] of one layer and step; 0: not timed
  TuneResult result_;
};

}  // namespace

std::vector<std::string> TuneResult::layers() const {
  std::vector<std::string> specs(kl.size(), candidates[0]);
  if (best_trial < 0) return specs;
  const std::vector<int>& chosen = trials[static_cast<size_t>(best_trial)].layers;
  for (size_t l = 0; l < specs.size(); ++l) specs[l] = candidates[static_cast<size_t>(chosen[l])];
  return specs;
}

namespace {

// Parts of the tokens, by the bytes of an index: those of 8 bytes a key (for heads of 128) and of 16.
struct Grid {
  std::vector<const char*> half, whole;
};

std::vector<std::string> loki_specs(const MethodInputs& inputs, const Grid& grid) {
  std::vector<std::string> specs;
  const int dim = inputs.shape.head_dim;
  const auto add = [&](int bits, const std::vector<const char*>& parts) {
    const bool fitted =
        inputs.calibration && inputs.calibration->find_codebooks(best_basis(bits, dim), bits) != nullptr;
    for (const char* k : parts) specs.push_back(fmt::format("loki:index={}:{},k={}", fitted ? "pq" : "bits", bits, k));
  };
  add(dim / 2, grid.half);
  add(dim, grid.whole);
  return specs;
}

}  // namespace

std::vector<std::string> default_candidates(const MethodInputs& inputs) {
  std::vector<std::string> specs =
      loki_specs(inputs, {.half = {"1/16", "1/32", "1/64"}, .whole = {"1/2", "1/4", "1/8", "1/16", "1/32"}});
  specs.insert(specs.begin(), "streaming:sink=4,recent=256");
  return specs;
}

std::vector<std::string> default_uniform(const MethodInputs& inputs) {
  return loki_specs(inputs, {.half = {"1/4", "3/16", "1/8", "3/32", "3/64"},
                             .whole = {"3/8", "3/16", "5/32", "3/32", "3/64", "1/64"}});
}

TuneResult tune(const Context& context, const Model& model, const MethodInputs& inputs, std::span<const int32_t> stream,
                const TuneOptions& options, const TuneProgress& progress) {
  LK_REQUIRE(!options.candidates.empty(), kInvalidArgument, "[tune] no candidates, must be at least one");
  LK_REQUIRE(options.max_loss > 0 && options.max_loss <= 1, kInvalidArgument,
             "[tune] max_loss = {}, must be above 0 and at most 1", options.max_loss);
  LK_REQUIRE(options.windows.windows >= 2, kInvalidArgument, "[tune] {} windows, must be 2 or more for an interval",
             options.windows.windows);
  return Tuner(context, model, inputs, options, progress).run(stream);
}

}  // namespace lowkey
