// What `lowkey tune` found: one setting for all layers beside one for each, and where in the model a setting hurts.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "apps/cli/report/sections.h"

namespace lowkey::cli {
namespace {

bool timed(const TuneFacts& tune) { return !tune.uniform.empty() && std::isfinite(tune.uniform[0].seconds); }

double cost(const TuneFacts& tune, const TuneRow& row) { return tune.for_time ? row.seconds : row.bytes; }
double share(const TuneFacts& tune, const TuneRow& row) { return cost(tune, row) / cost(tune, tune.uniform[0]); }

// One setting for all as a line for each index, profiles as one more.
Chart chart_of(const TuneFacts& tune, const Report& report, Page& page) {
  Chart chart{.title = "One setting for all layers, or one for each",
              .x = {.title = tune.for_time ? "time of a step's attention (% of dense attention's)"
                                           : "bytes read (% of dense attention's)",
                    .logarithmic = true,
                    .ticks = {}},
              .y = {.title = "KL from dense attention (nats a token)", .logarithmic = true, .ticks = {}}};
  const auto point = [&](const TuneRow& row, const std::string& note) {
    return ChartPoint{.x = 100 * share(tune, row), .y = row.kl, .note = note};
  };
  for (const TuneRow& row : tune.uniform) {
    const std::string family = report.labels.family(row.setting);
    series_of(chart, family, page.colour(family), 0).points.push_back(point(row, report.labels.label(row.setting)));
  }
  for (const TuneRow& row : tune.profiles)
    series_of(chart, "a setting for each layer", page.colour("a setting for each layer"), 0)
        .points.push_back(point(row, row.setting + (row.taken ? ", taken" : "")));
  return chart;
}

Table table_of(const TuneFacts& tune, const Report& report) {
  Table table{.caption = "Every setting that was tried, in numbers",
              .head = {{"setting"}, {"in"}, {"MB", "read by a step in all layers"}, {"MB %", "of dense attention's"}},
              .rows = {}};
  if (timed(tune)) {
    table.head.push_back({"\u00b5s", "of a step's attention in all layers"});
    table.head.push_back({"\u00b5s %", "of dense attention's"});
  }
  for (const Cell& cell : {Cell{"KL", "from dense attention, nats a token"}, Cell{"perplexity %", "change"},
                           Cell{"95 %", "interval of the change over windows"}})
    table.head.push_back(cell);
  const auto add = [&](const TuneRow& row, const std::string& where) {
    std::vector<Cell> cells{{report.labels.label(row.setting) + (row.taken ? " (taken)" : ""), row.setting},
                            {where},
                            {shown(row.bytes * 1e-6, 2)},
                            {shown(100 * row.bytes / tune.uniform[0].bytes, 1)}};
    if (timed(tune)) {
      cells.push_back({shown(row.seconds * 1e6, 1)});
      cells.push_back({shown(100 * row.seconds / tune.uniform[0].seconds, 1)});
    }
    cells.push_back({shown(row.kl, 5)});
    cells.push_back({shown_sign(row.increase.mean, 2)});
    cells.push_back({range_of(row.increase.low, row.increase.high, 2)});
    table.rows.push_back(std::move(cells));
  };
  for (const TuneRow& row : tune.uniform) add(row, "every layer");
  for (const TuneRow& row : tune.profiles) add(row, "each its own");
  for (const TuneRow& row : tune.checked) add(row, "unseen windows");
  return table;
}

// A row a candidate, a column a layer: what it loses there alone, by its logarithm, since losses span decades.
Table sensitivity(const TuneFacts& tune, const Report& report) {
  Table map{.caption = "Loss of a layer alone: KL in thousandths of a nat, all others dense",
            .head = {{"setting"}},
            .rows = {},
            .heat_map = true};
  double most = 0;
  for (const auto& layer : tune.sensitivity)
    for (const double kl : layer) most = std::max(most, kl);
  const auto heat = [&](double kl) { return std::clamp(1 + std::log10(std::max(kl, 1e-12) / most) / 3, 0., 1.); };
  for (size_t l = 0; l < tune.sensitivity.size(); ++l)
    map.head.push_back({std::to_string(l), fmt::format("layer {}", l)});
  for (size_t c = 1; c < tune.candidates(); ++c) {  // 0 is dense
    const std::string label = report.labels.label(tune.uniform[c].setting);
    std::vector<Cell> row{{label, tune.uniform[c].setting}};
    for (size_t l = 0; l < tune.sensitivity.size(); ++l) {
      const double kl = tune.sensitivity[l][c];
      const bool taken = l < tune.layers.size() && tune.layers[l] == tune.uniform[c].setting;
      row.push_back({.text = shown(1e3 * kl, 2),
                     .hint = fmt::format("layer {}, {}: KL {}{}", l, label, shown(kl, 6), taken ? ", taken" : ""),
                     .heat = most > 0 ? heat(kl) : -1,
                     .framed = taken});
    }
    map.rows.push_back(std::move(row));
  }
  return map;
}

Table layers_of(const TuneFacts& tune) {
  Table table{.caption = "What each layer has now", .head = {{"layer"}, {"setting"}}, .rows = {}, .words = true};
  for (size_t l = 0; l < tune.layers.size(); ++l) table.rows.push_back({{std::to_string(l)}, {tune.layers[l]}});
  return table;
}

std::string summary(const TuneFacts& tune) {
  if (tune.checked.size() < 2) return "";
  const TuneRow &profile = tune.checked[0], &uniform = tune.checked[1];
  return fmt::format(
      "On windows that had no part in the search: the profile {} {} % of what dense attention does, with perplexity {} "
      "% ({} allowed); the best setting for all layers {} {} %, with {} %.",
      tune.for_time ? "takes" : "reads", shown_short(100 * share(tune, profile)), shown_sign(profile.increase.mean, 2),
      fmt::format("{:.3g} %", 100 * tune.max_loss), tune.for_time ? "takes" : "reads",
      shown_short(100 * share(tune, uniform)), shown_sign(uniform.increase.mean, 2));
}

}  // namespace

void add_tunes(const Report& report, Page& page) {
  const auto has = [](const RunFacts& run) { return !run.tunes.empty(); };
  const auto with = std::count_if(report.runs.begin(), report.runs.end(), has);
  if (with == 0) return;
  page.section("Profile", "A setting for each layer",
               "What lowkey tune tried: one setting for all layers, and settings of each layer's own. Down and to the "
               "left is better. The map shows where a setting hurts: layers of strong colour must read more.");
  for (const RunFacts& run : report.runs)
    for (const TuneFacts& tune : run.tunes) {
      if (with > 1) page.note(run.name);
      page.note(summary(tune));
      page.charts({chart_of(tune, report, page)});
      page.maps({sensitivity(tune, report)}, scale_legend("1/1000", "the worst; framed: taken"));
      page.table(layers_of(tune), true);
      page.table(table_of(tune, report), true);
    }
}

}  // namespace lowkey::cli
