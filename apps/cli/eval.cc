// lowkey eval: what a method costs in quality, side by side for any number of methods: the options, and perplexity.
#include "apps/cli/eval.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "apps/cli/calibration_report.h"
#include "apps/cli/methods.h"
#include "apps/cli/progress.h"
#include "apps/cli/signals.h"
#include "apps/cli/verbs.h"
#include "base/error.h"
#include "base/isa.h"
#include "lab/perplexity.h"
#include "model/tokenizer_loader.h"

namespace lowkey::cli {

std::unique_ptr<Method> Evaluation::method(const std::string& text) const {
  AttentionSpec spec = with_every_row(parse_attention_spec(text));
  if (has_measured_minimum(spec)) spec.settings.emplace("min", "0");  // the method itself is measured, not its gate
  return make_method(spec, inputs);
}

std::vector<std::unique_ptr<Method>> Evaluation::methods() const {
  std::vector<std::unique_ptr<Method>> made;
  for (const std::string& text : options.attention) made.push_back(method(text));
  return made;
}

std::vector<ComparedMethod> Evaluation::compared(std::span<const std::unique_ptr<Method>> methods) const {
  std::vector<ComparedMethod> compared;
  for (size_t m = 0; m < methods.size(); ++m) {
    const std::string& spec = options.attention[m];
    compared.push_back({.name = spec, .method = methods[m].get(), .always = always_read(parse_attention_spec(spec))});
  }
  return compared;
}

size_t Evaluation::name_width() const {
  size_t width = 6;
  for (const std::string& spec : options.attention) width = std::max(width, spec.size());
  return width;
}

nlohmann::json finite(double value) { return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(); }

namespace {

nlohmann::json perplexity_of(const Evaluation& e, const PerplexityOptions& options, const std::string& spec) {
  const auto method = e.method(spec);
  Progress progress(spec, "tokens");
  const PerplexityResult r =
      perplexity(e.context, e.model, e.tokenizer, *method, e.text, options, [&](int64_t done, int64_t total) {
        progress.update(done, total);
        return !interrupted();
      });
  progress.clear();
  return {{"attention", spec},
          {"context", options.context},
          {"perplexity", r.perplexity},
          {"windows", r.window_nll.size()},
          {"scored_tokens", r.scored_tokens},
          {"window_nll", r.window_nll},
          {"seconds", r.seconds}};
}

nlohmann::json eval_perplexity(const Evaluation& e) {
  const PerplexityOptions options{
      .context = e.length(2048), .windows = e.options.windows, .chunk = e.options.chunk, .kv_type = e.kv_type()};
  nlohmann::json results = nlohmann::json::array();
  for (const std::string& spec : e.options.attention) {
    if (interrupted()) break;
    const nlohmann::json result = perplexity_of(e, options, spec);
    results.push_back(result);
    if (!e.options.common.json)
      fmt::print("{:<24} perplexity {:.4f}  ({} windows of {}, {:.1f} s)\n", spec, result["perplexity"].get<double>(),
                 result["windows"].get<int>(), options.context, result["seconds"].get<double>());
  }
  return results;
}

// Coordinates that hold so much of the keys' variance, by basis, layer and KV head.
nlohmann::json eval_rank(const Evaluation& e) {
  LK_REQUIRE(e.inputs.calibration != nullptr, kInvalidArgument, "--task rank needs a calibration, and there is none");
  if (!e.options.common.json) print_ranks(*e.inputs.calibration);
  return calibration_facts(*e.inputs.calibration)["ranks"];
}

struct Task {
  const char* name;
  const char* key;  // of its results in the JSON
  nlohmann::json (*run)(const Evaluation&);
};
constexpr Task kTasks[] = {{"perplexity", "results", eval_perplexity},
                           {"agreement", "agreement", eval_agreement},
                           {"needle", "needle", eval_needle},
                           {"rank", "rank", eval_rank}};

const Task& find_task(const std::string& word) {
  std::vector<std::string> known;
  for (const Task& task : kTasks) {
    if (word == task.name) return task;
    known.emplace_back(task.name);
  }
  throw Error(ErrorKind::kInvalidArgument, fmt::format("--task '{}', must be one of {}", word, fmt::join(known, ", ")));
}

void run(const EvalOptions& o) {
  std::vector<Task> tasks;
  for (const std::string& word : o.tasks) tasks.push_back(find_task(word));
  const auto context = make_context(o.common);
  const auto model = open_model(o.common.model);
  const Tokenizer tokenizer = load_tokenizer(o.common.model);
  const bool reads = std::any_of(tasks.begin(), tasks.end(), [](const Task& task) { return task.run != eval_rank; });
  LK_REQUIRE(!reads || !o.text.empty(), kInvalidArgument, "--text is missing");
  const std::string text = reads ? read_whole(o.text) : "";
  const bool calibrated =
      std::any_of(tasks.begin(), tasks.end(), [](const Task& task) { return task.run == eval_rank; }) ||
      std::any_of(o.attention.begin(), o.attention.end(),
                  [](const std::string& spec) { return needs_calibration(parse_attention_spec(spec)); });
  const auto calibration = calibrated ? open_calibration(o.common.calibration, o.common.model, *model) : nullptr;
  const Evaluation evaluation{.options = o,
                              .context = *context,
                              .model = *model,
                              .tokenizer = tokenizer,
                              .text = text,
                              .inputs = {.shape = model->shape().attention, .calibration = calibration}};
  evaluation.methods();  // a wrong spec is refused before hours of work
  nlohmann::json all{{"model", o.common.model},
                     {"text", o.text},
                     {"kv_type", o.common.kv_type},
                     {"isa", name(active_isa())},
                     {"threads", context->threads.count()}};
  for (const Task& task : tasks)
    if (!interrupted()) all[task.key] = task.run(evaluation);
  if (o.common.json) fmt::print("{}\n", all.dump(2));
  if (o.json_file.empty()) return;
  std::ofstream stream(o.json_file);
  stream << all.dump(2) << '\n';
  LK_REQUIRE(stream.good(), kNotFound, "[file] {}: cannot be written", o.json_file);
}

}  // namespace

void add_eval(CLI::App& app) {
  auto options = std::make_shared<EvalOptions>();
  CLI::App* verb = app.add_subcommand("eval", "measure quality, per attention method");
  add_model(*verb, options->common);
  verb->add_option(
          "--task", options->tasks,
          "what to measure, separated by commas: perplexity of a text; agreement with dense attention "
          "(KL, perplexity, recall of exact top-k); needle: codes found in long documents; rank of the keys, from "
          "their calibration")
      ->delimiter(',')
      ->capture_default_str();
  verb->add_option("--text", options->text, "the text; documents may be separated by NUL bytes");
  verb->add_option("--attention", options->attention, "method; may be given several times")->capture_default_str();
  add_calibration(*verb, options->common);
  verb->add_option("--context", options->context,
                   "tokens a window or document; default: 2048 for perplexity, else 8192");
  verb->add_option("--windows", options->windows, "how many windows, evenly spaced; 0: all");
  verb->add_option("--scored", options->scored, "agreement: positions judged, the last of each window")
      ->capture_default_str();
  verb->add_option("--documents", options->documents, "needle: how many documents")->capture_default_str();
  verb->add_option("--codes", options->codes, "needle: codes hidden in each")->capture_default_str();
  verb->add_flag("--per-layer", options->per_layer, "agreement: recall, Jaccard and mass of each layer too");
  verb->add_option("--chunk", options->chunk, "tokens a step")->capture_default_str();
  verb->add_option("--kv-type", options->common.kv_type, "type of cached keys and values: f16, bf16 or f32")
      ->capture_default_str();
  verb->add_option("--json-file", options->json_file, "write the results there too");
  add_execution(*verb, options->common);
  verb->callback([options] { run(*options); });
}

}  // namespace lowkey::cli
