// lowkey bench: how fast. decode and prefill: a whole model; attention: one layer (bench_attention.cc).
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

namespace lowkey::cli {
namespace {

using Measure = BenchModelResult (*)(const Context&, const Model&, const Method&, int64_t depth, int64_t count,
                                     const BenchModelOptions&, const BenchProgress&);

struct ModelBenchOptions {
  CommonOptions common;
  BenchModelOptions bench;
  std::vector<std::string> attention{"dense"};
  std::vector<int64_t> depths{0};
  int64_t count = 0;
};

nlohmann::json to_json(const BenchModelResult& r, const std::string& spec) {
  return {{"attention", spec},
          {"depth", r.depth},
          {"tokens", r.tokens},
          {"seconds", r.seconds},
          {"tokens_per_second", r.tokens_per_second()},
          {"milliseconds_per_token", 1e3 / r.tokens_per_second()},
          {"attention_bytes_per_token", static_cast<double>(r.attention_bytes) / static_cast<double>(r.tokens)}};
}

void run_model_bench(ModelBenchOptions& o, const char* what, Measure measure) {
  const auto context = make_context(o.common);
  o.bench.kv_type = parse_kv_type(o.common.kv_type);
  const auto model = open_model(o.common.model);
  nlohmann::json all{{"bench", what},
                     {"model", o.common.model},
                     {"isa", name(active_isa())},
                     {"threads", context->threads.count()},
                     {"kv_type", o.common.kv_type},
                     {"results", nlohmann::json::array()}};
  std::vector<int32_t> noise(1024);  // a prompt to fit from, where there is no calibration
  for (size_t i = 0; i < noise.size(); ++i)
    noise[i] = static_cast<int32_t>(i * 7919 % static_cast<size_t>(model->shape().vocabulary));
  for (int64_t depth : o.depths) {
    for (const std::string& spec : o.attention) {
      const OpenedMethod opened =
          open_method(*context, *model, o.bench.kv_type,
                      {.spec = spec, .calibration = o.common.calibration, .model = o.common.model, .prompt = noise});
      Progress progress(fmt::format("{} {} at {}", what, spec, depth), "runs");
      const BenchModelResult r =
          measure(*context, *model, *opened.method, depth, o.count, o.bench, [&](int done, int total) {
            progress.update(done, total);
            LK_REQUIRE(!interrupted(), kInvalidArgument, "interrupted");
          });
      progress.clear();
      all["results"].push_back(to_json(r, opened.spec));
      if (!o.common.json)
        fmt::print("{:<8} {:<20} depth {:>7}  {:>9.2f} tokens/s  {:>8.2f} ms/token\n", what, spec, depth,
                   r.tokens_per_second(), 1e3 / r.tokens_per_second());
    }
  }
  all["peak_resident_bytes"] = peak_resident_bytes();
  if (o.common.json) fmt::print("{}\n", all.dump(2));
}

void add_model_bench(CLI::App& bench, const char* what, const char* help, int64_t count, Measure measure) {
  auto options = std::make_shared<ModelBenchOptions>();
  options->count = count;
  CLI::App* verb = bench.add_subcommand(what, help);
  add_model(*verb, options->common);
  verb->add_option("-n,--tokens", options->count, "tokens in one run")->capture_default_str();
  verb->add_option("--depth", options->depths, "tokens already cached, filled with noise; several: 0,4096,32768")
      ->delimiter(',')
      ->capture_default_str();
  verb->add_option("--attention", options->attention, "method; may be given several times")->capture_default_str();
  add_calibration(*verb, options->common);
  verb->add_option("--kv-type", options->common.kv_type, "f16, bf16 or f32")->capture_default_str();
  verb->add_option("-r,--repetitions", options->bench.repetitions, "runs; the median is shown")->capture_default_str();
  verb->add_option("--chunk", options->bench.chunk, "prompt tokens a step")->capture_default_str();
  add_execution(*verb, options->common);
  verb->callback([options, what, measure] { run_model_bench(*options, what, measure); });
}

}  // namespace

void add_bench(CLI::App& app) {
  CLI::App* bench = app.add_subcommand("bench", "measure speed");
  bench->require_subcommand(1);
  add_bench_attention(*bench);
  add_model_bench(*bench, "decode", "tokens per second of a model, one at a time", 16, bench_decode);
  add_model_bench(*bench, "prefill", "tokens per second of a model reading a prompt", 512, bench_prefill);
}

}  // namespace lowkey::cli
