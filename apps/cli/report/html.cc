#include "apps/cli/report/html.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace lowkey::cli {
namespace {

constexpr const char* kNothing = "\u2013";  // an en dash
constexpr double kDark = 0.55;  // from here on the colour scale bears light text, in the dark theme dark text

std::string hint_of(const Cell& cell) {
  return cell.hint.empty() ? "" : fmt::format(" title=\"{}\"", escape_html(cell.hint));
}

std::string name_cell(const Cell& cell) {
  return fmt::format("<th scope=\"row\"{}>{}</th>", hint_of(cell), breakable_name(cell.text));
}

std::string data_cell(const Cell& cell) {
  if (cell.heat < 0) return fmt::format("<td{}>{}</td>", hint_of(cell), escape_html(cell.text));
  const double heat = std::clamp(cell.heat, 0., 1.);
  return fmt::format("<td class=\"{}{}\" style=\"--v:{:.3f}\"{}>{}</td>", heat > kDark ? "heat deep" : "heat",
                     cell.framed ? " framed" : "", heat, hint_of(cell), escape_html(cell.text));
}

}  // namespace

std::string breakable_name(std::string_view text) {
  std::string name;
  for (const char c : escape_html(text)) {
    name += c;
    if (c == ',' || c == ':') name += "<wbr>";
  }
  return name;
}

std::string escape_html(std::string_view text) {
  std::string safe;
  safe.reserve(text.size());
  for (const char c : text) switch (c) {
      case '&':
        safe += "&amp;";
        break;
      case '<':
        safe += "&lt;";
        break;
      case '>':
        safe += "&gt;";
        break;
      case '"':
        safe += "&quot;";
        break;
      case '\'':
        safe += "&#39;";
        break;
      default:
        safe += c;
    }
  return safe;
}

std::string script_safe(std::string_view json) {
  std::string safe;
  for (const char c : json) {  // outside of strings JSON has no "<"
    if (c == '<')
      safe += "\\u003c";
    else
      safe += c;
  }
  return safe;
}

std::string shown(double value, int digits) {
  return std::isfinite(value) ? fmt::format("{:.{}f}", value, digits) : kNothing;
}

std::string shown_sign(double value, int digits) {
  return std::isfinite(value) ? fmt::format("{:+.{}f}", value, digits) : kNothing;
}

std::string range_of(double low, double high, int digits) {
  if (!std::isfinite(low) || !std::isfinite(high)) return kNothing;
  return fmt::format("{} \u2026 {}", shown(low, digits), shown(high, digits));
}

std::string shown_short(double value) {
  if (!std::isfinite(value)) return kNothing;
  const double size = std::abs(value);
  if (size >= 1e5) return fmt::format("{:.3g}", value);
  if (size >= 100) return fmt::format("{:.0f}", value);
  if (size == 0) return "0";
  return fmt::format("{:#.3g}", value);
}

std::string shown_tokens(double tokens) {
  if (!std::isfinite(tokens)) return kNothing;
  const auto whole = static_cast<int64_t>(tokens);
  return whole >= 1024 && whole % 1024 == 0 ? fmt::format("{}k", whole / 1024) : fmt::format("{}", whole);
}

std::string Table::html() const {
  std::string html = fmt::format(
      "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{0}\"><table{1}>"
      "<caption>{0}</caption>\n<thead><tr>",
      escape_html(caption),
      heat_map ? " class=\"map\""
      : words  ? " class=\"words\""
               : "");
  for (const Cell& cell : head)
    html += fmt::format("<th scope=\"col\"{}>{}</th>", hint_of(cell), escape_html(cell.text));
  html += "</tr></thead>\n<tbody>\n";
  for (const auto& row : rows) {
    html += "<tr>";
    for (size_t i = 0; i < row.size(); ++i) html += i == 0 ? name_cell(row[i]) : data_cell(row[i]);
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

HeatScale HeatScale::around(const std::vector<double>& values) {
  HeatScale scale{1, 0};
  for (const double value : values)
    if (std::isfinite(value)) scale.low = std::min(scale.low, value), scale.high = std::max(scale.high, value);
  scale.low = std::floor(scale.low * 10) / 10, scale.high = std::ceil(scale.high * 10) / 10;
  if (scale.high <= scale.low) scale.high = scale.low + 0.1;
  return scale;
}

Cell HeatScale::cell(double value, const std::string& hint) const {
  if (!std::isfinite(value)) return {.text = kNothing, .hint = hint};
  return {.text = shown(value, 2), .hint = hint, .heat = std::clamp((value - low) / (high - low), 0., 1.)};
}

std::string scale_legend(const std::string& low, const std::string& high) {
  return fmt::format("<p class=\"scale\" aria-hidden=\"true\"><span>{}</span><i></i><span>{}</span></p>\n",
                     escape_html(low), escape_html(high));
}

}  // namespace lowkey::cli
