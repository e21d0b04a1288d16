// lowkey eval --task needle: how many codes hidden in long documents each method finds.
#include <fmt/format.h>

#include "apps/cli/eval.h"
#include "apps/cli/progress.h"
#include "apps/cli/signals.h"
#include "base/printable.h"
#include "lab/needle_trials.h"

namespace lowkey::cli {
namespace {

std::vector<std::vector<NeedleTrial>> measure(const Evaluation& e, const NeedleOptions& options) {
  const auto made = e.methods();
  Progress progress("needle", "questions");
  return needle_trials(e.context, e.model, e.tokenizer, e.compared(made), e.text, options,
                       [&](int64_t done, int64_t total, std::string_view method) {
                         progress.retitle(method.empty() ? "dense prefix" : std::string(method));
                         progress.update(done, total);
                         return !interrupted();
                       });
}

nlohmann::json to_json(const NeedleTrial& t) {
  return {{"document", t.document},    {"noun", t.needle.noun}, {"code", t.needle.code}, {"depth", t.needle.depth},
          {"said", printable(t.said)}, {"found", t.found},      {"nll", t.nll},          {"seconds", t.seconds}};
}

}  // namespace

nlohmann::json eval_needle(const Evaluation& e) {
  const EvalOptions& o = e.options;
  const NeedleOptions options{
      .context = e.length(8192), .documents = o.documents, .codes = o.codes, .chunk = o.chunk, .kv_type = e.kv_type()};
  const auto results = measure(e, options);
  nlohmann::json json{{"context", options.context}, {"results", nlohmann::json::array()}};
  const size_t width = e.name_width();
  if (!o.common.json)
    fmt::print(
        "Codes found in documents of {} tokens; nll: of the true code, nats a token.\n\n{:<{}}  {:>9}  {:>8}  "
        "{:>10}\n",
        options.context, "method", width, "found", "nll", "s/question");
  for (size_t m = 0; m < results.size(); ++m) {
    if (results[m].empty()) continue;  // interrupted
    const auto count = static_cast<double>(results[m].size());
    int found = 0;
    double nll = 0, seconds = 0;
    nlohmann::json trials = nlohmann::json::array();
    for (const NeedleTrial& t : results[m]) {
      found += t.found ? 1 : 0, nll += t.nll / count, seconds += t.seconds / count;
      trials.push_back(to_json(t));
    }
    json["results"].push_back({{"attention", o.attention[m]},
                               {"found", found},
                               {"trials", trials.size()},
                               {"nll", nll},
                               {"questions", std::move(trials)}});
    if (!o.common.json)
      fmt::print("{:<{}}  {:>3} of {:>2}  {:>8.4f}  {:>10.2f}\n", o.attention[m], width, found, results[m].size(), nll,
                 seconds);
  }
  return json;
}

}  // namespace lowkey::cli
