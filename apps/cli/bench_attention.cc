// lowkey bench attention: the attention of one layer against what memory gives in the same run.
#include "lab/bench_attention.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "apps/cli/options.h"
#include "apps/cli/verbs.h"
#include "base/isa.h"
#include "lab/bench_selection.h"

namespace lowkey::cli {
namespace {

struct AttentionBenchOptions {
  CommonOptions common;
  BenchAttentionOptions bench;
  std::vector<std::string> attention;
  bool prefill = false;
};

nlohmann::json to_json(const BenchAttentionResult& r, const char* phase) {
  return {{"phase", phase},
          {"context", r.context},
          {"microseconds", r.seconds * 1e6},
          {"fastest_microseconds", r.fastest * 1e6},
          {"slowest_microseconds", r.slowest * 1e6},
          {"bytes", r.bytes},
          {"gigabytes_per_second", r.bytes_per_second() * 1e-9},
          {"probe_gigabytes_per_second", r.probe_bytes_per_second * 1e-9},
          {"share_of_probe", r.share_of_probe()},
          {"gigaflops_per_second", r.flops_per_second() * 1e-9}};
}

void print_row(const BenchAttentionResult& r, bool prefill) {
  if (prefill)
    fmt::print("prefill  {:>7} tokens  {:>10.1f} us a chunk (fastest {:.1f}, slowest {:.1f})  {:>6.1f} GFLOP/s\n",
               r.context, r.seconds * 1e6, r.fastest * 1e6, r.slowest * 1e6, r.flops_per_second() * 1e-9);
  else
    fmt::print(
        "decode   {:>7} tokens  {:>10.1f} us (fastest {:.1f}, slowest {:.1f})  {:>5.1f} GB/s, {:.0f} % of the probe's "
        "{:.1f}\n",
        r.context, r.seconds * 1e6, r.fastest * 1e6, r.slowest * 1e6, r.bytes_per_second() * 1e-9,
        r.share_of_probe() * 100, r.probe_bytes_per_second * 1e-9);
}

nlohmann::json to_json(const BenchSelectionResult& r) {
  const auto gigabytes = [](int64_t bytes, double seconds) {
    return seconds > 0 ? static_cast<double>(bytes) / seconds * 1e-9 : 0.;
  };
  return {{"attention", r.name},
          {"context", r.context},
          {"microseconds", r.seconds * 1e6},
          {"fastest_microseconds", r.fastest * 1e6},
          {"slowest_microseconds", r.slowest * 1e6},
          {"score_microseconds", r.score_seconds * 1e6},
          {"select_microseconds", r.select_seconds * 1e6},
          {"attend_microseconds", r.attend_seconds * 1e6},
          {"append_microseconds", r.append_seconds * 1e6},
          {"score_bytes", r.score_bytes},
          {"attend_bytes", r.attend_bytes},
          {"kv_bytes_per_token", r.kv_bytes_per_token},
          {"score_gigabytes_per_second", gigabytes(r.score_bytes, r.score_seconds)},
          {"attend_gigabytes_per_second", gigabytes(r.attend_bytes, r.attend_seconds)},
          {"probe_gigabytes_per_second", r.probe_bytes_per_second * 1e-9},
          {"row_probe_gigabytes_per_second", r.row_probe_bytes_per_second * 1e-9}};
}

void print_heading() {
  fmt::print(
      "times: of the first method's speed; KV: bytes kept of a token\n\n{:>7} {:<28} {:>8} {:>8} {:>8} {:>6} {:>8} "
      "{:>9} "
      "{:>8} {:>7} {:>6} {:>7} {:>6} {:>6}\n",
      "tokens", "attention", "us", "fastest", "slowest", "times", "rank us", "choose us", "read us", "rank MB", "GB/s",
      "read MB", "GB/s", "KV");
}

void print_row(const BenchSelectionResult& r, const nlohmann::json& json, double first) {
  fmt::print(
      "{:>7} {:<28} {:>8.1f} {:>8.1f} {:>8.1f} {:>6.2f} {:>8.1f} {:>9.1f} {:>8.1f} {:>7.1f} {:>6.1f} {:>7.1f} {:>6.1f} "
      "{:>6}\n",
      r.context, r.name, r.seconds * 1e6, r.fastest * 1e6, r.slowest * 1e6, first / r.seconds, r.score_seconds * 1e6,
      r.select_seconds * 1e6, r.attend_seconds * 1e6, static_cast<double>(r.score_bytes) * 1e-6,
      json["score_gigabytes_per_second"].get<double>(), static_cast<double>(r.attend_bytes) * 1e-6,
      json["attend_gigabytes_per_second"].get<double>(), r.kv_bytes_per_token);
}

// Methods side by side; the first of them is what the others are compared with.
void run_methods(const AttentionBenchOptions& o, const Context& context, nlohmann::json& all) {
  const AttentionShape shape{1, o.bench.heads, o.bench.kv_heads, o.bench.head_dim, o.bench.heads * o.bench.head_dim};
  const auto calibration = std::make_shared<Calibration>(synthetic_calibration(context, shape));
  std::vector<std::unique_ptr<Method>> methods;
  std::vector<BenchedMethod> benched;
  for (const std::string& spec : o.attention) {
    methods.push_back(make_method(parse_attention_spec(spec), {.shape = shape, .calibration = calibration}));
    benched.push_back({spec, methods.back().get()});
  }
  if (!o.common.json) print_heading();
  double first = 0;
  for (const BenchSelectionResult& r : bench_selection(context, o.bench, benched)) {
    all["results"].push_back(to_json(r));
    if (o.common.json) continue;
    if (r.name == o.attention.front()) first = r.seconds;
    print_row(r, all["results"].back(), first);
    if (r.name == o.attention.back())
      fmt::print("{:>7} memory: {:.1f} GB/s in sequence, {:.1f} GB/s of rows that lie apart as chosen ones do\n",
                 r.context, r.probe_bytes_per_second * 1e-9, r.row_probe_bytes_per_second * 1e-9);
  }
}

void run(AttentionBenchOptions& o) {
  const auto context = make_context(o.common);
  o.bench.kv_type = parse_kv_type(o.common.kv_type);
  nlohmann::json all{{"bench", "attention"},
                     {"heads", o.bench.heads},
                     {"kv_heads", o.bench.kv_heads},
                     {"head_dim", o.bench.head_dim},
                     {"kv_type", o.common.kv_type},
                     {"machine", machine_name()},
                     {"isa", name(active_isa())},
                     {"threads", context->threads.count()},
                     {"results", nlohmann::json::array()}};
  if (!o.attention.empty()) {
    run_methods(o, *context, all);
    if (o.common.json) fmt::print("{}\n", all.dump(2));
    return;
  }
  const auto results =
      o.prefill ? bench_attention_prefill(*context, o.bench) : bench_attention_decode(*context, o.bench);
  for (const BenchAttentionResult& r : results) {
    all["results"].push_back(to_json(r, o.prefill ? "prefill" : "decode"));
    if (!o.common.json) print_row(r, o.prefill);
  }
  if (o.common.json) fmt::print("{}\n", all.dump(2));
}

}  // namespace

void add_bench_attention(CLI::App& bench) {
  auto options = std::make_shared<AttentionBenchOptions>();
  BenchAttentionOptions& b = options->bench;
  CLI::App* verb = bench.add_subcommand("attention", "one layer's attention, beside a probe of memory speed");
  verb->add_option("--heads", b.heads, "query heads")->capture_default_str();
  verb->add_option("--kv-heads", b.kv_heads, "key and value heads")->capture_default_str();
  verb->add_option("--head-dim", b.head_dim, "width of a head")->capture_default_str();
  verb->add_option("--context", b.contexts, "cached tokens; several: 4096,32768")
      ->delimiter(',')
      ->capture_default_str();
  add_kv_type(*verb, options->common);
  verb->add_option("-r,--repetitions", b.repetitions, "runs; the median is shown")->capture_default_str();
  verb->add_option("--attention", options->attention,
                   "decoding methods to time side by side, each with its ranking, choosing and reading apart");
  verb->add_flag("--prefill", options->prefill, "a chunk of a prompt instead of one token");
  verb->add_option("--chunk", b.prompt_chunk, "tokens of that chunk")->capture_default_str();
  add_execution(*verb, options->common);
  verb->callback([options] { run(*options); });
}

}  // namespace lowkey::cli
