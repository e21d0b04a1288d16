#include "apps/cli/report/page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace lowkey::cli {
namespace {

using nlohmann::json;

json axis_json(const ChartAxis& axis) {
  json ticks = json::array();
  for (const auto& [value, word] : axis.ticks) ticks.push_back({{"at", value}, {"word", word}});
  nlohmann::json most = std::isfinite(axis.most) ? nlohmann::json(axis.most) : nlohmann::json();
  return {{"title", axis.title}, {"log", axis.logarithmic}, {"most", std::move(most)}, {"ticks", std::move(ticks)}};
}

// Escaped; a number and its percent sign stay together.
std::string prose(const std::string& words) {
  std::string text = escape_html(words);
  for (size_t at = text.find(" %"); at != std::string::npos; at = text.find(" %", at)) text.replace(at, 1, "&nbsp;");
  return text;
}

std::string id_of(const std::string& name) {
  std::string id = escape_html(name);
  std::replace(id.begin(), id.end(), ' ', '-');
  return id;
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

std::string Chart::json() const {
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
  return all["series"].empty() ? "" : all.dump();
}

void Page::section(const std::string& name, const std::string& title, const std::string& lead) {
  if (open_) body_ += "</section>\n";
  open_ = true;
  sections_.push_back(name);
  body_ += fmt::format("\n<section id=\"{}\">\n<h2>{}</h2>\n<p class=\"lead\">{}</p>\n", id_of(name),
                       escape_html(title), prose(lead));
}

void Page::note(const std::string& words) { body_ += fmt::format("<p class=\"note\">{}</p>\n", prose(words)); }

void Page::charts(const std::vector<Chart>& charts) {
  std::string figures;
  int count = 0;
  for (const Chart& chart : charts) {
    std::string data = chart.json();
    if (data.empty()) continue;
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
    html += fmt::format("<li><b>{}</b><span>{}</span><code>{}</code></li>\n", prose(tile.value), prose(tile.words),
                        breakable_name(tile.source));
  return html + "</ul>\n";
}

std::string Page::contents() const {
  std::string html;
  for (const std::string& name : sections_)
    html += fmt::format("<a href=\"#{}\">{}</a>\n", id_of(name), escape_html(name));
  return html;
}

}  // namespace lowkey::cli
