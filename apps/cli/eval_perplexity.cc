// lowkey eval --task perplexity: how surprised a model is by a text, with each method.
#include <fmt/format.h>

#include <cmath>

#include "apps/cli/eval.h"
#include "apps/cli/eval_units.h"
#include "apps/cli/progress.h"
#include "apps/cli/signals.h"

namespace lowkey::cli {
namespace {

double percent(double nats) { return std::isfinite(nats) ? 100 * std::expm1(nats) : nats; }

// exp of the mean, as it is of windows with these weights.
Interval interval_of(const PerplexityResult& r) {
  const std::vector<double> weights(r.window_tokens.begin(), r.window_tokens.end());
  const Interval nats = bootstrap(r.window_nll, weights);
  return {.low = std::exp(nats.low), .high = std::exp(nats.high)};
}

// Of perplexity, percent, over the first method's on the windows that both have read.
nlohmann::json increase_of(const PerplexityResult& r, const PerplexityResult& dense) {
  const size_t both = std::min(r.window_nll.size(), dense.window_nll.size());
  const std::vector<double> weights(r.window_tokens.begin(), r.window_tokens.begin() + static_cast<int64_t>(both));
  std::vector<double> difference;
  double sum = 0, tokens = 0;
  for (size_t i = 0; i < both; ++i) {
    difference.push_back(r.window_nll[i] - dense.window_nll[i]);
    sum += difference[i] * weights[i], tokens += weights[i];
  }
  const Interval nats = bootstrap(difference, weights);
  nlohmann::json json = interval_json(Interval{.low = percent(nats.low), .high = percent(nats.high)});
  json["mean"] = percent(sum / tokens);
  return json;
}

nlohmann::json to_json(const PerplexityResult& r, const PerplexityResult& dense) {
  nlohmann::json json = interval_json(interval_of(r));
  json["perplexity"] = r.perplexity;
  json["increase_percent"] = increase_of(r, dense);
  json["windows"] = r.window_nll.size();
  json["scored_tokens"] = r.scored_tokens;
  json["window_nll"] = r.window_nll;
  json["seconds"] = r.seconds;
  return json;
}

void print_row(const std::string& spec, size_t width, const nlohmann::json& r, const PerplexityOptions& options) {
  const nlohmann::json& increase = r["increase_percent"];
  const bool one = increase["low"].is_null();  // window: nothing is known of the spread
  const auto interval = [&](const nlohmann::json& of, const char* format) {
    return one ? std::string("-")
               : fmt::format(fmt::runtime(format), of["low"].get<double>(), of["high"].get<double>());
  };
  fmt::print("{:<{}} perplexity {:.4f} {}  {:+.3f} % {}  ({} windows of {}, {:.1f} s)\n", spec, width,
             r["perplexity"].get<double>(), interval(r, "[{:.3f},{:.3f}]"), increase["mean"].get<double>(),
             interval(increase, "[{:+.3f},{:+.3f}]"), r["windows"].get<int>(), options.context,
             r["seconds"].get<double>());
}

}  // namespace

nlohmann::json eval_perplexity(const Evaluation& e) {
  const EvalOptions& o = e.options;
  PerplexityOptions options{.context = e.length(2048), .stride = o.stride, .chunk = o.chunk, .kv_type = e.kv_type()};
  options.windows = e.windows(options.context);
  const Protocol protocol = parse_protocol(o.protocol);
  Progress progress("perplexity", "tokens");
  nlohmann::json results = nlohmann::json::array();
  PerplexityResult dense;
  for (size_t m = 0; m < o.attention.size() && !interrupted(); ++m) {
    progress.retitle(o.attention[m]);
    std::unique_ptr<Method> of_block;  // whose budgets are parts of a window
    if (protocol == Protocol::kBlock)
      of_block = make_method(judged_spec(parse_attention_spec(o.attention[m]), protocol, options.context), e.inputs);
    const PerplexityResult r = perplexity(
        e.context, e.model, of_block ? *of_block : *e.methods[m].method, e.stream, options,
        [&](int64_t done, int64_t total) {
          progress.update(static_cast<int64_t>(m) * total + done, static_cast<int64_t>(o.attention.size()) * total);
          return !interrupted();
        },
        e.units<WindowScore>("perplexity", m));
    progress.clear();
    if (r.window_nll.empty()) break;  // interrupted
    if (m == 0) dense = r;
    nlohmann::json result = to_json(r, dense);
    result["attention"] = o.attention[m], result["context"] = options.context;
    result["stride"] = options.stride == 0 ? options.context : options.stride, result["protocol"] = o.protocol;
    if (!o.common.json) print_row(o.attention[m], e.name_width(), result, options);
    results.push_back(std::move(result));
  }
  return results;
}

}  // namespace lowkey::cli
