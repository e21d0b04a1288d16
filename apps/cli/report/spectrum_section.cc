// How low-rank keys are: coordinates that hold a share of their spectrum, and where in the model.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "apps/cli/report/sections.h"

namespace lowkey::cli {
namespace {

constexpr double kShare = 0.9;  // that maps show

std::string basis_words(const std::string& basis) {
  if (basis == "post") return "post-RoPE";
  if (basis == "pre") return "pre-RoPE";
  return basis;
}

int colour_of(const std::string& basis) {
  constexpr const char* kBases[] = {"post", "pre", "content", "weighted", "balanced"};
  return static_cast<int>(std::find(std::begin(kBases), std::end(kBases), basis) - std::begin(kBases)) + 1;
}

double mean_of(const RankFacts& ranks) {
  double sum = 0;
  int count = 0;
  for (const auto& layer : ranks.ranks)
    for (const double rank : layer)
      if (std::isfinite(rank)) sum += rank, ++count;
  return count > 0 ? sum / count : kMissing;
}

std::string tag_of(const Report& report, size_t run) {
  int with = 0;
  for (const RunFacts& r : report.runs) with += r.ranks.empty() && r.spectra.empty() ? 0 : 1;
  return with > 1 ? " (" + report.runs[run].name + ")" : "";
}

// Whole spectra where there are any, else the shares that ranks were taken at.
Chart spectra(const Report& report) {
  Chart chart{.title = "How much the first coordinates hold",
              .x = {.title = "coordinates kept (mean of layers and heads)", .ticks = {}},
              .y = {.title = "share of the keys' variance (%)", .most = 100, .ticks = {}}};
  for (size_t r = 0; r < report.runs.size(); ++r) {
    const RunFacts& run = report.runs[r];
    const auto series = [&](const std::string& basis) -> ChartSeries& {
      return series_of(chart, basis_words(basis) + tag_of(report, r), colour_of(basis), static_cast<int>(r));
    };
    for (const SpectrumFacts& s : run.spectra)
      for (size_t c = 0; c < s.cumulative.size(); ++c)
        series(s.basis).points.push_back({.x = static_cast<double>(c + 1),
                                          .y = 100 * s.cumulative[c],
                                          .note = fmt::format("{}: {} coordinates", basis_words(s.basis), c + 1)});
    if (!run.spectra.empty()) continue;
    for (const RankFacts& ranks : run.ranks)
      series(ranks.basis)
          .points.push_back({.x = mean_of(ranks), .y = 100 * ranks.share, .note = basis_words(ranks.basis)});
  }
  return chart;
}

bool is_shown(const RankFacts& ranks) { return std::abs(ranks.share - kShare) < 1e-6; }

Chart by_layer(const Report& report) {
  Chart chart{.title = "Coordinates that hold 90\u00a0%, by layer (bars: least and most of its heads)",
              .x = {.title = "layer", .ticks = {}},
              .y = {.title = "coordinates (mean of heads)", .ticks = {}}};
  for (size_t r = 0; r < report.runs.size(); ++r)
    for (const RankFacts& ranks : report.runs[r].ranks) {
      if (!is_shown(ranks)) continue;
      ChartSeries& series =
          series_of(chart, basis_words(ranks.basis) + tag_of(report, r), colour_of(ranks.basis), static_cast<int>(r));
      for (size_t l = 0; l < ranks.ranks.size(); ++l) {
        const std::vector<double>& heads = ranks.ranks[l];
        if (heads.empty()) continue;
        double sum = 0;
        for (const double rank : heads) sum += rank;
        const auto [low, high] = std::minmax_element(heads.begin(), heads.end());
        series.points.push_back({.x = static_cast<double>(l),
                                 .y = sum / static_cast<double>(heads.size()),
                                 .low = *low,
                                 .high = *high,
                                 .note = fmt::format("{}, layer {}", series.label, l)});
      }
    }
  return chart;
}

Table table_of(const Report& report) {
  Table table{.caption = "Coordinates that hold a share of the keys' variance, mean of layers and heads",
              .head = {{"basis"}},
              .rows = {}};
  std::set<double> shares;
  for (const RunFacts& run : report.runs)
    for (const RankFacts& ranks : run.ranks) shares.insert(ranks.share);
  for (const double share : shares) table.head.push_back({fmt::format("{:.0f} %", 100 * share)});
  table.head.push_back({"entropy", "of the spectrum: 0 one direction, 1 all alike"});
  table.head.push_back({"effective rank", "e to the entropy in nats"});
  for (size_t r = 0; r < report.runs.size(); ++r) {
    std::set<std::string> bases;
    for (const RankFacts& ranks : report.runs[r].ranks) bases.insert(ranks.basis);
    for (const std::string& basis : bases) {
      std::vector<Cell> row{{basis_words(basis) + tag_of(report, r)}};
      for (const double share : shares) {
        double mean = kMissing;
        for (const RankFacts& ranks : report.runs[r].ranks)
          if (ranks.basis == basis && ranks.share == share) mean = mean_of(ranks);
        row.push_back({shown(mean, 1)});
      }
      const auto& spectra = report.runs[r].spectra;
      const auto found = std::find_if(spectra.begin(), spectra.end(), [&](const auto& s) { return s.basis == basis; });
      row.push_back({shown(found == spectra.end() ? kMissing : found->entropy, 3)});
      row.push_back({shown(found == spectra.end() ? kMissing : found->effective, 1)});
      table.rows.push_back(std::move(row));
    }
  }
  return table;
}

// A map a basis: a row a KV head, a column a layer.
Table map_of(const RankFacts& ranks, const std::string& title, double most) {
  Table map{.caption = title, .head = {{"head"}}, .rows = {}, .heat_map = true};
  size_t heads = 0;
  for (size_t l = 0; l < ranks.ranks.size(); ++l) {
    map.head.push_back({std::to_string(l), fmt::format("layer {}", l)});
    heads = std::max(heads, ranks.ranks[l].size());
  }
  for (size_t h = 0; h < heads; ++h) {
    std::vector<Cell> row{{std::to_string(h)}};
    for (size_t l = 0; l < ranks.ranks.size(); ++l) {
      const double rank = h < ranks.ranks[l].size() ? ranks.ranks[l][h] : kMissing;
      row.push_back({.text = shown(rank, 0),
                     .hint = fmt::format("layer {}, KV head {}: {} coordinates", l, h, shown(rank, 0)),
                     .heat = std::isfinite(rank) ? rank / most : -1});
    }
    map.rows.push_back(std::move(row));
  }
  return map;
}

void add_maps(const Report& report, Page& page) {
  double most = 1;
  for (const RunFacts& run : report.runs)
    for (const RankFacts& ranks : run.ranks)
      for (const auto& layer : ranks.ranks)
        for (const double rank : layer)
          if (is_shown(ranks)) most = std::max(most, rank);
  std::vector<Table> maps;
  for (size_t r = 0; r < report.runs.size(); ++r)
    for (const RankFacts& ranks : report.runs[r].ranks)
      if (is_shown(ranks))
        maps.push_back(map_of(ranks, "rank at 90 %, " + basis_words(ranks.basis) + tag_of(report, r), most));
  page.maps(maps, scale_legend("0", shown(most, 0)));
}

}  // namespace

void add_spectra(const Report& report, Page& page) {
  if (std::all_of(report.runs.begin(), report.runs.end(),
                  [](const auto& run) { return run.ranks.empty() && run.spectra.empty(); }))
    return;
  page.section("Spectra", "Spectra of the keys",
               "In how few directions the keys of a head lie: what Loki lives on. The sooner a curve rises, the fewer "
               "coordinates rank tokens well. Balanced bases count the variance of scores instead of keys.");
  page.charts({spectra(report), by_layer(report)});
  page.table(table_of(report));
  add_maps(report, page);
}

}  // namespace lowkey::cli
