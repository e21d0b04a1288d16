// lowkey bench: how fast. decode and prefill: a whole model; attention and reading: one layer
// (bench_attention.cc, bench_reading.cc).
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "apps/cli/methods.h"
#include "apps/cli/options.h"
#include "apps/cli/progress.h"
#include "apps/cli/signals.h"
#include "apps/cli/verbs.h"
#include "base/error.h"
#include "base/isa.h"
#include "lab/bench_model.h"
#include "lab/statistics.h"

namespace lowkey::cli {
namespace {

struct ModelBenchOptions {
  CommonOptions common;
  BenchModelOptions bench;
  std::vector<std::string> attention{"dense"};
  std::vector<int64_t> depths{0};
};

std::vector<OpenedMethod> open_methods(const Context& context, const Model& model, const ModelBenchOptions& o) {
  std::vector<int32_t> noise(1024);  // a prompt to fit from, where there is no calibration
  for (size_t i = 0; i < noise.size(); ++i)
    noise[i] = static_cast<int32_t>(i * 7919 % static_cast<size_t>(model.shape().vocabulary));
  std::vector<OpenedMethod> opened;
  for (const std::string& spec : o.attention)
    opened.push_back(
        open_method(context, model, o.bench.kv_type,
                    {.spec = spec, .calibration = o.common.calibration, .model = o.common.model, .prompt = noise}));
  return opened;
}

double tokens_per_second(const BenchModelResult& r, int64_t tokens) {
  return static_cast<double>(tokens) / spread(r.seconds).median;
}

nlohmann::json to_json(const BenchModelResult& r, const std::string& spec, const BenchModelOptions& o) {
  const Spread seconds = spread(r.seconds);
  const auto tokens = static_cast<double>(o.tokens);
  return {{"attention", spec},
          {"depth", o.depth},
          {"tokens", o.tokens},
          {"seconds", r.seconds},
          {"tokens_per_second", tokens / seconds.median},
          {"slowest_tokens_per_second", tokens / seconds.most},
          {"fastest_tokens_per_second", tokens / seconds.least},
          {"milliseconds_per_token", 1e3 * seconds.median / tokens},
          {"attention_bytes_per_token", static_cast<double>(r.attention_bytes) / tokens},
          {"kv_bytes_per_token", r.kv_bytes_per_token},
          {"cache_bytes", r.cache_bytes},
          {"probe_gigabytes_per_second", r.probe_bytes_per_second * 1e-9}};
}

void print_heading(const char* what, size_t width) {
  fmt::print(
      "{} of a model; slowest, fastest: tokens/s; times: of the first method's speed; read: by attention, a token; "
      "KV: kept of a token\n\n{:>7} {:<{}} {:>9} {:>9} {:>9} {:>6} {:>9} {:>8} {:>8} {:>9}\n",
      what, "depth", "attention", width, "tokens/s", "slowest", "fastest", "times", "ms/token", "read MB", "KV bytes",
      "cache MB");
}

void print_row(const nlohmann::json& r, size_t width, double first) {
  const double rate = r["tokens_per_second"].get<double>();
  fmt::print("{:>7} {:<{}} {:>9.2f} {:>9.2f} {:>9.2f} {:>6.2f} {:>9.2f} {:>8.2f} {:>8} {:>9.1f}\n",
             r["depth"].get<int64_t>(), r["attention"].get<std::string>(), width, rate,
             r["slowest_tokens_per_second"].get<double>(), r["fastest_tokens_per_second"].get<double>(), rate / first,
             r["milliseconds_per_token"].get<double>(), r["attention_bytes_per_token"].get<double>() * 1e-6,
             r["kv_bytes_per_token"].get<int64_t>(), static_cast<double>(r["cache_bytes"].get<int64_t>()) * 1e-6);
}

// Adds a result for each method.
void bench_depth(const Context& context, const Model& model, const std::vector<OpenedMethod>& opened,
                 const ModelBenchOptions& o, const char* what, DramProbe& probe, nlohmann::json& results) {
  std::vector<const Method*> methods;
  size_t width = 9;
  for (const OpenedMethod& one : opened) methods.push_back(one.method.get()), width = std::max(width, one.spec.size());
  Progress progress(fmt::format("{} at {}", what, o.bench.depth), "runs");
  const auto found = bench_model(context, model, methods, o.bench, probe, [&](int done, int total) {
    progress.update(done, total);
    LK_REQUIRE(!interrupted(), kInvalidArgument, "interrupted");
  });
  progress.clear();
  if (!o.common.json && results.empty()) print_heading(what, width);
  for (size_t m = 0; m < found.size(); ++m) {
    results.push_back(to_json(found[m], opened[m].spec, o.bench));
    if (!o.common.json) print_row(results.back(), width, tokens_per_second(found[0], o.bench.tokens));
  }
  if (!o.common.json)
    fmt::print("{:>7} memory: {:.1f} GB/s in sequence\n", o.bench.depth, found[0].probe_bytes_per_second * 1e-9);
}

void run_model_bench(ModelBenchOptions& o, const char* what) {
  const auto context = make_context(o.common);
  o.bench.kv_type = parse_kv_type(o.common.kv_type);
  const auto model = open_model(o.common);
  nlohmann::json results = nlohmann::json::array();
  DramProbe probe(*context);
  const std::vector<OpenedMethod> opened = open_methods(*context, *model, o);
  for (int64_t depth : o.depths) {
    o.bench.depth = depth;
    bench_depth(*context, *model, opened, o, what, probe, results);
  }
  const int64_t peak = peak_resident_bytes() - probe.bytes();
  if (!o.common.json) {
    fmt::print("peak memory {:.0f} MB, of which {:.0f} MB weights\n", static_cast<double>(peak) * 1e-6,
               static_cast<double>(model->weight_bytes()) * 1e-6);
    return;
  }
  const nlohmann::json all{{"bench", what},
                           {"model", o.common.model},
                           {"machine", machine_name()},
                           {"isa", name(active_isa())},
                           {"threads", context->threads.count()},
                           {"kv_type", o.common.kv_type},
                           {"weight_bytes", model->weight_bytes()},
                           {"peak_resident_bytes", peak},
                           {"results", std::move(results)}};
  fmt::print("{}\n", all.dump(2));
}

CLI::App* add_model_bench(CLI::App& bench, const char* what, const char* help,
                          std::shared_ptr<ModelBenchOptions> options) {
  CLI::App* verb = bench.add_subcommand(what, help);
  add_model(*verb, options->common);
  verb->add_option("-n,--tokens", options->bench.tokens, "tokens in one run")->capture_default_str();
  verb->add_option("--depth", options->depths, "tokens already cached, filled with noise; several: 0,4096,32768")
      ->delimiter(',')
      ->capture_default_str();
  verb->add_option("--attention", options->attention,
                   "method; may be given several times: they run in turn, each with a cache of its own")
      ->capture_default_str();
  add_calibration(*verb, options->common);
  add_kv_type(*verb, options->common);
  verb->add_option("-r,--repetitions", options->bench.repetitions, "runs; the median is shown")->capture_default_str();
  add_execution(*verb, options->common);
  verb->callback([options, what] { run_model_bench(*options, what); });
  return verb;
}

}  // namespace

void add_bench(CLI::App& app) {
  CLI::App* bench = app.add_subcommand("bench", "measure speed");
  bench->require_subcommand(1);
  add_bench_attention(*bench);
  add_bench_reading(*bench);
  add_model_bench(*bench, "decode", "tokens per second of a model, one at a time",
                  std::make_shared<ModelBenchOptions>());
  const auto prefill = std::make_shared<ModelBenchOptions>();
  prefill->bench.tokens = prefill->bench.chunk = 512;
  add_model_bench(*bench, "prefill", "tokens per second of a model reading a prompt", prefill)
      ->add_option("--chunk", prefill->bench.chunk, "prompt tokens a step")
      ->capture_default_str();
}

}  // namespace lowkey::cli
