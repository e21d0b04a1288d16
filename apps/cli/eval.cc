// lowkey eval: what a method costs in quality, side by side for any number of methods: the options, and what tasks
// share.
#include "apps/cli/eval.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "apps/cli/adapted_attention.h"
#include "apps/cli/methods.h"
#include "apps/cli/report.h"
#include "apps/cli/signals.h"
#include "apps/cli/verbs.h"
#include "base/error.h"
#include "base/fnv1a.h"
#include "base/isa.h"
#include "lab/perplexity.h"
#include "model/tokenizer_loader.h"

namespace lowkey::cli {

namespace fs = std::filesystem;

int64_t Evaluation::windows(int64_t context) const {
  constexpr int64_t kWindowTokens = 32768, kLeast = 2;
  return options.windows >= 0 ? options.windows : std::max(kWindowTokens / std::max<int64_t>(context, 1), kLeast);
}

size_t Evaluation::name_width() const {
  size_t width = 6;
  for (const std::string& spec : options.attention) width = std::max(width, spec.size());
  return width;
}

nlohmann::json finite(double value) { return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(); }

nlohmann::json interval_json(const Interval& i) { return {{"low", finite(i.low)}, {"high", finite(i.high)}}; }

namespace {

enum Needs : unsigned { kText = 1, kWindows = 2, kCalibration = 4, kData = 8 };

struct Task {
  const char* name;
  const char* key;  // of its results in the JSON
  nlohmann::json (*run)(const Evaluation&);
  unsigned needs;
};
constexpr Task kTasks[] = {{"perplexity", "results", eval_perplexity, kText | kWindows},
                           {"agreement", "agreement", eval_agreement, kText | kWindows},
                           {"needle", "needle", eval_needle, kText},
                           {"rank", "rank", eval_rank, kCalibration},
                           {"choice", "choice", eval_choice, kData},
                           {"generate", "generate", eval_generate, kData}};

const Task& find_task(const std::string& word) {
  std::vector<std::string> known;
  for (const Task& task : kTasks) {
    if (word == task.name) return task;
    known.emplace_back(task.name);
  }
  throw Error(ErrorKind::kInvalidArgument, fmt::format("--task '{}', must be one of {}", word, fmt::join(known, ", ")));
}

bool is_dense(const std::string& spec) { return parse_attention_spec(spec).text() == "dense"; }

// What all others are compared with stands first; what is given twice is measured once.
void put_dense_first(std::vector<std::string>& specs) {
  std::vector<std::string> all{"dense"};
  for (const std::string& spec : specs)
    if (!is_dense(spec) && std::find(all.begin(), all.end(), spec) == all.end()) all.push_back(spec);
  specs = std::move(all);
}

// The one given, or the book that comes with the bundled model.
std::string text_file(const EvalOptions& o) {
  if (!o.text.empty()) return o.text;
  for (const fs::path& book : {fs::path(o.common.model).parent_path() / "book.txt", fs::path("models/book.txt")})
    if (fs::is_regular_file(book)) return book.string();
  throw Error(ErrorKind::kInvalidArgument, "--text is missing, and there is no book.txt beside the model");
}

std::string hash_of(std::string_view bytes) { return fmt::format("{:016x}", fnv1a(std::as_bytes(std::span(bytes)))); }

std::string calibration_hash(const EvalOptions& o) {
  const fs::path file =
      o.common.calibration.empty() ? calibration_beside(o.common.model) : fs::path(o.common.calibration);
  return file.empty() ? "" : hash_of(read_whole(file.string()));
}

// All that results depend on; times are whatever they were.
nlohmann::json journal_header(const EvalOptions& o, const Model& model, std::string_view text, std::string_view data,
                              int threads) {
  return {{"lowkey eval", 1},
          {"version", LOWKEY_VERSION},
          {"model", fmt::format("{} {}", model.fingerprint(), model.weight_bytes())},
          {"calibration", calibration_hash(o)},
          {"text", hash_of(text)},
          {"data", hash_of(data)},
          {"tasks", o.tasks},
          {"attention", o.attention},
          {"context", o.context},
          {"windows", o.windows},
          {"stride", o.stride},
          {"protocol", o.protocol},
          {"chunk", o.chunk},
          {"scored", o.scored},
          {"documents", o.documents},
          {"codes", o.codes},
          {"distractors", o.distractors},
          {"lengths", o.lengths},
          {"depths", o.depths},
          {"alone", o.alone},
          {"tokens", o.most},
          {"kv_type", o.common.kv_type},
          {"isa", name(active_isa())},
          {"threads", threads}};
}

nlohmann::json facts_of(const EvalOptions& o, const Model& model, const std::string& text, int threads) {
  const AttentionShape& s = model.shape().attention;
  return {{"model", o.common.model},
          {"text", text},
          {"kv_type", o.common.kv_type},
          {"machine", machine_name()},
          {"isa", name(active_isa())},
          {"threads", threads},
          {"shape", {{"layers", s.layers}, {"heads", s.heads}, {"kv_heads", s.kv_heads}, {"head_dim", s.head_dim}}}};
}

std::vector<std::unique_ptr<Method>> make_methods(const EvalOptions& o, const MethodInputs& inputs) {
  std::vector<std::unique_ptr<Method>> made;
  for (const std::string& spec : o.attention)
    made.push_back(make_method(judged_spec(parse_attention_spec(spec), Protocol::kDecode, 0), inputs));
  return made;
}

// Refers to the methods.
std::vector<ComparedMethod> named(const EvalOptions& o, std::span<const std::unique_ptr<Method>> methods) {
  std::vector<ComparedMethod> all;
  for (size_t m = 0; m < methods.size(); ++m)
    all.push_back({.name = o.attention[m],
                   .method = methods[m].get(),
                   .always = always_read(parse_attention_spec(o.attention[m]))});
  return all;
}

void run(EvalOptions& o) {
  std::vector<Task> tasks;
  unsigned needs = 0;
  for (const std::string& word : o.tasks) tasks.push_back(find_task(word)), needs |= tasks.back().needs;
  put_dense_first(o.attention);
  parse_protocol(o.protocol);
  const auto context = make_context(o.common);
  const auto model = open_model(o.common);
  const Tokenizer tokenizer = load_tokenizer(o.common.model);
  if (std::any_of(o.attention.begin(), o.attention.end(),
                  [](const std::string& spec) { return needs_calibration(parse_attention_spec(spec)); }))
    needs |= kCalibration;
  const auto calibration =
      (needs & kCalibration) != 0 ? open_calibration(o.common.calibration, o.common.model, *model) : nullptr;
  if (!calibration && std::find(o.tasks.begin(), o.tasks.end(), "rank") != o.tasks.end()) needs |= kText;
  const std::string file = (needs & kText) != 0 ? text_file(o) : "";
  const std::string text = file.empty() ? "" : read_whole(file), data = o.data.empty() ? "" : read_whole(o.data);
  const std::vector<int32_t> stream =
      (needs & kWindows) != 0 ? document_tokens(tokenizer, text) : std::vector<int32_t>{};
  const MethodInputs inputs{.shape = model->shape().attention, .calibration = calibration};
  const auto made = make_methods(o, inputs);
  const std::vector<ComparedMethod> methods = named(o, made);
  Journal journal =
      o.resume.empty() ? Journal() : Journal(o.resume, journal_header(o, *model, text, data, context->threads.count()));
  const Evaluation evaluation{.options = o,
                              .context = *context,
                              .model = *model,
                              .tokenizer = tokenizer,
                              .text = text,
                              .stream = stream,
                              .data = data,
                              .inputs = inputs,
                              .methods = methods,
                              .journal = journal};
  nlohmann::json all = facts_of(o, *model, file, context->threads.count());
  for (const Task& task : tasks)
    if (!interrupted()) all[task.key] = task.run(evaluation);
  if (o.common.json) fmt::print("{}\n", all.dump(2));
  if (!o.json_file.empty()) write_whole(o.json_file, all.dump(2) + "\n");
  if (!o.report.empty()) write_report(fs::path(o.report).stem().string(), all, o.report);
}

void add_windows(CLI::App& verb, EvalOptions& o) {
  verb.add_option("--context", o.context, "tokens a window or document; default: 2048 for perplexity, else 8192");
  verb.add_option("--windows", o.windows,
                  "how many windows, evenly spaced; 0: all; default: as many as hold 32,768 tokens, at least 2")
      ->check(CLI::NonNegativeNumber);
  verb.add_option("--stride", o.stride,
                  "perplexity: tokens from a window to the next, of which these last ones are scored; default: a whole "
                  "window");
  verb.add_option("--protocol", o.protocol,
                  "perplexity: decode: each position selects from its own past, as in decoding; block: budgets are "
                  "parts of the whole window, as in the papers' figures")
      ->capture_default_str();
  verb.add_option("--scored", o.scored, "agreement: positions judged, the last of each window")->capture_default_str();
  verb.add_flag("--per-layer", o.per_layer, "agreement: print recall, Jaccard, mass and error of each layer too");
}

void add_needles(CLI::App& verb, EvalOptions& o) {
  verb.add_option("--documents", o.documents, "needle: how many documents of each length")->capture_default_str();
  verb.add_option("--lengths", o.lengths, "needle: tokens a document, separated by commas; default: --context")
      ->delimiter(',');
  verb.add_option("--depths", o.depths,
                  "needle: where codes are hidden, 0 (the start) to 1, separated by commas; default: --codes of them, "
                  "spread evenly")
      ->delimiter(',');
  verb.add_option("--codes", o.codes, "needle: codes hidden in each document")->capture_default_str();
  verb.add_flag("--alone", o.alone, "needle: each code in a document of its own");
  verb.add_option("--distractors", o.distractors, "needle: codes in each document that nobody asks for")
      ->capture_default_str();
}

}  // namespace

void add_eval(CLI::App& app) {
  auto options = std::make_shared<EvalOptions>();
  CLI::App* verb = app.add_subcommand("eval", "measure quality, per attention method");
  add_model(*verb, options->common);
  verb->add_option(
          "--task", options->tasks,
          "what to measure, separated by commas: perplexity of a text; agreement with dense attention "
          "(KL, perplexity, recall of exact top-k, error of the output); needle: codes found in long documents; rank "
          "of the keys, from their calibration or the text; choice, generate: questions of --data")
      ->delimiter(',')
      ->capture_default_str();
  verb->add_option("--text", options->text,
                   "the text; documents may be separated by NUL bytes; default: the book.txt beside the model");
  verb->add_option("--data", options->data,
                   "JSON lines: {\"prompt\", \"choices\", \"answer\"} for choice (the most likely one), {\"prompt\", "
                   "\"answer\"} for generate (what is said up to \"stop\", a new line); \"context\": read before");
  verb->add_option("--attention", options->attention, "method; may be given several times; dense is always the first")
      ->capture_default_str();
  add_calibration(*verb, options->common);
  add_windows(*verb, *options);
  add_needles(*verb, *options);
  verb->add_option("--tokens", options->most, "generate: tokens said, at most")->capture_default_str();
  verb->add_option("--chunk", options->chunk, "tokens a step")->capture_default_str();
  add_kv_type(*verb, options->common);
  verb->add_option("--json-file", options->json_file, "write the results there too");
  verb->add_option("--report", options->report, "write them as an HTML page with charts, too");
  verb->add_option("--resume", options->resume,
                   "keep each result in this file as soon as it is there, and go on from those that it has: the same "
                   "command again continues a run that was ended");
  add_execution(*verb, options->common);
  verb->callback([options, verb] {
    if (verb->get_option("--attention")->count() == 0)
      options->attention.push_back(adapted_attention(options->common.model));
    run(*options);
  });
}

}  // namespace lowkey::cli
