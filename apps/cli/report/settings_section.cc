// How a run was made, side by side; and results that this page has no picture for.
#include <algorithm>
#include <utility>

#include "apps/cli/report/sections.h"

namespace lowkey::cli {
namespace {

std::pair<std::string, std::string> words_of(const std::string& task) {
  if (task == "choice")
    return {"Multiple choice",
            "Questions with several answers, of which the model takes the likeliest. Accuracy counts those it gets "
            "right, with its 95 % interval; as dense: how often a method takes what dense attention takes."};
  if (task == "generate")
    return {"Generated answers",
            "Answers in the model's own words, right when they match exactly. Accuracy has its 95 % interval; as "
            "dense: how often a method says what dense attention says."};
  return {task, "Results of the task " + task + ", method by method."};
}

// "as dense" for as_dense.
std::string words(std::string key) {
  std::replace(key.begin(), key.end(), '_', ' ');
  return key;
}

// What was measured first, then how.
std::vector<std::string> keys_of(std::span<const RunFacts> runs) {
  std::vector<std::string> keys{"model", "text", "machine", "command", "commit", "date"};
  const size_t first = keys.size();
  for (const RunFacts& run : runs)
    for (const auto& [key, value] : run.settings)
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
  std::stable_partition(keys.begin() + static_cast<int64_t>(first), keys.end(),
                        [](const std::string& key) { return key.find(' ') == std::string::npos; });
  std::erase_if(keys, [&](const std::string& key) {
    return std::none_of(runs.begin(), runs.end(), [&](const RunFacts& run) {
      return std::any_of(run.settings.begin(), run.settings.end(), [&](const auto& s) { return s.first == key; });
    });
  });
  return keys;
}

}  // namespace

void add_others(const Report& report, Page& page) {
  std::vector<std::string> names;
  for (const RunFacts& run : report.runs)
    for (const OtherTask& task : run.others)
      if (std::find(names.begin(), names.end(), task.name) == names.end()) names.push_back(task.name);
  for (const std::string& name : names) {
    Table table{.caption = name + ", in numbers", .head = {{"method"}}, .rows = {}};
    const auto has = [&](const RunFacts& run) {
      return std::any_of(run.others.begin(), run.others.end(), [&](const OtherTask& t) { return t.name == name; });
    };
    if (std::count_if(report.runs.begin(), report.runs.end(), has) > 1) table.head.push_back({"run"});
    const size_t fixed = table.head.size();
    for (const RunFacts& run : report.runs)
      for (const OtherTask& task : run.others) {
        if (task.name != name) continue;
        for (const auto& [spec, values] : task.rows) {
          std::vector<Cell> row{{report.labels.label(spec), spec}};
          if (fixed > 1) row.push_back({run.name});
          for (const auto& [key, value] : values) {
            auto column =
                std::find_if(table.head.begin(), table.head.end(), [&](const Cell& c) { return c.text == words(key); });
            if (column == table.head.end()) column = table.head.insert(column, {words(key)});
            row.resize(std::max(row.size(), static_cast<size_t>(column - table.head.begin()) + 1));
            row[static_cast<size_t>(column - table.head.begin())] = {value};
          }
          table.rows.push_back(std::move(row));
        }
      }
    for (auto& row : table.rows) row.resize(table.head.size());
    const auto [title, lead] = words_of(name);
    page.section(name, title, lead);
    page.table(table);
  }
}

void add_settings(const Report& report, Page& page) {
  Table table{.caption = "Settings and machine", .head = {{""}}, .rows = {}, .words = true};
  for (const RunFacts& run : report.runs) table.head.push_back({run.name});
  for (const std::string& key : keys_of(report.runs)) {
    std::vector<Cell> row{{words(key)}};
    for (const RunFacts& run : report.runs) {
      const auto found =
          std::find_if(run.settings.begin(), run.settings.end(), [&](const auto& s) { return s.first == key; });
      row.push_back({found == run.settings.end() ? "\u2013" : found->second});
    }
    table.rows.push_back(std::move(row));
  }
  page.section("Settings", "Settings and machine",
               report.runs.size() > 1 ? "How each run was made. Compare only what was made alike."
                                      : "How this run was made: what it takes to make it again.");
  page.table(table);
}

}  // namespace lowkey::cli
