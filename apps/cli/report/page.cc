#include "apps/cli/report/page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace lowkey::cli {
namespace {

using nlohmann::json;

json axis_json(const ChartAxis& axis) {
  json ticks = json::array();
  for (const auto& [value, word] : axis.ticks) ticks.push_back({{"at", value}, {"word", word}});
  return {{"title", axis.title}, {"log", axis.logarithmic}, {"ticks", std::move(ticks)}};
}

bool shows(const ChartAxis& axis, double value) { return std::isfinite(value) && (!axis.logarithmic || value > 0); }

json points_json(const Chart& chart, std::vector<ChartPoint> points) {
  if (chart.kind == Chart::Kind::kLines)
    std::stable_sort(points.begin(), points.end(), [](const auto& a, const auto& b) { return a.x < b.x; });
  json shown = json::array();
  for (const ChartPoint& point : points) {
    if (!shows(chart.x, point.x) || !shows(chart.y, point.y)) continue;
    json one{{"x", point.x}, {"y", point.y}, {"note", point.note}};
    if (shows(chart.y, point.low) && shows(chart.y, point.high)) one["low"] = point.low, one["high"] = point.high;
    shown.push_back(std::move(one));
  }
  return shown;
}

}  // namespace

json Chart::json() const {
  constexpr const char* kKinds[] = {"lines", "bars", "stack"};
  nlohmann::json all{
      {"title", title},    {"kind", kKinds[static_cast<int>(kind)]}, {"x", axis_json(x)},
      {"y", axis_json(y)}, {"series", nlohmann::json::array()},      {"front", points_json(*this, front)}};
  for (const ChartSeries& one : series) {
    nlohmann::json points = points_json(*this, one.points);
    if (points.empty()) continue;
    all["series"].push_back(
        {{"label", one.label}, {"colour", one.colour}, {"run", one.run}, {"points", std::move(points)}});
  }
  return all;
}

void Page::section(const std::string& id, const std::string& title, const std::string& lead) {
  if (open_) body_ += "</section>\n";
  open_ = true;
  sections_.emplace_back(id, title);
  body_ += fmt::format("\n<section id=\"{}\">\n<h2>{}</h2>\n<p class=\"lead\">{}</p>\n", escape_html(id),
                       escape_html(title), escape_html(lead));
}

void Page::note(const std::string& words) { body_ += fmt::format("<p class=\"note\">{}</p>\n", escape_html(words)); }

void Page::charts(const std::vector<Chart>& charts) {
  std::string figures;
  int count = 0;
  for (const Chart& chart : charts) {
    nlohmann::json data = chart.json();
    if (data["series"].empty()) continue;
    figures += fmt::format("<figure class=\"chart\" data-chart=\"{}\"><figcaption>{}</figcaption></figure>\n",
                           chart_data_.size(), escape_html(chart.title));
    chart_data_.push_back(std::move(data));
    ++count;
  }
  if (count > 0) body_ += fmt::format("<div class=\"charts{}\">\n{}</div>\n", count > 1 ? " pair" : "", figures);
}

// Open, so that it can be read without JavaScript, which folds it.
void Page::table(const Table& table, bool folded) {
  if (table.rows.empty()) return;
  if (!folded)
    body_ += table.html();
  else
    body_ += fmt::format("<details class=\"fold\" open><summary>{}</summary>\n{}</details>\n",
                         escape_html(table.caption), table.html());
}

void Page::maps(const std::vector<Table>& maps, const std::string& scale) {
  if (maps.empty()) return;
  body_ += fmt::format("<div class=\"maps{}\">\n", maps.size() > 1 ? " many" : "");
  for (const Table& map : maps) body_ += map.html();
  body_ += "</div>\n" + scale;
}

int Page::colour(const std::string& family) {
  if (family == "dense") return 0;
  return colours_.emplace(family, static_cast<int>(colours_.size()) + 1).first->second;
}

std::string Page::tiles() const {
  if (tiles_.empty()) return "";
  std::string html = "<ul class=\"tiles\">\n";
  for (const Tile& tile : tiles_)
    html += fmt::format("<li><b>{}</b><span>{}</span><code>{}</code></li>\n", escape_html(tile.value),
                        escape_html(tile.words), escape_html(tile.source));
  return html + "</ul>\n";
}

std::string Page::contents() const {
  std::string html;
  for (const auto& [id, title] : sections_)
    html += fmt::format("<a href=\"#{}\">{}</a>\n", escape_html(id), escape_html(title));
  return html;
}

}  // namespace lowkey::cli
