// lowkey eval --task needle: how many codes hidden in long documents each method finds, by length and depth.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "apps/cli/eval.h"
#include "apps/cli/eval_units.h"
#include "apps/cli/progress.h"
#include "apps/cli/signals.h"

namespace lowkey::cli {
namespace {

using Trials = std::vector<NeedleTrial>;

NeedleOptions options_of(const Evaluation& e) {
  const EvalOptions& o = e.options;
  return {.lengths = o.lengths.empty() ? std::vector<int64_t>{e.length(8192)} : o.lengths,
          .documents = o.documents,
          .codes = o.codes,
          .depths = o.depths.empty() ? even_depths(o.codes) : o.depths,
          .alone = o.alone,
          .distractors = o.distractors,
          .chunk = o.chunk,
          .kv_type = e.kv_type()};
}

std::vector<Trials> measure(const Evaluation& e, const NeedleOptions& options) {
  Progress progress("needle", "questions");
  return needle_trials(
      e.context, e.model, e.tokenizer, e.methods, e.text, options,
      [&](int64_t done, int64_t total, std::string_view method) {
        progress.retitle(method.empty() ? "dense prefix" : std::string(method));
        progress.update(done, total);
        return !interrupted();
      },
      e.units<NeedleTrial>("needle"));
}

nlohmann::json to_json(const NeedleTrial& t) {
  return {{"context", t.length},     {"document", t.document}, {"noun", t.needle.noun}, {"code", t.needle.code},
          {"depth", t.needle.depth}, {"said", t.said},         {"found", t.found},      {"nll", t.nll},
          {"seconds", t.seconds}};
}

// found, trials and nll, each [lengths][depths].
nlohmann::json grid_of(const Trials& trials, const NeedleOptions& o) {
  nlohmann::json found = nlohmann::json::array(), count = nlohmann::json::array(), nll = nlohmann::json::array();
  for (size_t l = 0; l < o.lengths.size(); ++l) {
    for (size_t d = 0; d < o.depths.size(); ++d) {
      int hits = 0, all = 0;
      double sum = 0;
      for (const NeedleTrial& t : trials) {
        if (t.length != o.lengths[l] || t.needle.depth != o.depths[d]) continue;
        ++all, hits += t.found ? 1 : 0, sum += t.nll;
      }
      found[l].push_back(hits), count[l].push_back(all), nll[l].push_back(finite(sum / all));
    }
  }
  return {{"found", std::move(found)}, {"trials", std::move(count)}, {"nll", std::move(nll)}};
}

nlohmann::json summary(const Trials& trials, const NeedleOptions& options) {
  const auto count = static_cast<double>(trials.size());
  int found = 0;
  double nll = 0, seconds = 0;
  nlohmann::json questions = nlohmann::json::array();
  for (const NeedleTrial& t : trials) {
    found += t.found ? 1 : 0, nll += t.nll / count, seconds += t.seconds / count;
    questions.push_back(to_json(t));
  }
  return {{"found", found},
          {"trials", trials.size()},
          {"nll", nll},
          {"seconds_per_question", seconds},
          {"grid", grid_of(trials, options)},
          {"questions", std::move(questions)}};
}

// A line a length, a column a depth.
void print_grid(const std::string& spec, const nlohmann::json& grid, const NeedleOptions& o) {
  fmt::print("\n{}: found by length (down) and depth\n{:>8}", spec, "");
  for (double depth : o.depths) fmt::print(" {:>7.3f}", depth);
  for (size_t l = 0; l < o.lengths.size(); ++l) {
    fmt::print("\n{:>8}", o.lengths[l]);
    for (size_t d = 0; d < o.depths.size(); ++d)
      fmt::print(" {:>7}", fmt::format("{}/{}", grid["found"][l][d].get<int>(), grid["trials"][l][d].get<int>()));
  }
  fmt::print("\n");
}

}  // namespace

nlohmann::json eval_needle(const Evaluation& e) {
  const NeedleOptions options = options_of(e);
  const std::vector<Trials> results = measure(e, options);
  const bool prints = !e.options.common.json;
  nlohmann::json json{
      {"context", options.lengths[0]},     {"lengths", options.lengths}, {"depths", options.depths},
      {"documents", options.documents},    {"alone", options.alone},     {"distractors", options.distractors},
      {"results", nlohmann::json::array()}};
  const size_t width = e.name_width();
  if (prints)
    fmt::print(
        "\nCodes found in documents of {} tokens; nll: of the true code, nats a token.\n\n{:<{}}  {:>10}  {:>8}  "
        "{:>10}\n",
        fmt::format("{}", fmt::join(options.lengths, ", ")), "method", width, "found", "nll", "s/question");
  for (size_t m = 0; m < results.size(); ++m) {
    if (results[m].empty()) continue;  // interrupted
    nlohmann::json result = summary(results[m], options);
    result["attention"] = e.options.attention[m];
    if (prints)
      fmt::print("{:<{}}  {:>3} of {:>3}  {:>8.4f}  {:>10.2f}\n", e.options.attention[m], width,
                 result["found"].get<int>(), results[m].size(), result["nll"].get<double>(),
                 result["seconds_per_question"].get<double>());
    json["results"].push_back(std::move(result));
  }
  if (!prints || (options.lengths.size() == 1 && e.options.depths.empty())) return json;
  for (const nlohmann::json& result : json["results"])
    print_grid(result["attention"].get<std::string>(), result["grid"], options);
  return json;
}

}  // namespace lowkey::cli
