// Speed by the length of the context, beside dense attention.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "apps/cli/report/sections.h"

namespace lowkey::cli {
namespace {

using SpeedEntries = std::vector<Entry<SpeedFacts>>;

struct Bench {
  const char* name;  // in the JSON
  const char* title;
  const char* axis;
};
constexpr Bench kBenches[] = {{"attention", "One layer, one token", "time of a step (\u00b5s)"},
                              {"chunk", "One layer, a chunk of a prompt", "time of a chunk (\u00b5s)"},
                              {"decode", "Decoding with the whole model", "speed (tokens/s)"},
                              {"prefill", "Reading a prompt", "speed (tokens/s)"}};

// The run's name is said where several runs have that bench.
SpeedEntries of_bench(const SpeedEntries& all, const std::string& bench) {
  SpeedEntries some;
  std::set<size_t> runs;
  for (const auto& e : all)
    if (e.facts.bench == bench) some.push_back(e), runs.insert(e.run);
  if (runs.size() < 2)
    for (auto& e : some) e.label = e.plain_label, e.family = e.plain_family, e.style = 0;
  return some;
}

std::set<double> lengths_of(const SpeedEntries& some) {
  std::set<double> lengths;
  for (const auto& e : some)
    if (std::isfinite(e.facts.tokens)) lengths.insert(e.facts.tokens);
  return lengths;
}

// The first method of the same run at that length: what the others are compared with.
double times_first(const SpeedEntries& some, const Entry<SpeedFacts>& e) {
  for (const auto& first : some)
    if (first.run == e.run && first.facts.tokens == e.facts.tokens)
      return std::isfinite(e.facts.microseconds) ? first.facts.microseconds / e.facts.microseconds
                                                 : e.facts.tokens_per_second / first.facts.tokens_per_second;
  return kMissing;
}

double measure_of(const SpeedFacts& s) { return std::isfinite(s.microseconds) ? s.microseconds : s.tokens_per_second; }

// Lines over the length, or bars where there is one length only.
Chart chart_of(const SpeedEntries& some, const Bench& bench, Page& page) {
  const std::set<double> lengths = lengths_of(some);
  const bool lines = lengths.size() > 1;
  const bool powers = lines && *lengths.begin() > 0;
  Chart chart{.title = bench.title,
              .kind = lines ? Chart::Kind::kLines : Chart::Kind::kBars,
              .x = {.title = "cached tokens", .logarithmic = powers, .ticks = {}},
              .y = {.title = bench.axis, .logarithmic = powers, .ticks = {}}};
  if (lines)
    for (const double length : lengths) chart.x.ticks.emplace_back(length, shown_tokens(length));
  if (!lines && !lengths.empty()) chart.title += fmt::format(", {} cached tokens", shown_tokens(*lengths.begin()));
  for (const auto& e : some) {
    ChartSeries& series =
        lines ? series_of(chart, e.label, page.colour(e.plain_label), e.style) : series_of(chart, "speed", 1, 0);
    const double x = lines ? e.facts.tokens : 0;
    series.points.push_back({.x = x, .y = measure_of(e.facts), .note = e.label});
  }
  return chart;
}

// Where the time of a step goes, at the longest context.
Chart parts_of(const SpeedEntries& some) {
  struct Part {
    const char* name;
    double SpeedFacts::* value;
  };
  constexpr Part kParts[] = {{"rank", &SpeedFacts::rank},
                             {"choose", &SpeedFacts::choose},
                             {"read", &SpeedFacts::read},
                             {"append", &SpeedFacts::append}};
  const std::set<double> lengths = lengths_of(some);
  const double longest = lengths.empty() ? 0 : *lengths.rbegin();
  Chart chart{.title = fmt::format("Where the time goes behind {} tokens", shown_tokens(longest)),
              .kind = Chart::Kind::kStack,
              .x = {},
              .y = {.title = "time of a step (\u00b5s)", .ticks = {}}};
  int colour = 0;
  for (const Part& part : kParts) {
    ChartSeries series{.label = part.name, .colour = ++colour, .points = {}};
    for (const auto& e : some)
      if (e.facts.tokens == longest && std::isfinite(e.facts.rank))
        series.points.push_back({.x = 0, .y = e.facts.*part.value, .note = e.label});
    chart.series.push_back(std::move(series));
  }
  return chart;
}

Table table_of(const SpeedEntries& some, const Bench& bench) {
  const bool layer = std::isfinite(some.front().facts.microseconds);
  Table table{.caption = std::string(bench.title) + ", in numbers",
              .head = {{"method"},
                       {"cached", "tokens"},
                       {layer ? "\u00b5s" : "tokens/s"},
                       {"times", "as fast as the first method of its run at that length"},
                       {"spread", "the least and the most of several runs"}},
              .rows = {}};
  if (layer)
    for (const char* part : {"rank \u00b5s", "choose \u00b5s", "read \u00b5s", "append \u00b5s"})
      table.head.push_back({part});
  table.head.push_back({"MB read", "a step"});
  table.head.push_back({"KV bytes", layer ? "kept of a token in one layer: keys, values, index"
                                          : "kept of a token over all layers: keys, values, index"});
  if (!layer) table.head.push_back({"cache MB", "of all cached tokens"});
  for (const auto& e : some) {
    const SpeedFacts& s = e.facts;
    std::vector<Cell> row{{e.label, s.spec},
                          {shown_tokens(s.tokens)},
                          {shown(measure_of(s), 1)},
                          {shown(times_first(some, e), 2)},
                          {range_of(std::min(s.slowest, s.fastest), std::max(s.slowest, s.fastest), 1)}};
    if (layer)
      for (const double part : {s.rank, s.choose, s.read, s.append}) row.push_back({shown(part, 1)});
    row.push_back({shown(s.bytes * 1e-6, 2)});
    row.push_back({shown(s.kv_bytes, 0)});
    if (!layer) row.push_back({shown(s.cache_bytes * 1e-6, 1)});
    table.rows.push_back(std::move(row));
  }
  return table;
}

}  // namespace

void add_speed(const Report& report, Page& page) {
  const SpeedEntries all = entries(report, &RunFacts::speeds, report.speed_labels);
  if (all.empty()) return;
  page.section("Speed", "Speed by context length",
               "A step of decoding reads the cache, so its time grows with the context: in proportion for dense "
               "attention, far more slowly for a method that reads little of it. Times are medians of several runs.");
  if (!report.speed_labels.common().empty()) page.note("All with " + report.speed_labels.common() + ".");
  for (const Bench& bench : kBenches) {
    const SpeedEntries some = of_bench(all, bench.name);
    if (some.empty()) continue;
    page.charts({chart_of(some, bench, page), parts_of(some)});
    page.table(table_of(some, bench), true);
  }
}

}  // namespace lowkey::cli
