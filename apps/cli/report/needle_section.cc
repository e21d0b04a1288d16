// Codes found in long documents, by where they were hidden and how long the document was.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "apps/cli/report/sections.h"

namespace lowkey::cli {
namespace {

using NeedleEntries = std::vector<Entry<NeedleFacts>>;

std::string percent(double share) { return std::isfinite(share) ? fmt::format("{:.0f} %", 100 * share) : "\u2013"; }

// All cells of that context and depth; NaN means any.
Cell cell_of(const NeedleFacts& n, double context, double depth) {
  int found = 0, trials = 0;
  for (const NeedleCell& cell : n.cells)
    if ((std::isnan(context) || cell.context == context) && cell.depth == depth)
      found += cell.found, trials += cell.trials;
  if (trials == 0) return {"\u2013"};
  return {.text = fmt::format("{}/{}", found, trials),
          .hint = fmt::format("{} of {} codes found at depth {}{}", found, trials, percent(depth),
                              std::isnan(context) ? "" : fmt::format(" of {} tokens", shown_tokens(context))),
          .heat = static_cast<double>(found) / trials};
}

// One length: a row a method, a column a depth.
Table by_depth(const NeedleEntries& all, const std::set<double>& depths) {
  Table map{.caption = "Codes found, by depth", .head = {{"method"}}, .rows = {}, .heat_map = true};
  for (const double depth : depths) map.head.push_back({percent(depth), "depth: 0 % is the start of the document"});
  for (const auto& e : all) {
    std::vector<Cell> row{{e.label, e.facts.spec}};
    for (const double depth : depths) row.push_back(cell_of(e.facts, kMissing, depth));
    map.rows.push_back(std::move(row));
  }
  return map;
}

// Several: a map a method, depths from top to bottom, lengths from left to right.
Table grid(const Entry<NeedleFacts>& e, const std::set<double>& contexts, const std::set<double>& depths) {
  Table map{.caption = e.label, .head = {{"depth"}}, .rows = {}, .heat_map = true};
  for (const double context : contexts)
    map.head.push_back({shown_tokens(context), fmt::format("documents of {:.0f} tokens", context)});
  for (const double depth : depths) {
    std::vector<Cell> row{{percent(depth)}};
    for (const double context : contexts) row.push_back(cell_of(e.facts, context, depth));
    map.rows.push_back(std::move(row));
  }
  return map;
}

Table table_of(const NeedleEntries& all) {
  Table table{.caption = "Codes found, in numbers",
              .head = {{"method"},
                       {"found"},
                       {"of"},
                       {"found %"},
                       {"nll", "of the true code, nats a token"},
                       {"s/question", "seconds"}},
              .rows = {}};
  for (const auto& e : all)
    table.rows.push_back({{e.label, e.facts.spec},
                          {std::to_string(e.facts.found)},
                          {std::to_string(e.facts.trials)},
                          {e.facts.trials > 0 ? shown(100. * e.facts.found / e.facts.trials, 1) : "\u2013"},
                          {shown(e.facts.nll, 4)},
                          {shown(e.facts.seconds, 2)}});
  return table;
}

}  // namespace

void add_needles(const Report& report, Page& page) {
  const NeedleEntries all = entries(report, &RunFacts::needles, report.labels);
  if (all.empty()) return;
  std::set<double> contexts, depths;
  for (const auto& e : all)
    for (const NeedleCell& cell : e.facts.cells) {
      if (std::isfinite(cell.context)) contexts.insert(cell.context);
      if (std::isfinite(cell.depth)) depths.insert(cell.depth);
    }
  const std::string length =
      contexts.size() == 1 ? fmt::format(" Documents of {} tokens.", shown_tokens(*contexts.begin())) : "";
  page.section("Needles", "Needles in long documents",
               "Codes are hidden in a long text, and the model is asked for them afterwards. Found or lost shows what "
               "averages hide: a single token that was not read." +
                   length);
  const std::string scale = scale_legend("none found", "all found");
  std::vector<Table> maps;
  if (contexts.size() > 1)
    for (const auto& e : all) maps.push_back(grid(e, contexts, depths));
  else if (!depths.empty())
    maps.push_back(by_depth(all, depths));
  page.maps(maps, maps.empty() ? "" : scale);
  page.table(table_of(all));
}

}  // namespace lowkey::cli
