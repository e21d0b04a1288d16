// lowkey report: what eval and bench wrote, as one page to look at; several files side by side.
#include "apps/cli/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "apps/cli/options.h"
#include "apps/cli/report/report_page.h"
#include "apps/cli/verbs.h"
#include "base/error.h"

namespace lowkey::cli {
namespace {

namespace fs = std::filesystem;

struct ReportOptions {
  std::vector<std::string> files;
  std::string out = "report.html";
};

// The file's name without its folders, where no other file has the same.
std::string name_of(const std::string& file, const std::vector<std::string>& all) {
  const auto stem = [](const std::string& path) { return fs::path(path).stem().string(); };
  const auto alike =
      std::count_if(all.begin(), all.end(), [&](const auto& other) { return stem(other) == stem(file); });
  return alike > 1 ? file : stem(file);
}

void run(const ReportOptions& o) {
  std::vector<RunFacts> runs;
  for (const std::string& file : o.files) {
    runs.push_back(read_run(file, read_whole(file)));
    runs.back().name = name_of(file, o.files);
  }
  const std::string page = report_page(runs);
  write_whole(o.out, page);
  fmt::print(stderr, "{}: {} KB; open it in a browser\n", o.out, page.size() / 1000);
}

}  // namespace

void write_report(const std::string& name, const nlohmann::json& results, const std::string& file) {
  const RunFacts run = run_facts(name, results);
  write_whole(file, report_page({&run, 1}));
}

void add_report(CLI::App& app) {
  auto options = std::make_shared<ReportOptions>();
  CLI::App* verb = app.add_subcommand("report", "show results of eval and bench as one HTML page");
  verb->add_option("FILE", options->files, "what eval --json-file or bench --json wrote; several are compared")
      ->required();
  verb->add_option("-o,--out", options->out, "the page")->capture_default_str();
  verb->callback([options] { run(*options); });
}

}  // namespace lowkey::cli
