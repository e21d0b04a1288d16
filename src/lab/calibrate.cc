#include "lab/calibrate.h"

#include <algorithm>

#include "base/error.h"
#include "base/fnv1a.h"
#include "engine/online_calibration.h"
#include "lab/perplexity.h"

namespace lowkey {
namespace {

constexpr int64_t kLongestWindow = 16384;
constexpr int64_t kShortestWindow = 64;

Calibration fit(const Context& context, KeyStatistics statistics, const CalibrateOptions& options,
                const CalibrateProgress& progress) {
  Calibration calibration = fit_calibration(context, statistics, options.fit, [&](int64_t done, int64_t total) {
    if (progress) progress("fitting", done, total);
  });
  calibration.tool = options.tool;
  if (options.statistics) calibration.statistics = std::move(statistics);
  return calibration;
}

std::vector<int32_t> joined_tokens(const Tokenizer& tokenizer, std::span<const CalibrateText> texts) {
  std::vector<int32_t> stream;
  for (const CalibrateText& text : texts) {
    const auto ids = document_tokens(tokenizer, text.text);
    stream.insert(stream.end(), ids.begin(), ids.end());
  }
  return stream;
}

}  // namespace

Calibration calibrate(const Context& context, const Model& model, const Tokenizer& tokenizer,
                      std::span<const CalibrateText> texts, const CalibrateOptions& options,
                      const CalibrateProgress& progress) {
  LK_REQUIRE(options.tokens >= 0 && options.context >= 0 && options.sample >= 0 && options.chunk >= 1, kInvalidArgument,
             "[calibrate] tokens={} context={} sample={} chunk={}, must be >= 0, >= 0, >= 0, >= 1", options.tokens,
             options.context, options.sample, options.chunk);
  const std::vector<int32_t> stream = joined_tokens(tokenizer, texts);
  const auto all = static_cast<int64_t>(stream.size());
  const int64_t wanted = options.context > 0 ? options.context : std::min(model.shape().context, kLongestWindow);
  const int64_t window = std::min(wanted, all);
  LK_REQUIRE(window >= kShortestWindow, kInvalidArgument,
             "[calibrate] windows of {} tokens, from {} of text and a context of {}, must be {} or more", window, all,
             wanted, kShortestWindow);
  const int64_t pieces = all / window;
  const int64_t windows = options.tokens == 0 ? pieces : std::min(pieces, (options.tokens + window - 1) / window);
  const KeyRecorder recorder(model.shape().attention,
                             {.tokens = windows * window, .sample = options.sample, .first = options.skip_first});
  int64_t done = 0;
  for (int64_t i = 0; i < windows; ++i) {
    const std::span tokens(stream.data() + i * pieces / windows * window, static_cast<size_t>(window));
    record_keys(context, model, recorder, tokens, options.chunk, [&](int64_t count) {
      done += count;
      if (progress) progress("reading", done, windows * window);
    });
  }
  Calibration calibration = fit(context, recorder.statistics(), options, progress);
  calibration.model = model.fingerprint();
  calibration.context = window;
  for (const CalibrateText& text : texts)
    calibration.texts.push_back({text.name, static_cast<int64_t>(text.text.size()),
                                 fmt::format("{:016x}", fnv1a(std::as_bytes(std::span(text.text))))});
  return calibration;
}

Calibration merge_calibrations(const Context& context, std::span<const Calibration> parts,
                               const CalibrateOptions& options, const CalibrateProgress& progress) {
  LK_REQUIRE(!parts.empty(), kInvalidArgument, "[merge] no calibrations");
  std::vector<KeyStatistics> statistics;
  std::vector<CalibrationText> texts;
  for (const Calibration& part : parts) {
    LK_REQUIRE(part.model == parts[0].model, kInvalidArgument,
               "[merge] calibrations of models {} and {}, must be alike", parts[0].model, part.model);
    LK_REQUIRE(part.statistics.has_value(), kInvalidArgument,
               "[merge] a calibration without statistics, must be made without --no-statistics");
    statistics.push_back(*part.statistics);
    texts.insert(texts.end(), part.texts.begin(), part.texts.end());
  }
  Calibration merged = fit(context, merge(statistics, options.sample), options, progress);
  merged.model = parts[0].model;
  merged.texts = std::move(texts);
  for (const Calibration& part : parts) merged.context = std::max(merged.context, part.context);
  return merged;
}

}  // namespace lowkey
