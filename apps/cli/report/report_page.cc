#include "apps/cli/report/report_page.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "apps/cli/report/page.h"
#include "apps/cli/report/page_parts.h"
#include "apps/cli/report/sections.h"

namespace lowkey::cli {
namespace {

std::vector<std::string> measured_specs(std::span<const RunFacts> runs) {
  std::vector<std::string> specs;
  for (const RunFacts& run : runs) {
    for (const auto& q : run.quality) specs.push_back(q.spec);
    for (const auto& p : run.perplexities) specs.push_back(p.spec);
    for (const auto& n : run.needles) specs.push_back(n.spec);
    for (const auto& tune : run.tunes)
      for (const auto& row : tune.uniform) specs.push_back(row.setting);
    for (const auto& other : run.others)
      for (const auto& row : other.rows) specs.push_back(row.first);
  }
  return specs;
}

std::vector<std::string> timed_specs(std::span<const RunFacts> runs) {
  std::vector<std::string> specs;
  for (const RunFacts& run : runs)
    for (const auto& speed : run.speeds) specs.push_back(speed.spec);
  return specs;
}

std::string file_name(const std::string& path) {
  const size_t end = path.find_last_not_of('/');
  if (end == std::string::npos) return path;
  const size_t slash = path.find_last_of('/', end);
  return path.substr(slash == std::string::npos ? 0 : slash + 1,
                     end - (slash == std::string::npos ? 0 : slash + 1) + 1);
}

// What the runs that say it have in this setting, when it is the same for all; else "".
std::string shared(std::span<const RunFacts> runs, const std::string& setting) {
  std::set<std::string> files;
  for (const RunFacts& run : runs)
    for (const auto& [key, value] : run.settings)
      if (key == setting && !value.empty()) files.insert(file_name(value));
  return files.size() == 1 ? *files.begin() : "";
}

// "ref-41m.gguf on books.txt".
std::string subject(std::span<const RunFacts> runs) {
  const std::string model = shared(runs, "model"), text = shared(runs, "text");
  if (model.empty()) return text.empty() ? "measurements" : "measurements on " + text;
  return text.empty() ? model : model + " on " + text;
}

std::string names_of(std::span<const RunFacts> runs) {
  std::string names;
  for (const RunFacts& run : runs) names += (names.empty() ? "" : " \u00b7 ") + run.name;
  return names;
}

// Replaces each {{name}} once, in one pass: what is put in is not looked at again.
std::string filled(std::string_view page, const std::map<std::string, std::string_view>& parts) {
  std::string all;
  for (;;) {
    const size_t begin = page.find("{{");
    if (begin == std::string_view::npos) return all += page;
    const size_t end = page.find("}}", begin);
    all += page.substr(0, begin);
    all += parts.at(std::string(page.substr(begin + 2, end - begin - 2)));
    page.remove_prefix(end + 2);
  }
}

}  // namespace

std::string report_page(std::span<const RunFacts> runs) {
  const Report report{runs, SpecLabels(measured_specs(runs)), SpecLabels(timed_specs(runs))};
  Page page;
  add_tiles(report, page);
  for (const auto add : {add_quality, add_perplexity, add_layers, add_needles, add_spectra, add_tunes, add_speed,
                         add_others, add_settings})
    add(report, page);

  std::vector<std::string> results;
  for (const RunFacts& run : runs)
    results.push_back(
        fmt::format("{{\"name\":{},\"results\":{}}}",
                    nlohmann::json(run.name).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace), run.json));
  const std::string data =
      fmt::format("{{\"charts\":[{}],\"runs\":[{}]}}", fmt::join(page.chart_data(), ","), fmt::join(results, ","));
  const std::string subject_text = escape_html(subject(runs)), names = escape_html(names_of(runs)),
                    tiles = page.tiles(), contents = page.contents(), body = page.body(), json = script_safe(data);
  return filled(kPageHtml, {{"subject", subject_text},
                            {"names", names},
                            {"tiles", tiles},
                            {"contents", contents},
                            {"body", body},
                            {"data", json},
                            {"style", kPageCss},
                            {"script", kPageJs},
                            {"charts", kChartJs},
                            {"charts_licence", kChartJsLicence}});
}

}  // namespace lowkey::cli
