#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "apps/cli/report/html.h"
#include "apps/cli/report/json_reader.h"
#include "apps/cli/report/read_tune.h"
#include "apps/cli/report/run_facts.h"
#include "base/error.h"
#include "base/printable.h"

namespace lowkey::cli {
namespace {

using nlohmann::json;

std::string spec_of(const json& result) {
  const std::string spec = text(result, "attention");
  return spec.empty() ? text(result, "method") : spec;
}

// An object with a mean and an interval, or the mean alone.
Measured measured(const json& result, const std::string& key) {
  const json* value = member(result, key);
  if (!value) return {};
  if (!value->is_object()) return {.mean = as_number(*value, key)};
  const json* better = member(*value, "bootstrap");  // which needs no symmetry
  const json& range = better ? *better : *value;
  return {.mean = number(*value, "mean"), .low = number(range, "low"), .high = number(range, "high")};
}

// What a token costs dense attention in one KV head, bytes: a key and a value. NaN when the file does not say.
double row_bytes(const json& all) {
  double head_dim = number(all, "head_dim");
  if (const json* shape = member(all, "shape"); shape && shape->is_object()) head_dim = number(*shape, "head_dim");
  return 2 * head_dim * (text(all, "kv_type") == "f32" ? 4 : 2);
}

// [L][H] or, of spectra, [L][KH][D].
std::vector<double> as_numbers(const json& values, const std::string& key) {
  LK_REQUIRE(values.is_array(), kCorruptFile, "'{}' is not an array of arrays", printable(key));
  std::vector<double> all;
  for (const json& value : values) all.push_back(as_number(value, key));
  return all;
}

std::vector<double> recall_of_heads(const json& layer) {
  std::vector<double> recall;
  for (const json& head : array(layer, "heads")) recall.push_back(number(head, "recall"));
  return recall;
}

void read_layers(const json& observed, std::vector<LayerFacts>& layers) {
  for (const json& layer : array(observed, "layers"))
    layers.push_back({.recall = number(layer, "recall"),
                      .mass = number(layer, "mass"),
                      .error = number(layer, "output_error"),
                      .recall_of_heads = recall_of_heads(layer)});
}

QualityFacts read_quality(const json& result, double context, double row) {
  const json* nested = member(result, "observed");
  const json& observed = nested ? *nested : result;
  QualityFacts facts{.spec = spec_of(result),
                     .context = context,
                     .kl = measured(result, "kl"),
                     .increase = measured(result, "perplexity_increase_percent"),
                     .perplexity = number(result, "perplexity"),
                     .dense_perplexity = number(result, "dense_perplexity"),
                     .same_top = number(result, "same_top"),
                     .tokens_read = number(observed, "tokens_read"),
                     .share_read = number(observed, "share_read"),
                     .index_bytes = number(observed, "index_bytes_per_token"),
                     .recall = number(observed, "recall"),
                     .jaccard = number(observed, "jaccard"),
                     .mass = number(observed, "mass"),
                     .error = number(observed, "output_error"),
                     .seconds = number(result, "seconds_per_window")};
  facts.bytes_share = facts.share_read + facts.index_bytes / row;
  read_layers(observed, facts.layers);
  return facts;
}

PerplexityFacts read_perplexity(const json& result) {
  return {.spec = spec_of(result),
          .context = number(result, "context"),
          .windows = number(result, "windows"),
          .perplexity = number(result, "perplexity"),
          .low = number(result, "low"),
          .high = number(result, "high"),
          .increase = measured(result, "increase_percent"),
          .seconds = number(result, "seconds")};
}

void count(std::vector<NeedleCell>& cells, double context, double depth, bool found) {
  auto cell = std::find_if(cells.begin(), cells.end(),
                           [&](const NeedleCell& c) { return c.context == context && c.depth == depth; });
  if (cell == cells.end()) cell = cells.insert(cell, {.context = context, .depth = depth});
  ++cell->trials, cell->found += found ? 1 : 0;
}

NeedleFacts read_needle(const json& result, double context) {
  NeedleFacts facts{.spec = spec_of(result), .nll = number(result, "nll")};
  double seconds = 0;
  for (const json& question : array(result, "questions")) {
    const json* found = member(question, "found");
    LK_REQUIRE(found && found->is_boolean(), kCorruptFile, "'found' of a question is not true or false");
    const double own = number(question, "context");
    count(facts.cells, std::isfinite(own) ? own : context, number(question, "depth"), found->get<bool>());
    ++facts.trials, facts.found += found->get<bool>() ? 1 : 0;
    seconds += number(question, "seconds");
  }
  facts.seconds = facts.trials > 0 ? seconds / facts.trials : kMissing;
  std::sort(facts.cells.begin(), facts.cells.end(), [](const NeedleCell& a, const NeedleCell& b) {
    return std::pair(a.context, a.depth) < std::pair(b.context, b.depth);
  });
  return facts;
}

double mean_of(const std::vector<std::vector<double>>& layers) {
  double sum = 0, count = 0;
  for (const auto& heads : layers)
    for (const double value : heads) sum += value, count += 1;
  return count > 0 ? sum / count : kMissing;
}

std::vector<std::vector<double>> by_head(const json& layers, const std::string& key) {
  LK_REQUIRE(layers.is_array(), kCorruptFile, "'{}' is not an array", printable(key));
  std::vector<std::vector<double>> all;
  for (const json& layer : layers) all.push_back(as_numbers(layer, key));
  return all;
}

// Of each head what its first 1, 2, ... coordinates hold; the mean of all heads.
std::vector<double> cumulative(const json& spectrum) {
  std::vector<double> mean;
  double heads = 0;
  for (const json& layer : spectrum)
    for (const auto& values : by_head(layer, "spectrum")) {
      double total = 0, sum = 0;
      for (const double value : values) total += value;
      mean.resize(std::max(mean.size(), values.size()));
      for (size_t i = 0; i < values.size(); ++i) sum += values[i], mean[i] += sum / total;
      heads += 1;
    }
  for (double& value : mean) value /= heads;
  return mean;
}

// {"post": {"90%": [[ranks of a layer's heads], ...], "spectrum": [L][KH][D], "entropy": [L][KH]}}
void read_ranks(const json& rank, RunFacts& facts) {
  for (const auto& [basis, measures] : rank.items()) {
    if (!measures.is_object()) continue;
    for (const auto& [key, layers] : measures.items())
      if (!key.empty() && key.back() == '%')
        facts.ranks.push_back(
            {.basis = basis, .share = std::strtod(key.c_str(), nullptr) / 100, .ranks = by_head(layers, key)});
    if (measures.contains("spectrum"))
      facts.spectra.push_back({.basis = basis,
                               .cumulative = cumulative(array(measures, "spectrum")),
                               .entropy = mean_of(by_head(array(measures, "entropy"), "entropy")),
                               .effective = mean_of(by_head(array(measures, "effective_rank"), "effective_rank"))});
  }
}

double either(const json& result, const std::string& one, const std::string& other) {
  const double value = number(result, one);
  return std::isfinite(value) ? value : number(result, other);
}

SpeedFacts read_speed(const json& result, const std::string& bench, const std::string& spec) {
  const double depth = number(result, "depth");
  return {.bench = bench,
          .spec = spec,
          .tokens = std::isfinite(depth) ? depth : number(result, "context"),
          .microseconds = number(result, "microseconds"),
          .rank = number(result, "score_microseconds"),
          .choose = number(result, "select_microseconds"),
          .read = number(result, "attend_microseconds"),
          .append = number(result, "append_microseconds"),
          .bytes = number(result, bench == "attention" ? "bytes" : "attention_bytes_per_token"),
          .slowest = either(result, "slowest_microseconds", "slowest_tokens_per_second"),
          .fastest = either(result, "fastest_microseconds", "fastest_tokens_per_second"),
          .kv_bytes = number(result, "kv_bytes_per_token"),
          .cache_bytes = number(result, "cache_bytes")};
}

void read_speeds(const json& all, RunFacts& facts) {
  for (const json& result : array(all, "results")) {
    std::string bench = text(result, "bench");  // of results with several benches
    if (bench.empty()) bench = text(all, "bench");
    if (text(result, "phase") == "prefill") bench = "chunk";
    const std::string spec = spec_of(result);
    const json* rate = member(result, "tokens_per_second");
    if (rate && rate->is_object()) {  // of programs side by side
      for (const auto& [name, value] : rate->items()) {
        facts.speeds.push_back(read_speed(result, bench, name));
        facts.speeds.back().tokens_per_second = as_number(value, name);
      }
      continue;
    }
    facts.speeds.push_back(read_speed(result, bench, spec.empty() ? "dense" : spec));
    SpeedFacts& speed = facts.speeds.back();
    speed.tokens_per_second = number(result, "tokens_per_second");
    if (!std::isfinite(speed.bytes)) speed.bytes = number(result, "score_bytes") + number(result, "attend_bytes");
  }
}

void read_results(const json& all, RunFacts& facts) {
  if (member(all, "bench")) return read_speeds(all, facts);
  for (const json& result : array(all, "results")) {
    if (member(result, "bench")) return read_speeds(all, facts);
    if (member(result, "kl"))
      facts.quality.push_back(read_quality(result, number(all, "context"), row_bytes(all)));
    else if (member(result, "perplexity"))
      facts.perplexities.push_back(read_perplexity(result));
  }
}

std::string with_interval(const Measured& m) {
  if (!std::isfinite(m.low)) return shown_short(m.mean);
  return fmt::format("{} ({} \u2026 {})", shown_short(m.mean), shown_short(m.low), shown_short(m.high));
}

void read_other(const std::string& name, const json& task, RunFacts& facts) {
  OtherTask other{.name = name, .rows = {}};
  for (const json& result : array(task, "results")) {
    if (!result.is_object() || spec_of(result).empty()) return;
    std::vector<std::pair<std::string, std::string>> values;
    for (const auto& [key, value] : result.items())
      if (is_scalar(value) && key != "attention" && key != "method")
        values.emplace_back(key, scalar_text(value));
      else if (value.is_object() && value.contains("mean"))
        values.emplace_back(key, with_interval(measured(result, key)));
    other.rows.emplace_back(spec_of(result), std::move(values));
  }
  if (!other.rows.empty()) facts.others.push_back(std::move(other));
}

// Objects that are results, not how they were made.
const std::set<std::string> kMeasures{"checked", "uniform_checked"};

void read_settings(const json& all, RunFacts& facts) {
  for (const auto& [key, value] : all.items()) {
    if (is_scalar(value)) facts.settings.emplace_back(key, scalar_text(value));
    if (!value.is_object() || kMeasures.contains(key)) continue;
    for (const auto& [inner, setting] : value.items())
      if (is_scalar(setting)) facts.settings.emplace_back(key + " " + inner, scalar_text(setting));
  }
}

void read_all(const json& all, RunFacts& facts) {
  static const std::set<std::string> kKnown{"agreement", "needle", "rank", "results"};
  LK_REQUIRE(all.is_object(), kCorruptFile, "not an object, so not what lowkey eval, bench or tune writes");
  read_results(all, facts);
  const json& agreement = object_at(all, "agreement");
  for (const json& result : array(agreement, "results"))
    facts.quality.push_back(read_quality(result, number(agreement, "context"), row_bytes(all)));
  const json& needle = object_at(all, "needle");
  for (const json& result : array(needle, "results"))
    facts.needles.push_back(read_needle(result, number(needle, "context")));
  read_ranks(object_at(all, "rank"), facts);
  if (member(all, "uniform")) facts.tunes.push_back(read_tune(all));
  for (const auto& [key, value] : all.items())
    if (!kKnown.contains(key) && value.is_object()) read_other(key, value, facts);
  read_settings(all, facts);
  LK_REQUIRE(!facts.quality.empty() || !facts.perplexities.empty() || !facts.needles.empty() || !facts.ranks.empty() ||
                 !facts.spectra.empty() || !facts.speeds.empty() || !facts.tunes.empty() || !facts.others.empty(),
             kCorruptFile, "holds no results of lowkey eval, bench or tune");
}

}  // namespace

RunFacts run_facts(const std::string& name, const json& all) {
  RunFacts facts;
  facts.name = name;
  try {
    read_all(all, facts);
  } catch (const Error& error) {
    throw Error(ErrorKind::kCorruptFile, fmt::format("[report] {}: {}", printable(name), error.what()));
  }
  facts.json = all.dump(-1, ' ', false, json::error_handler_t::replace);
  return facts;
}

RunFacts read_run(const std::string& name, std::string_view text) {
  json all;
  try {
    all = parse_json(text);
  } catch (const Error& error) {
    throw Error(ErrorKind::kCorruptFile, fmt::format("[report] {}: {}", printable(name), error.what()));
  }
  return run_facts(name, all);
}

}  // namespace lowkey::cli
