// lowkey bench reading: one layer reads a text, by several methods side by side.
#include "lab/bench_reading.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "apps/cli/options.h"
#include "apps/cli/progress.h"
#include "apps/cli/signals.h"
#include "apps/cli/verbs.h"
#include "base/error.h"
#include "base/isa.h"

namespace lowkey::cli {
namespace {

struct ReadingOptions {
  CommonOptions common;
  BenchReadingOptions bench;
  std::vector<std::string> attention{"dense"};
  std::string weights = "f32";
  bool prompt = false;
};

// first: of the same length, what the others are compared with.
nlohmann::json to_json(const BenchReadingResult& r, const BenchReadingResult& first) {
  return {
      {"attention", r.attention},
      {"length", r.length},
      {"project_milliseconds", r.project * 1e3},
      {"append_milliseconds", r.append * 1e3},
      {"attend_milliseconds", r.attend * 1e3},
      {"rest_milliseconds", r.rest * 1e3},
      {"attention_milliseconds", r.attention_part() * 1e3},
      {"layer_milliseconds", r.layer() * 1e3},
      {"times_attention", first.attention_part() / r.attention_part()},
      {"times_projections_and_attention", (first.project + first.attention_part()) / (r.project + r.attention_part())},
      {"times_layer", first.layer() / r.layer()},
      {"attention_seconds", r.attention_seconds}};
}

void print_row(const nlohmann::json& r) {
  const auto number = [&](const char* key) { return r[key].get<double>(); };
  fmt::print("{:>7} {:<40} {:>9.1f} {:>11.1f} {:>9.1f} {:>9.1f} {:>10.2f} {:>8.2f} {:>7.2f}\n",
             r["length"].get<int64_t>(), r["attention"].get<std::string>(), number("project_milliseconds"),
             number("attention_milliseconds"), number("rest_milliseconds"), number("layer_milliseconds"),
             number("times_attention"), number("times_projections_and_attention"), number("times_layer"));
}

// How the attention of each method grows with the length of the text.
nlohmann::json growths(const ReadingOptions& o, const std::vector<BenchReadingResult>& results) {
  nlohmann::json all = nlohmann::json::array();
  for (size_t m = 0; m < o.attention.size() && o.bench.lengths.size() > 1; ++m) {
    std::vector<double> lengths, seconds;
    for (size_t i = m; i < results.size(); i += o.attention.size()) {
      lengths.push_back(static_cast<double>(results[i].length));
      seconds.push_back(results[i].attention_part());
    }
    const Growth g = growth(lengths, seconds);
    all.push_back({{"attention", o.attention[m]}, {"exponent", g.exponent}, {"line_r2", g.r2}});
  }
  return all;
}

void run(ReadingOptions& o) {
  const auto context = make_context(o.common);
  o.bench.kv_type = parse_kv_type(o.common.kv_type);
  o.bench.weights = parse_kv_type(o.weights);
  o.bench.encoder = !o.prompt;
  Progress progress("reading", "texts");
  const auto results = bench_reading(*context, o.bench, o.attention, [&](int done, int total) {
    progress.update(done, total);
    LK_REQUIRE(!interrupted(), kInvalidArgument, "interrupted");
  });
  progress.clear();
  nlohmann::json all{{"bench", "reading"},
                     {"phase", o.prompt ? "prompt" : "encoder"},
                     {"heads", o.bench.heads},
                     {"kv_heads", o.bench.kv_heads},
                     {"head_dim", o.bench.head_dim},
                     {"ffn", o.bench.ffn},
                     {"step", o.bench.step},
                     {"weights", o.weights},
                     {"kv_type", o.common.kv_type},
                     {"isa", name(active_isa())},
                     {"threads", context->threads.count()},
                     {"results", nlohmann::json::array()},
                     {"growth", growths(o, results)},
                     {"peak_resident_bytes", peak_resident_bytes()}};
  for (size_t i = 0; i < results.size(); ++i)
    all["results"].push_back(to_json(results[i], results[i / o.attention.size() * o.attention.size()]));
  if (o.common.json) {
    fmt::print("{}\n", all.dump(2));
    return;
  }
  fmt::print("{:>7} {:<40} {:>9} {:>11} {:>9} {:>9} {:>10} {:>8} {:>7}\n", "", "ms of one layer", "project",
             "attention", "rest", "layer", "attention", "+project", "layer");
  for (const nlohmann::json& r : all["results"]) print_row(r);
  for (const nlohmann::json& g : all["growth"])
    fmt::print("attention of {}: time ~ length^{:.2f}, a straight line explains {:.4f}\n",
               g["attention"].get<std::string>(), g["exponent"].get<double>(), g["line_r2"].get<double>());
}

}  // namespace

void add_bench_reading(CLI::App& bench) {
  auto options = std::make_shared<ReadingOptions>();
  options->common.kv_type = "f32";
  BenchReadingOptions& b = options->bench;
  CLI::App* verb = bench.add_subcommand(
      "reading", "one layer reads a whole text: milliseconds, and how many times as fast as the first method");
  verb->add_option("--attention", options->attention, "methods to time in turn; others are compared with the first")
      ->capture_default_str();
  verb->add_option("--length", b.lengths, "tokens; several: 512,8192,32768")->delimiter(',')->capture_default_str();
  verb->add_flag("--prompt", options->prompt, "a decoder's prompt in steps (causal, RoPE, SwiGLU), not an encoder");
  verb->add_option("--step", b.step, "tokens of a prompt's step; an encoder reads a text at once")
      ->capture_default_str();
  verb->add_option("--heads", b.heads, "query heads")->capture_default_str();
  verb->add_option("--kv-heads", b.kv_heads, "key and value heads")->capture_default_str();
  verb->add_option("--head-dim", b.head_dim, "width of a head")->capture_default_str();
  verb->add_option("--ffn", b.ffn, "width of the feed forward part")->capture_default_str();
  verb->add_option("--weights", options->weights, "type of the matrices")
      ->check(CLI::IsMember({"f32", "f16", "bf16"}))
      ->capture_default_str();
  add_kv_type(*verb, options->common);
  verb->add_option("-r,--repetitions", b.repetitions, "runs; the median is shown")->capture_default_str();
  add_execution(*verb, options->common);
  verb->callback([options] { run(*options); });
}

}  // namespace lowkey::cli
