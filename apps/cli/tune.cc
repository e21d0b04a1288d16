// lowkey tune: finds a setting for each layer that reads least within a loss, and keeps it in the calibration file.
#include "lab/tune.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

#include "apps/cli/eval.h"
#include "apps/cli/methods.h"
#include "apps/cli/options.h"
#include "apps/cli/progress.h"
#include "apps/cli/signals.h"
#include "apps/cli/verbs.h"
#include "attention/calibration.h"
#include "base/error.h"
#include "base/isa.h"
#include "formats/new_file.h"
#include "lab/perplexity.h"
#include "model/tokenizer_loader.h"

namespace lowkey::cli {
namespace {

namespace fs = std::filesystem;

struct Options {
  CommonOptions common;
  std::string text, out, json_file, max_loss = "0.5%", least = "bytes";
  std::vector<std::string> candidates, uniform;
  TuneOptions tune;
};

// "0.5%" or "0.005".
double part_of(const std::string& text) {
  char* end = nullptr;
  double value = std::strtod(text.c_str(), &end);
  if (*end == '%') value /= 100, ++end;
  LK_REQUIRE(!text.empty() && *end == '\0' && value > 0 && value <= 1, kInvalidArgument,
             "--max-loss '{}', must be a part like 0.5% or 0.005, above 0 and at most 1", text);
  return value;
}

std::string interval(const Estimate& e) { return fmt::format("{:+.2f} [{:+.2f}, {:+.2f}]", e.mean, e.low, e.high); }

// A table of measures; the time is shown where it was taken.
class Printer {
 public:
  explicit Printer(const TuneResult& r) : dense_(r.uniform[0]), timed_(dense_.seconds > 0) {
    for (const std::string& c : r.candidates) width_ = std::max(width_, c.size() + 2);  // with a mark
  }

  void heading(const std::string& what) const {
    fmt::print("{:<{}}  {:>8} {:>9}  {}{:>8}  perplexity %, 95 % interval\n", what, width_, "MB/step", "of dense",
               timed_ ? " us/step  of dense  " : "", "KL");
  }
  void row(const std::string& name, const TuneMeasure& m) const {
    const std::string time =
        timed_ ? fmt::format("{:>8.1f} {:>7.1f} %  ", m.seconds * 1e6, 100 * m.seconds / dense_.seconds) : "";
    fmt::print("{:<{}}  {:>8.2f} {:>7.1f} %  {}{:>8.5f}  {}\n", name, width_, m.bytes / 1e6,
               100 * m.bytes / dense_.bytes, time, m.kl, interval(m.increase));
  }

 private:
  const TuneMeasure& dense_;
  bool timed_;
  size_t width_ = 24;
};

void print(const TuneResult& r, double max_loss) {
  const Printer table(r);
  table.heading("in every layer");
  for (size_t c = 0; c < r.candidates.size(); ++c)
    table.row(r.candidates[c] + (static_cast<int>(c) == r.best_uniform ? " <" : ""), r.uniform[c]);
  fmt::print("\n");
  table.heading("a setting for each layer");
  for (size_t t = 0; t < r.trials.size(); ++t)
    table.row(fmt::format("profile {}{}", t + 1, static_cast<int>(t) == r.best_trial ? " <" : ""),
              r.trials[t].measured);
  fmt::print("\nOn windows that had no part in this, {:.2g} % allowed:\n", 100 * max_loss);
  table.row("the profile", r.checked);
  table.row(r.candidates[static_cast<size_t>(r.best_uniform)], r.uniform_checked);
  fmt::print("\n");
  const std::vector<std::string> layers = r.layers();
  for (size_t l = 0; l < layers.size(); ++l) fmt::print("layer {:>3}  {}\n", l, layers[l]);
}

nlohmann::json to_json(const TuneMeasure& m) {
  nlohmann::json increase = interval_json({.low = m.increase.low, .high = m.increase.high});
  increase["mean"] = finite(m.increase.mean);
  nlohmann::json json{{"bytes", m.bytes}, {"kl", finite(m.kl)}, {"perplexity_increase_percent", std::move(increase)}};
  if (m.seconds > 0) json["seconds"] = m.seconds;
  return json;
}

nlohmann::json to_json(const TuneResult& r, const TuneOptions& o) {
  nlohmann::json json{{"for", o.for_time ? "time" : "bytes"},
                      {"max_loss", o.max_loss},
                      {"context", o.windows.context},
                      {"windows", o.windows.windows},
                      {"scored", o.windows.scored},
                      {"candidates", r.candidates},
                      {"sensitivity_kl", r.kl},
                      {"layers", r.layers()},
                      {"checked", to_json(r.checked)}};
  for (const TuneMeasure& m : r.uniform) json["uniform"].push_back(to_json(m));
  for (const TuneTrial& t : r.trials) {
    nlohmann::json trial = to_json(t.measured);
    trial["budget"] = t.budget, trial["layers"] = t.layers;
    json["trials"].push_back(std::move(trial));
  }
  json["best_trial"] = r.best_trial;
  json["best_uniform"] = r.candidates[static_cast<size_t>(r.best_uniform)];
  json["uniform_checked"] = to_json(r.uniform_checked);
  return json;
}

std::string about(const TuneResult& r, const Options& o) {
  return fmt::format(
      "{} windows of {} tokens of {}: perplexity {} % on unseen ones ({:.2g} % allowed), {:.0f} % of the {} of dense",
      o.tune.windows.windows, o.tune.windows.context, std::filesystem::path(o.text).filename().string(),
      interval(r.checked.increase), 100 * o.tune.max_loss,
      o.tune.for_time ? 100 * r.checked.seconds / r.uniform[0].seconds : 100 * r.checked.bytes / r.uniform[0].bytes,
      o.tune.for_time ? "time" : "bytes");
}

void run(Options& o) {
  const std::string& given = o.common.calibration;
  o.tune.max_loss = part_of(o.max_loss);
  o.tune.for_time = o.least == "time";
  o.tune.windows.kv_type = parse_kv_type(o.common.kv_type);
  const auto start = std::chrono::steady_clock::now();
  const auto context = make_context(o.common);
  const auto model = open_model(o.common);
  const auto calibration = open_calibration(given, o.common.model, *model);
  LK_REQUIRE(
      calibration != nullptr, kInvalidArgument,
      "tune needs a calibration of the model, to rank with and to keep what it finds: lowkey calibrate makes one");
  const fs::path source = given.empty() ? calibration_beside(o.common.model) : fs::path(given);
  const fs::path out = o.out.empty() ? source : fs::path(o.out);
  NewFile(out, "tune");  // a place that cannot be written to is refused now, not after the work
  const MethodInputs inputs{.shape = model->shape().attention, .calibration = calibration};
  const bool given_none = o.candidates.empty() && o.uniform.empty();
  o.tune.candidates = o.candidates.empty() ? default_candidates(inputs) : o.candidates;
  o.tune.uniform = given_none ? default_uniform(inputs) : o.uniform;
  const Tokenizer tokenizer = load_tokenizer(o.common.model);
  const std::vector<int32_t> stream = document_tokens(tokenizer, read_whole(o.text));
  Progress progress("tune", "windows x methods");
  const TuneResult result = tune(*context, *model, inputs, stream, o.tune,
                                 [&](const std::string& stage, int64_t done, int64_t total, std::string_view what) {
                                   progress.retitle(fmt::format("{}: {}", stage, what.empty() ? "dense prefix" : what));
                                   progress.update(done, total);
                                   return !interrupted();
                                 });
  progress.clear();
  Calibration tuned = *calibration;
  tuned.profile = Profile{.layers = result.layers(), .about = about(result, o)};
  tuned.save(out);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  nlohmann::json json = to_json(result, o.tune);
  json["file"] = out.string(), json["seconds"] = seconds, json["text"] = o.text, json["model"] = o.common.model;
  json["machine"] = machine_name(), json["isa"] = name(active_isa()), json["threads"] = context->threads.count();
  const std::string dumped = json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
  if (!o.json_file.empty()) write_whole(o.json_file, dumped + "\n");
  if (o.common.json) {
    fmt::print("{}\n", dumped);
  } else {
    print(result, o.tune.max_loss);
  }
  fmt::print(stderr, "{}: profile written, {:.0f} s; use it with --attention auto\n", out.string(), seconds);
}

}  // namespace

void add_tune(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* verb =
      app.add_subcommand("tune", "find the cheapest setting for each layer within a loss, for --attention auto");
  add_model(*verb, options->common);
  verb->add_option("--text", options->text, "what to tune on (its first half) and to check with (its second)")
      ->required();
  verb->add_option("--max-loss", options->max_loss, "how much perplexity may rise, with its 95 % interval")
      ->capture_default_str();
  verb->add_option("--for", options->least,
                   "bytes: that a step reads; time: that its attention takes on this machine, at the length of windows")
      ->check(CLI::IsMember({"bytes", "time"}))
      ->capture_default_str();
  add_calibration(*verb, options->common);
  verb->add_option("-o,--output", options->out, "where the calibration goes with the profile; default: the same file");
  verb->add_option("--candidate", options->candidates, "a method that layers may have, beside dense; several times");
  verb->add_option(
      "--uniform", options->uniform,
      "one that all layers may have or none, to compare with; several times. Without both options: a grid");
  verb->add_option("--context", options->tune.windows.context, "tokens a window")->capture_default_str();
  verb->add_option("--windows", options->tune.windows.windows, "windows to tune on, and as many to check")
      ->capture_default_str();
  verb->add_option("--scored", options->tune.windows.scored, "positions judged, the last of each window")
      ->capture_default_str();
  verb->add_option("--chunk", options->tune.windows.chunk, "tokens a step")->capture_default_str();
  verb->add_option("--json-file", options->json_file, "write the results there too");
  add_execution(*verb, options->common);
  verb->callback([options] { run(*options); });
}

}  // namespace lowkey::cli
