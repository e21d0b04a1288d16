#include "apps/cli/embed.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <numeric>

#include "apps/cli/progress.h"
#include "apps/cli/signals.h"
#include "base/error.h"
#include "base/isa.h"
#include "base/printable.h"
#include "engine/embedder.h"
#include "model/tokenizer_loader.h"

namespace lowkey::cli {
namespace {

std::vector<std::string> read_texts(const PromptOptions& options) {
  std::vector<std::string> texts;
  const std::string file = options.file.empty() ? "" : read_whole(options.file);
  for (size_t at = 0; at < file.size();) {
    const size_t end = std::min(file.find('\n', at), file.size());
    texts.push_back(file.substr(at, end - at));
    if (texts.back().ends_with('\r')) texts.back().pop_back();
    at = end + 1;
  }
  if (!options.text.empty()) texts.push_back(options.text);
  LK_REQUIRE(!texts.empty(), kInvalidArgument, "no text: give -p TEXT, -f FILE (a text a line) or both");
  return texts;
}

SentenceRules make_rules(const EmbedOptions& o, const Encoder& encoder) {
  SentenceRules rules = read_sentence_rules(o.common.model);
  rules.max_tokens = o.context > 0 ? o.context : std::min(rules.max_tokens, encoder.shape().context);
  if (!o.pool.empty()) rules.pool = o.pool == name(Pool::kCls) ? Pool::kCls : Pool::kMean;
  return rules;
}

std::unique_ptr<Method> make_bidirectional(const AttentionSpec& spec, const Encoder& encoder) {
  std::unique_ptr<Method> method;
  if (!needs_calibration(spec))
    method = make_method(spec, {.shape = encoder.shape().attention, .calibration = nullptr});
  LK_REQUIRE(method && method->bidirectional(), kInvalidArgument,
             "--attention {}: the model is an encoder, whose tokens read the whole text; must be dense", spec.text());
  return method;
}

void warn_of_length(const std::vector<TextResult>& results, int64_t most) {
  const auto cut = [](const TextResult& r) { return r.left_out > 0; };
  const auto first = std::find_if(results.begin(), results.end(), cut);
  if (first == results.end()) return;
  fmt::print(stderr,
             "{} of {} texts are longer than the {} tokens that are read of one: their ends are left out (the first is "
             "text {}, {} tokens)\n",
             std::count_if(results.begin(), results.end(), cut), results.size(), most, first - results.begin() + 1,
             first->tokens + first->left_out);
}

// The shortest decimal that reads back as the same float, as a double, which is what JSON prints.
double shortest(float value) {
  const std::string text = fmt::format("{}", value);
  double result = 0;
  std::from_chars(text.data(), text.data() + text.size(), result);
  return result;
}

nlohmann::json numbers(std::span<const float> values) {
  nlohmann::json list = nlohmann::json::array();
  for (float v : values) list.push_back(shortest(v));
  return list;
}

// A text's probabilities by label, best first.
std::vector<std::pair<std::string, float>> ranked(const Classes& classes, const TextResult& result) {
  std::vector<float> probabilities = result.values;
  to_probabilities(classes.kind, probabilities);
  std::vector<size_t> order(probabilities.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return probabilities[a] > probabilities[b]; });
  std::vector<std::pair<std::string, float>> list;
  for (size_t i : order) list.emplace_back(classes.labels[i], probabilities[i]);
  return list;
}

nlohmann::json report(const Classes& classes, TextTask task, const TextResult& result) {
  nlohmann::json text{{"tokens", result.tokens}, {"left_out", result.left_out}};
  if (task == TextTask::kEmbed) {
    text["embedding"] = numbers(result.values);
    return text;
  }
  const auto list = ranked(classes, result);
  text["label"] = list.front().first;
  for (const auto& [label, value] : list) text["classes"].push_back({{"label", label}, {"value", shortest(value)}});
  text["scores"] = numbers(result.values);
  return text;
}

void print_plain(const Classes& classes, TextTask task, const TextResult& result) {
  if (task == TextTask::kEmbed) {
    fmt::print("{}\n", fmt::join(result.values, " "));
    return;
  }
  std::string line;
  for (const auto& [label, value] : ranked(classes, result))
    line += fmt::format("{}{} {:.6f}", line.empty() ? "" : "\t", printable(label), value);
  fmt::print("{}\n", line);
}

}  // namespace

void refuse_generation(const CLI::App& verb) {
  for (const char* option :
       {"--tokens", "--temperature", "--top-k", "--top-p", "--min-p", "--repetition-penalty", "--repetition-window",
        "--seed", "--stop", "--ignore-end", "--interactive", "--chunk", "--calibration"})
    LK_REQUIRE(verb.get_option(option)->count() == 0, kInvalidArgument,
               "{}: the model is an encoder, which generates no text", option);
}

void embed(const EmbedOptions& o) {
  const auto context = make_context(o.common);
  const AttentionSpec spec = parse_attention_spec(o.common.attention);
  const std::vector<std::string> texts = read_texts(o.prompt);
  const auto encoder = open_encoder(o.common.model, place_of(o.common));
  const Tokenizer tokenizer = load_tokenizer(o.common.model);
  const auto method = make_bidirectional(spec, *encoder);
  const SentenceRules rules = make_rules(o, *encoder);
  const Classes& classes = encoder->classes();
  const TextTask task = o.pool.empty() && !classes.labels.empty() ? TextTask::kClassify : TextTask::kEmbed;
  const Embedder embedder(*context, *encoder, tokenizer, *method,
                          {.rules = rules,
                           .kv_type = o.common.kv_type.empty() ? DType::kF32 : parse_kv_type(o.common.kv_type),
                           .parse_special = o.parse_special});
  Progress progress("reading", "texts");
  const auto start = std::chrono::steady_clock::now();
  const auto results = embedder.run(texts, task, [&](int64_t done, int64_t total) {
    progress.update(done, total);
    return !interrupted();
  });
  progress.clear();
  if (interrupted()) return;
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  warn_of_length(results, embedder.max_tokens());
  if (!o.common.json) {
    for (const TextResult& result : results) print_plain(classes, task, result);
    return;
  }
  nlohmann::json out{{"model", o.common.model},
                     {"attention", spec.text()},
                     {"isa", name(active_isa())},
                     {"threads", context->threads.count()},
                     {"max_tokens", embedder.max_tokens()},
                     {"seconds", took.count()},
                     {"peak_resident_bytes", peak_resident_bytes()}};
  if (task == TextTask::kEmbed) out.update({{"pool", name(rules.pool)}, {"normalised", rules.normalise}});
  for (const TextResult& result : results) out["texts"].push_back(report(classes, task, result));
  fmt::print("{}\n", out.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace lowkey::cli
