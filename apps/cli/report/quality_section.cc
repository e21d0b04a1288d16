// What a method loses against dense attention, beside what it reads.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "apps/cli/report/sections.h"

namespace lowkey::cli {

ChartSeries& series_of(Chart& chart, const std::string& label, int colour, int run) {
  for (ChartSeries& series : chart.series)
    if (series.label == label) return series;
  return chart.series.emplace_back(ChartSeries{.label = label, .colour = colour, .run = run, .points = {}});
}

namespace {

using QualityEntries = std::vector<Entry<QualityFacts>>;

constexpr const char* kKl = "KL from dense attention (nats a token)";

// The same axis for all points: bytes where every result says them, else tokens.
struct Cost {
  bool bytes;

  explicit Cost(const QualityEntries& all)
      : bytes(std::all_of(all.begin(), all.end(), [](const auto& e) { return std::isfinite(e.facts.bytes_share); })) {}
  double percent(const QualityFacts& q) const { return 100 * (bytes ? q.bytes_share : q.share_read); }
  const char* words() const {
    return bytes ? "bytes read (% of dense attention's)" : "tokens read (% of those cached)";
  }
};

ChartPoint point(double x, const QualityFacts& q, const std::string& label) {
  return {.x = x, .y = q.kl.mean, .low = q.kl.low, .high = q.kl.high, .note = label};
}

// Those that no other beats in both.
std::vector<ChartPoint> front_of(const Chart& chart) {
  std::vector<ChartPoint> all, front;
  for (const ChartSeries& series : chart.series)
    for (const ChartPoint& p : series.points)
      if (p.x > 0 && p.y > 0) all.push_back(p);
  std::sort(all.begin(), all.end(),
            [](const auto& a, const auto& b) { return std::pair(a.x, a.y) < std::pair(b.x, b.y); });
  for (const ChartPoint& p : all)
    if (front.empty() || p.y < front.back().y) front.push_back(p);
  return front.size() > 1 ? front : std::vector<ChartPoint>{};
}

Chart pareto(const QualityEntries& all, Page& page) {
  const Cost cost(all);
  Chart chart{.title = "What is lost, by what is read",
              .x = {.title = cost.words(), .logarithmic = true, .ticks = {}},
              .y = {.title = kKl, .logarithmic = true, .ticks = {}}};
  for (const auto& e : all)
    series_of(chart, e.family, page.colour(e.plain_family), e.style)
        .points.push_back(point(cost.percent(e.facts), e.facts, e.label));
  chart.front = front_of(chart);
  return chart;
}

// Lines of a single point say nothing.
Chart with_lines(Chart chart) {
  std::erase_if(chart.series, [](const ChartSeries& series) {
    std::set<double> places;
    for (const ChartPoint& p : series.points) places.insert(p.x);
    return places.size() < 2;
  });
  return chart;
}

Chart by_k(const QualityEntries& all, Page& page) {
  Chart chart{.title = "By k, the share of tokens that is chosen",
              .x = {.title = "k (share of cached tokens)", .logarithmic = true, .ticks = {}},
              .y = {.title = kKl, .logarithmic = true, .ticks = {}}};
  for (const auto& e : all) {
    const double k = share_of_k(e.facts.spec, e.facts.context);
    if (!std::isfinite(k)) continue;
    series_of(chart, e.family, page.colour(e.plain_family), e.style).points.push_back(point(k, e.facts, e.label));
    const std::pair tick(k, text_of_k(e.facts.spec));
    if (std::find(chart.x.ticks.begin(), chart.x.ticks.end(), tick) == chart.x.ticks.end())
      chart.x.ticks.push_back(tick);
  }
  return with_lines(std::move(chart));
}

Chart by_index(const QualityEntries& all, const SpecLabels& labels) {
  Chart chart{.title = "By the size of the index, or d",
              .x = {.title = "index (bytes a token and KV head)", .logarithmic = true, .ticks = {}},
              .y = {.title = kKl, .logarithmic = true, .ticks = {}}};
  for (const auto& e : all) {
    if (!(e.facts.index_bytes > 0)) continue;
    const std::string run = e.label.substr(e.plain_label.size());
    series_of(chart, labels.by_index(e.facts.spec) + run, 0, e.style)
        .points.push_back(point(e.facts.index_bytes, e.facts, e.label));
  }
  chart = with_lines(std::move(chart));
  for (size_t i = 0; i < chart.series.size(); ++i) chart.series[i].colour = static_cast<int>(i) + 1;
  return chart;
}

Cell interval(const Measured& m, int digits) {
  const std::string hint =
      std::isfinite(m.low) ? fmt::format("95 % interval {} to {}", shown(m.low, digits), shown(m.high, digits)) : "";
  return {.text = shown(m.mean, digits), .hint = hint};
}

Table table_of(const QualityEntries& all) {
  Table table{.caption = "Every method, in numbers",
              .head = {{"method"},
                       {"KL", "Kullback-Leibler divergence from dense attention's predictions, nats a token"},
                       {"95 %", "interval of the KL over windows"},
                       {"perplexity"},
                       {"change %", "of perplexity against dense attention on the same tokens"},
                       {"95 %", "interval of that change"},
                       {"top-1 %", "positions whose most likely token is dense attention's"},
                       {"tokens", "read by a position and KV head, mean"},
                       {"tokens %", "of those cached"},
                       {"index", "bytes scanned a token and KV head"},
                       {"bytes %", "of what dense attention reads: index, keys and values"},
                       {"recall", "part of the best tokens by exact scores that were chosen"},
                       {"Jaccard", "chosen and best, of chosen or best"},
                       {"mass", "of the softmax, held by the tokens read"},
                       {"error", "of attention's output, relative"},
                       {"s/window", "seconds"}},
              .rows = {}};
  for (const auto& e : all) {
    const QualityFacts& q = e.facts;
    table.rows.push_back({{e.label, q.spec},
                          interval(q.kl, 5),
                          {range_of(q.kl.low, q.kl.high, 5)},
                          {shown(q.perplexity, 3)},
                          {shown_sign(q.increase.mean, 2)},
                          {range_of(q.increase.low, q.increase.high, 2)},
                          {shown(100 * q.same_top, 1)},
                          {shown(q.tokens_read, 0)},
                          {shown(100 * q.share_read, 2)},
                          {shown(q.index_bytes, 1)},
                          {shown(100 * q.bytes_share, 2)},
                          {shown(q.recall, 3)},
                          {shown(q.jaccard, 3)},
                          {shown(q.mass, 3)},
                          {shown(q.error, 3)},
                          {shown(q.seconds, 1)}});
  }
  return table;
}

// The same specs in several runs: a column a run, and the change from the first to the last.
Table side_by_side(const Report& report) {
  Table table{.caption = "The same methods, run by run: KL, nats a token", .head = {{"method"}}, .rows = {}};
  std::vector<std::string> specs;
  for (const RunFacts& run : report.runs) {
    if (run.quality.empty()) continue;
    table.head.push_back({run.name});
    for (const QualityFacts& q : run.quality)
      if (std::find(specs.begin(), specs.end(), q.spec) == specs.end()) specs.push_back(q.spec);
  }
  if (table.head.size() < 3) return table;
  table.head.push_back({"last / first"});
  for (const std::string& spec : specs) {
    std::vector<Cell> row{{report.labels.label(spec), spec}};
    std::vector<double> values;
    for (const RunFacts& run : report.runs) {
      if (run.quality.empty()) continue;
      const auto found =
          std::find_if(run.quality.begin(), run.quality.end(), [&](const auto& q) { return q.spec == spec; });
      values.push_back(found == run.quality.end() ? kMissing : found->kl.mean);
      row.push_back(found == run.quality.end() ? Cell{"\u2013"} : interval(found->kl, 5));
    }
    if (std::count_if(values.begin(), values.end(), [](double v) { return std::isfinite(v); }) < 2) continue;
    row.push_back({shown(values.back() / values.front(), 2)});
    table.rows.push_back(std::move(row));
  }
  return table;
}

std::string lead_of(const QualityEntries& all) {
  std::set<double> contexts;
  for (const auto& e : all)
    if (std::isfinite(e.facts.context)) contexts.insert(e.facts.context);
  std::string of;
  for (const double context : contexts) of += (of.empty() ? " Windows of " : " and ") + shown_tokens(context);
  return "How far predictions move from those of dense attention when only part of the cache is read. Down and to the "
         "left is better: less lost, less read. Bars span the 95 % interval; the shaded line joins the best trades." +
         (of.empty() ? "" : of + " tokens.");
}

}  // namespace

void add_quality(const Report& report, Page& page) {
  const QualityEntries all = entries(report, &RunFacts::quality, report.labels);
  if (all.empty()) return;
  page.section("Quality", "Quality against bytes read", lead_of(all));
  if (!report.labels.common().empty()) page.note("All with " + report.labels.common() + ".");
  page.charts({pareto(all, page)});
  page.charts({by_k(all, page), by_index(all, report.labels)});
  page.table(side_by_side(report));
  page.table(table_of(all), true);
}

}  // namespace lowkey::cli
