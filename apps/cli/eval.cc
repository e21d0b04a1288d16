// lowkey eval: what a method costs in quality. Perplexity for now, side by side for any number of methods.
#include <fmt/format.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "apps/cli/options.h"
#include "apps/cli/progress.h"
#include "apps/cli/signals.h"
#include "apps/cli/verbs.h"
#include "base/error.h"
#include "base/isa.h"
#include "lab/perplexity.h"
#include "model/tokenizer_loader.h"

namespace lowkey::cli {
namespace {

struct EvalOptions {
  CommonOptions common;
  std::vector<std::string> attention{"dense"};
  std::string task = "perplexity";
  std::string text;
  std::string json_file;
  PerplexityOptions perplexity;
};

nlohmann::json evaluate(const EvalOptions& o, const Context& context, const Model& model, const Tokenizer& tokenizer,
                        const std::string& text, const std::string& spec) {
  const auto method =
      make_method(parse_attention_spec(spec), {.shape = model.shape().attention, .calibration = nullptr});
  Progress progress(spec, "tokens");
  const PerplexityResult r =
      perplexity(context, model, tokenizer, *method, text, o.perplexity, [&](int64_t done, int64_t total) {
        progress.update(done, total);
        return !interrupted();
      });
  progress.clear();
  return {{"attention", spec},
          {"perplexity", r.perplexity},
          {"windows", r.window_nll.size()},
          {"scored_tokens", r.scored_tokens},
          {"window_nll", r.window_nll},
          {"seconds", r.seconds}};
}

void run(EvalOptions& o) {
  LK_REQUIRE(o.task == "perplexity", kInvalidArgument, "--task '{}', must be perplexity", o.task);
  const auto context = make_context(o.common);
  o.perplexity.kv_type = parse_kv_type(o.common.kv_type);
  const auto model = open_model(o.common.model);
  const Tokenizer tokenizer = load_tokenizer(o.common.model);
  const std::string text = read_whole(o.text);
  nlohmann::json all{{"model", o.common.model},           {"text", o.text},
                     {"context", o.perplexity.context},   {"kv_type", o.common.kv_type},
                     {"isa", name(active_isa())},         {"threads", context->threads.count()},
                     {"results", nlohmann::json::array()}};
  for (const std::string& spec : o.attention) {
    if (interrupted()) break;
    const nlohmann::json result = evaluate(o, *context, *model, tokenizer, text, spec);
    all["results"].push_back(result);
    if (!o.common.json)
      fmt::print("{:<24} perplexity {:.4f}  ({} windows of {}, {:.1f} s)\n", spec, result["perplexity"].get<double>(),
                 result["windows"].get<int>(), o.perplexity.context, result["seconds"].get<double>());
  }
  if (o.common.json) fmt::print("{}\n", all.dump(2));
  if (o.json_file.empty()) return;
  std::ofstream stream(o.json_file);
  stream << all.dump(2) << '\n';
  LK_REQUIRE(stream.good(), kNotFound, "[file] {}: cannot be written", o.json_file);
}

}  // namespace

void add_eval(CLI::App& app) {
  auto options = std::make_shared<EvalOptions>();
  CLI::App* verb = app.add_subcommand("eval", "measure quality: perplexity of a text, per attention method");
  add_model(*verb, options->common);
  verb->add_option("--task", options->task, "what to measure: perplexity")->capture_default_str();
  verb->add_option("--text", options->text, "the text; documents may be separated by NUL bytes")->required();
  verb->add_option("--attention", options->attention, "method; may be given several times")->capture_default_str();
  verb->add_option("--context", options->perplexity.context, "tokens a window")->capture_default_str();
  verb->add_option("--windows", options->perplexity.windows, "how many windows, evenly spaced; 0: all");
  verb->add_option("--chunk", options->perplexity.chunk, "tokens a step")->capture_default_str();
  verb->add_option("--kv-type", options->common.kv_type, "type of cached keys and values: f16, bf16 or f32")
      ->capture_default_str();
  verb->add_option("--json-file", options->json_file, "write the results there too");
  add_execution(*verb, options->common);
  verb->callback([options] { run(*options); });
}

}  // namespace lowkey::cli
