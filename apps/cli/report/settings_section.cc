// How a run was made, side by side; and results that this page has no picture for.
#include <algorithm>

#include "apps/cli/report/sections.h"

namespace lowkey::cli {

void add_others(const Report& report, Page& page) {
  std::vector<std::string> names;
  for (const RunFacts& run : report.runs)
    for (const OtherTask& task : run.others)
      if (std::find(names.begin(), names.end(), task.name) == names.end()) names.push_back(task.name);
  for (const std::string& name : names) {
    Table table{.caption = name + ", in numbers", .head = {{"method"}}, .rows = {}};
    if (report.runs.size() > 1) table.head.push_back({"run"});
    const size_t fixed = table.head.size();
    for (const RunFacts& run : report.runs)
      for (const OtherTask& task : run.others) {
        if (task.name != name) continue;
        for (const auto& [spec, values] : task.rows) {
          std::vector<Cell> row{{report.labels.label(spec), spec}};
          if (fixed > 1) row.push_back({run.name});
          for (const auto& [key, value] : values) {
            auto column =
                std::find_if(table.head.begin(), table.head.end(), [&](const Cell& c) { return c.text == key; });
            if (column == table.head.end()) column = table.head.insert(column, {key});
            row.resize(std::max(row.size(), static_cast<size_t>(column - table.head.begin()) + 1));
            row[static_cast<size_t>(column - table.head.begin())] = {value};
          }
          table.rows.push_back(std::move(row));
        }
      }
    for (auto& row : table.rows) row.resize(table.head.size());
    page.section("task-" + name, name, "Results of the task " + name + ", method by method.");
    page.table(table);
  }
}

void add_settings(const Report& report, Page& page) {
  Table table{.caption = "Settings and machine", .head = {{""}}, .rows = {}};
  std::vector<std::string> keys;
  for (const RunFacts& run : report.runs) {
    table.head.push_back({run.name});
    for (const auto& [key, value] : run.settings)
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
  }
  for (const std::string& key : keys) {
    std::vector<Cell> row{{key}};
    for (const RunFacts& run : report.runs) {
      const auto found =
          std::find_if(run.settings.begin(), run.settings.end(), [&](const auto& s) { return s.first == key; });
      row.push_back({found == run.settings.end() ? "\u2013" : found->second});
    }
    table.rows.push_back(std::move(row));
  }
  page.section("settings", "Settings and machine",
               report.runs.size() > 1 ? "How each run was made. Compare only what was made alike."
                                      : "How this run was made: what it takes to make it again.");
  page.table(table);
}

}  // namespace lowkey::cli
