// lowkey eval --task agreement: how far each method's predictions are from dense attention's.
#include <fmt/format.h>

#include <cmath>

#include "apps/cli/eval.h"
#include "apps/cli/eval_units.h"
#include "apps/cli/progress.h"
#include "apps/cli/signals.h"
#include "lab/agreement.h"
#include "lab/perplexity.h"

namespace lowkey::cli {
namespace {

double ratio(double part, double whole) { return whole > 0 ? part / whole : std::nan(""); }

// Means of all layers, or of one.
struct Recall {
  double recall, jaccard, mass, exact_mass, output_error;
};
Recall recall_of(const LayerObservation& o) {
  const auto lists = static_cast<double>(o.lists), heads = static_cast<double>(o.query_heads);
  return {ratio(o.recall, lists), ratio(o.jaccard, lists), ratio(o.mass, heads), ratio(o.exact_mass, heads),
          ratio(o.output_error, heads)};
}
Recall recall_of(const Observation& o) {
  LayerObservation all;
  for (const LayerObservation& layer : o.layers) all.add(layer);
  return recall_of(all);
}
nlohmann::json to_json(const Recall& r) {
  return {{"recall", finite(r.recall)},
          {"jaccard", finite(r.jaccard)},
          {"mass", finite(r.mass)},
          {"exact_mass", finite(r.exact_mass)},
          {"output_error", finite(r.output_error)}};
}

double read_per_pair(const Observation& o) { return ratio(static_cast<double>(o.read), static_cast<double>(o.pairs)); }
double share_read(const Observation& o) { return ratio(static_cast<double>(o.read), static_cast<double>(o.cached)); }
double index_bytes(const Observation& o) {
  return ratio(static_cast<double>(o.index_bytes), static_cast<double>(o.cached));
}

nlohmann::json to_json(const Observation& o) {
  nlohmann::json json = to_json(recall_of(o));
  json["tokens_read"] = finite(read_per_pair(o));
  json["share_read"] = finite(share_read(o));
  json["index_bytes_per_token"] = finite(index_bytes(o));
  json["layers"] = nlohmann::json::array();
  for (const LayerObservation& layer : o.layers) json["layers"].push_back(to_json(recall_of(layer)));
  return json;
}

// With the query heads of each layer: heat maps.
nlohmann::json with_heads(const Observation& o) {
  nlohmann::json json = to_json(o);
  for (size_t i = 0; i < o.heads.size(); ++i)
    json["layers"][i * o.layers.size() / o.heads.size()]["heads"].push_back(to_json(recall_of(o.heads[i])));
  return json;
}

nlohmann::json to_json(const WindowAgreement& w) {
  return {{"begin", w.begin},
          {"kl", w.kl},
          {"nll", w.nll},
          {"dense_nll", w.dense_nll},
          {"same_top", w.same_top},
          {"seconds", w.seconds},
          {"observed", to_json(w.observed)}};
}

nlohmann::json to_json(const Estimate& e) {
  return {{"mean", e.mean}, {"standard_error", finite(e.error)}, {"low", finite(e.low)}, {"high", finite(e.high)}};
}

nlohmann::json to_json(const Estimate& e, const Interval& bootstrapped) {
  nlohmann::json json = to_json(e);
  json["bootstrap"] = interval_json(bootstrapped);
  return json;
}

nlohmann::json to_json(const AgreementSummary& s) {
  return {{"kl", to_json(s.kl, s.kl_interval)},
          {"perplexity", s.perplexity},
          {"dense_perplexity", s.dense_perplexity},
          {"perplexity_increase_percent", to_json(s.increase, s.increase_interval)},
          {"same_top", s.same_top},
          {"seconds_per_window", s.seconds},
          {"observed", with_heads(s.observed)}};
}

void print_heading(size_t width, const AgreementOptions& o) {
  fmt::print(
      "\nAgreement with dense attention: the last {} positions of windows of {} tokens. KL in nats, +- standard "
      "error over windows;\n95 % interval: bootstrap over windows; read: tokens a position and KV head; index: bytes "
      "scanned a token and KV head;\nrecall and Jaccard: of exact top-k's choice; mass: of the softmax, held by the "
      "tokens read; error: of attention's output, relative.\n\n",
      o.scored, o.context);
  fmt::print("{:<{}}  {:>8} {:>8}  {:>8}  {:>8} {:>17}  {:>6}  {:>7} {:>6}  {:>5}  {:>6} {:>7} {:>6} {:>6}  {:>5}\n",
             "method", width, "KL", "+-", "ppl", "ppl %", "95 % interval", "top-1", "read", "share", "index", "recall",
             "Jaccard", "mass", "error", "s/win");
}

void print_row(const std::string& spec, size_t width, const AgreementSummary& s) {
  const Recall r = recall_of(s.observed);
  const bool one = !std::isfinite(s.kl.error);  // window: nothing is known of the spread
  const std::string error = one ? "-" : fmt::format("{:.5f}", s.kl.error);
  const std::string interval =
      one ? "-" : fmt::format("[{:+.3f},{:+.3f}]", s.increase_interval.low, s.increase_interval.high);
  fmt::print(
      "{:<{}}  {:>8.5f} {:>8}  {:>8.4f}  {:>+8.3f} {:>17}  {:>6.4f}  {:>7.1f} {:>6.4f}  {:>5.1f}  {:>6.4f} {:>7.4f} "
      "{:>6.4f} {:>6.4f}  {:>5.1f}\n",
      spec, width, s.kl.mean, error, s.perplexity, s.increase.mean, interval, s.same_top, read_per_pair(s.observed),
      share_read(s.observed), index_bytes(s.observed), r.recall, r.jaccard, r.mass, r.output_error, s.seconds);
}

using Column = double Recall::*;

// One line a method, one column a layer.
void print_layers(const char* title, Column column, const std::vector<std::string>& specs, size_t width,
                  const std::vector<AgreementSummary>& summaries) {
  fmt::print("\n{:<{}} ", fmt::format("{}, layer", title), width);
  for (size_t l = 0; l < summaries[0].observed.layers.size(); ++l) fmt::print(" {:>6}", l);
  fmt::print("\n");
  for (size_t m = 0; m < summaries.size(); ++m) {
    fmt::print("{:<{}} ", specs[m], width);
    for (const LayerObservation& layer : summaries[m].observed.layers)
      fmt::print(" {:>6.4f}", recall_of(layer).*column);
    fmt::print("\n");
  }
}

std::vector<std::vector<WindowAgreement>> measure(const Evaluation& e, const AgreementOptions& options) {
  Progress progress("agreement", "windows x methods");
  return agreement(
      e.context, e.model, e.methods, e.stream, options,
      [&](int64_t done, int64_t total, std::string_view method) {
        progress.retitle(method.empty() ? "dense prefix" : std::string(method));
        progress.update(done, total);
        return !interrupted();
      },
      e.units<WindowAgreement>("agreement"));
}

}  // namespace

nlohmann::json eval_agreement(const Evaluation& e) {
  const EvalOptions& o = e.options;
  AgreementOptions options{.context = e.length(8192), .scored = o.scored, .chunk = o.chunk, .kv_type = e.kv_type()};
  options.windows = e.windows(options.context);
  const auto results = measure(e, options);
  nlohmann::json json{{"context", options.context}, {"scored", options.scored}, {"results", nlohmann::json::array()}};
  std::vector<std::string> specs;
  std::vector<AgreementSummary> summaries;
  const size_t width = e.name_width();
  for (size_t m = 0; m < results.size(); ++m) {
    if (results[m].empty()) continue;  // interrupted
    specs.push_back(o.attention[m]);
    summaries.push_back(summarise(results[m]));
    nlohmann::json result = to_json(summaries.back());
    result["attention"] = specs.back();
    for (const WindowAgreement& w : results[m]) result["windows"].push_back(to_json(w));
    json["results"].push_back(std::move(result));
  }
  if (o.common.json || specs.empty()) return json;
  print_heading(width, options);
  for (size_t m = 0; m < specs.size(); ++m) print_row(specs[m], width, summaries[m]);
  if (!o.per_layer) return json;
  print_layers("recall", &Recall::recall, specs, width, summaries);
  print_layers("Jaccard", &Recall::jaccard, specs, width, summaries);
  print_layers("mass", &Recall::mass, specs, width, summaries);
  print_layers("mass of exact top-k", &Recall::exact_mass, specs, width, summaries);
  print_layers("error of output", &Recall::output_error, specs, width, summaries);
  return json;
}

}  // namespace lowkey::cli
