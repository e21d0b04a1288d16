// Where in the model the choice of tokens is good: recall and mass by layer, and by head where a file has that.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "apps/cli/report/sections.h"

namespace lowkey::cli {
namespace {

using QualityEntries = std::vector<Entry<QualityFacts>>;
using Column = double LayerFacts::*;

std::vector<double> values_of(const QualityEntries& all, Column column) {
  std::vector<double> values;
  for (const auto& e : all)
    for (const LayerFacts& layer : e.facts.layers) values.push_back(layer.*column);
  return values;
}

// One row a method, one column a layer.
Table by_layer(const QualityEntries& all, Column column, const std::string& what, const HeatScale& scale) {
  Table map{.caption = what + " by layer", .head = {{"method"}}, .rows = {}, .heat_map = true};
  size_t layers = 0;
  for (const auto& e : all) layers = std::max(layers, e.facts.layers.size());
  for (size_t l = 0; l < layers; ++l) map.head.push_back({std::to_string(l), fmt::format("layer {}", l)});
  for (const auto& e : all) {
    std::vector<Cell> row{{e.label, e.facts.spec}};
    for (size_t l = 0; l < layers; ++l) {
      const double value = l < e.facts.layers.size() ? e.facts.layers[l].*column : kMissing;
      row.push_back(scale.cell(value, fmt::format("{}, layer {}: {} {}", e.label, l, what, shown(value, 4))));
    }
    map.rows.push_back(std::move(row));
  }
  return map;
}

void add_map(const QualityEntries& all, Column column, const std::string& what, Page& page) {
  const std::vector<double> values = values_of(all, column);
  if (std::none_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); })) return;
  const HeatScale scale = HeatScale::around(values);
  page.maps({by_layer(all, column, what, scale)}, scale.legend());
}

// One map a method: a row a layer, a column a KV head.
Table by_head(const Entry<QualityFacts>& e, const HeatScale& scale) {
  Table map{.caption = e.label, .head = {{"layer"}}, .rows = {}, .heat_map = true};
  size_t heads = 0;
  for (const LayerFacts& layer : e.facts.layers) heads = std::max(heads, layer.recall_of_heads.size());
  for (size_t h = 0; h < heads; ++h) map.head.push_back({std::to_string(h), fmt::format("query head {}", h)});
  for (size_t l = 0; l < e.facts.layers.size(); ++l) {
    std::vector<Cell> row{{std::to_string(l)}};
    const std::vector<double>& recall = e.facts.layers[l].recall_of_heads;
    for (size_t h = 0; h < heads; ++h) {
      const double value = h < recall.size() ? recall[h] : kMissing;
      row.push_back(scale.cell(value, fmt::format("layer {}, head {}: recall {}", l, h, shown(value, 4))));
    }
    map.rows.push_back(std::move(row));
  }
  return map;
}

// Not so where every head chose all of the best tokens, or none, or nothing was looked at.
bool tells(const QualityFacts& q) {
  bool some = false, misses = false;
  for (const LayerFacts& layer : q.layers)
    for (const double recall : layer.recall_of_heads) some |= recall > 0, misses |= recall < 1;
  return some && misses;
}

void add_heads(const QualityEntries& all, Page& page) {
  std::vector<double> values;
  for (const auto& e : all)
    for (const LayerFacts& layer : e.facts.layers)
      values.insert(values.end(), layer.recall_of_heads.begin(), layer.recall_of_heads.end());
  if (values.empty()) return;
  const HeatScale scale = HeatScale::around(values);
  std::vector<Table> maps;
  for (const auto& e : all)
    if (tells(e.facts)) maps.push_back(by_head(e, scale));
  if (maps.empty()) return;
  page.note(
      "Recall by query head, a map for each method that chooses and misses some: layers from top to bottom, heads from "
      "left "
      "to right.");
  page.maps(maps, scale.legend());
}

}  // namespace

void add_layers(const Report& report, Page& page) {
  QualityEntries all;
  for (const auto& e : entries(report, &RunFacts::quality, report.labels))
    if (!e.facts.layers.empty() && split_spec(e.facts.spec).name != "dense") all.push_back(e);
  if (all.empty()) return;
  page.section("Layers", "Recall by layer and head",
               "Recall is the part of the best tokens, by exact scores, that a method chose; mass is how much of the "
               "softmax the tokens it read hold. A faint column is a layer whose keys the index knows less well.");
  add_map(all, &LayerFacts::recall, "recall", page);
  add_map(all, &LayerFacts::mass, "mass", page);
  add_map(all, &LayerFacts::error, "output error", page);
  add_heads(all, page);
}

}  // namespace lowkey::cli
