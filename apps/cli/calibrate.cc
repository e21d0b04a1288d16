// lowkey calibrate: learns a model's keys from texts, or joins what several runs have learned.
#include "lab/calibrate.h"

#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "apps/cli/calibration_report.h"
#include "apps/cli/options.h"
#include "apps/cli/progress.h"
#include "apps/cli/signals.h"
#include "apps/cli/verbs.h"
#include "base/error.h"
#include "formats/new_file.h"
#include "model/tokenizer_loader.h"

namespace lowkey::cli {
namespace {

struct Options {
  CommonOptions common;
  std::vector<std::string> texts, merge;
  std::string out;
  CalibrateOptions calibrate{.tool = "lowkey " LOWKEY_VERSION};
  bool no_statistics = false;
};

// Compressed files and other formats would be read as if they were text.
void require_plain_text(const std::string& path, const std::string& text) {
  const std::string_view start = std::string_view(text).substr(0, 4);
  const bool packed = start.starts_with("BZh") || start.starts_with("\x1f\x8b") || start.starts_with("PK\x03\x04") ||
                      start.starts_with("\x28\xb5\x2f\xfd") || start.starts_with("\xfd\x37zX") ||
                      start.starts_with("%PDF");
  LK_REQUIRE(!packed, kInvalidArgument, "[calibrate] {}: not plain text, must be unpacked first", path);
}

Calibration from_texts(const Options& o, const Context& context, const Model& model,
                       const CalibrateProgress& progress) {
  const Tokenizer tokenizer = load_tokenizer(o.common.model);
  std::vector<CalibrateText> texts;
  for (const std::string& path : o.texts) {
    texts.push_back({std::filesystem::path(path).filename().string(), read_whole(path)});
    require_plain_text(path, texts.back().text);
  }
  return calibrate(context, model, tokenizer, texts, o.calibrate, progress);
}

Calibration from_calibrations(const Options& o, const Context& context, const Model& model,
                              const CalibrateProgress& progress) {
  std::vector<Calibration> parts;
  for (const std::string& path : o.merge) {
    parts.push_back(Calibration::load(path));
    parts.back().require_model(model.fingerprint(), path);
  }
  return merge_calibrations(context, parts, o.calibrate, progress);
}

void run(Options& o) {
  LK_REQUIRE(o.texts.empty() != o.merge.empty(), kInvalidArgument, "calibrate needs --text or --merge, and not both");
  o.calibrate.statistics = !o.no_statistics;
  NewFile(o.out, "calibrate");  // a place that cannot be written to is refused now, not after the work
  const auto start = std::chrono::steady_clock::now();
  const auto context = make_context(o.common);
  const auto model = open_model(o.common);
  Progress reading("reading", "tokens"), fitting("fitting", "layers");
  const CalibrateProgress progress = [&](const std::string& stage, int64_t done, int64_t total) {
    LK_REQUIRE(!interrupted(), kInvalidArgument, "interrupted; {} was not written", o.out);
    (stage == "reading" ? reading : fitting).update(done, total);
    if (done == total) reading.clear();
  };
  const Calibration calibration =
      o.merge.empty() ? from_texts(o, *context, *model, progress) : from_calibrations(o, *context, *model, progress);
  fitting.clear();
  calibration.save(o.out);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (o.common.json) {
    nlohmann::json report = calibration_facts(calibration);
    report["file"] = o.out;
    report["seconds"] = seconds;
    report["peak_resident_bytes"] = peak_resident_bytes();
    fmt::print("{}\n", report.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
    return;
  }
  print_ranks(calibration);
  fmt::print(stderr, "{}: {:.1f} MB, {} tokens, {:.0f} s, peak memory {:.0f} MB\n", o.out,
             static_cast<double>(std::filesystem::file_size(o.out)) / 1e6, calibration.tokens, seconds,
             static_cast<double>(peak_resident_bytes()) / 1e6);
}

}  // namespace

void add_calibrate(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* verb = app.add_subcommand("calibrate", "learn a model's keys from texts, for loki");
  add_model(*verb, options->common);
  verb->add_option("--text", options->texts, "plain text; documents may be separated by NUL bytes");
  verb->add_option("--merge", options->merge, "calibration files of parts, to be joined into one");
  verb->add_option("-o,--output", options->out, "the file to write, NAME.safetensors")->required();
  verb->add_option("--tokens", options->calibrate.tokens, "tokens to read, evenly spaced windows; 0: all")
      ->check(CLI::NonNegativeNumber);
  verb->add_option("--context", options->calibrate.context, "tokens a window; 0: the model's, at most 16384")
      ->check(CLI::NonNegativeNumber);
  verb->add_option("--sample", options->calibrate.sample, "keys of each head that codebooks are fitted to")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  verb->add_option("--skip-first", options->calibrate.skip_first,
                   "positions of each window that are not counted: attention sinks are unlike other keys")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  verb->add_option("--codebooks", options->calibrate.fit.codebook_bits, "bits a key to fit codebooks for")
      ->delimiter(',')
      ->check(CLI::Range(4, 1024))
      ->capture_default_str();
  verb->add_flag("--no-statistics", options->no_statistics, "leave out what --merge needs: a much smaller file");
  add_execution(*verb, options->common);
  verb->callback([options] { run(*options); });
}

}  // namespace lowkey::cli
