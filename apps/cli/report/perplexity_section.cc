// Perplexity of whole windows, against dense attention on the same windows.
#include <cmath>

#include "apps/cli/report/sections.h"

namespace lowkey::cli {
namespace {

// Of the same run, or null.
const PerplexityFacts* dense_of(const RunFacts& run) {
  for (const PerplexityFacts& p : run.perplexities)
    if (split_spec(p.spec).name == "dense") return &p;
  return nullptr;
}

Measured change(const RunFacts& run, const PerplexityFacts& p) {
  const PerplexityFacts* dense = dense_of(run);
  if (std::isfinite(p.increase.mean) || !dense) return p.increase;
  return {.mean = 100 * (p.perplexity / dense->perplexity - 1)};
}

}  // namespace

void add_perplexity(const Report& report, Page& page) {
  const auto all = entries(report, &RunFacts::perplexities, report.labels);
  if (all.empty()) return;
  page.section("Perplexity", "Perplexity",
               "How surprised the model is by a text it reads, e to the mean negative log-likelihood; lower is better. "
               "The change against dense attention is taken window by window, so that hard and easy windows cancel.");
  Chart chart{.title = "Change of perplexity against dense attention",
              .kind = Chart::Kind::kBars,
              .x = {},
              .y = {.title = "change of perplexity (%)", .ticks = {}}};
  Table table{.caption = "Perplexity, in numbers",
              .head = {{"method"},
                       {"perplexity"},
                       {"95 %", "interval of the perplexity over windows"},
                       {"change %", "against dense attention on the same windows"},
                       {"95 %", "interval of the change, window by window"},
                       {"window", "tokens"},
                       {"windows"},
                       {"seconds"}},
              .rows = {}};
  ChartSeries bars{.label = "change", .colour = 1, .points = {}};
  for (const auto& e : all) {
    const PerplexityFacts& p = e.facts;
    const bool dense = split_spec(p.spec).name == "dense";
    const Measured m = dense ? Measured{} : change(report.runs[e.run], p);
    if (!dense) bars.points.push_back({.x = 0, .y = m.mean, .low = m.low, .high = m.high, .note = e.label});
    table.rows.push_back({{e.label, p.spec},
                          {shown(p.perplexity, 4)},
                          {range_of(p.low, p.high, 3)},
                          {dense ? "0" : shown_sign(m.mean, 3)},
                          {range_of(m.low, m.high, 3)},
                          {shown_tokens(p.context)},
                          {shown(p.windows, 0)},
                          {shown(p.seconds, 1)}});
  }
  if (!bars.points.empty()) chart.series.push_back(std::move(bars));
  page.charts({chart});
  page.table(table);
}

}  // namespace lowkey::cli
