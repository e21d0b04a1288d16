// lowkey eval --task rank: how many numbers keys really take, by layer and KV head.
#include <fmt/format.h>

#include <cmath>

#include "apps/cli/calibration_report.h"
#include "apps/cli/eval.h"
#include "apps/cli/progress.h"
#include "apps/cli/signals.h"
#include "base/error.h"
#include "lab/calibrate.h"
#include "lab/key_spectrum.h"
#include "linalg/spectrum.h"

namespace lowkey::cli {
namespace {

// What there is; else from the text itself, which is enough for spectra.
std::shared_ptr<const Calibration> calibration_of(const Evaluation& e) {
  constexpr int64_t kTokens = 32768;
  if (e.inputs.calibration != nullptr) return e.inputs.calibration;
  Progress progress("reading keys", "tokens");
  const CalibrateOptions options{.tokens = kTokens,
                                 .context = e.options.context,
                                 .sample = 0,
                                 .chunk = e.options.chunk,
                                 .statistics = false,
                                 .tool = "",
                                 .fit = {.codebook_bits = {}}};
  const CalibrateText text{e.options.text, e.text};
  return std::make_shared<Calibration>(calibrate(e.context, e.model, e.tokenizer, {&text, 1}, options,
                                                 [&](const char* stage, int64_t done, int64_t total) {
                                                   progress.retitle(stage);
                                                   progress.update(done, total);
                                                   LK_REQUIRE(!interrupted(), kInvalidArgument, "interrupted");
                                                 }));
}

using Measure = nlohmann::json (*)(std::span<const float> spectrum);

// [L][KH]
nlohmann::json by_head(const Calibration& c, BasisKind kind, Measure measure) {
  const auto dims = static_cast<size_t>(c.head_dim);
  nlohmann::json layers = nlohmann::json::array();
  for (int layer = 0; layer < c.layers; ++layer) {
    nlohmann::json heads = nlohmann::json::array();
    for (int h = 0; h < c.kv_heads; ++h)
      heads.push_back(measure(std::span(c.basis(kind).spectrum).subspan(c.head(layer, h) * dims, dims)));
    layers.push_back(std::move(heads));
  }
  return layers;
}

double mean_of(const nlohmann::json& layers) {
  double sum = 0, count = 0;
  for (const auto& heads : layers)
    for (const auto& value : heads) sum += value.get<double>(), count += 1;
  return sum / count;
}

}  // namespace

nlohmann::json eval_rank(const Evaluation& e) {
  const auto calibration = calibration_of(e);
  const Calibration& c = *calibration;
  nlohmann::json json = calibration_facts(c)["ranks"];
  for (BasisKind kind : {BasisKind::kPre, BasisKind::kPost}) {  // of the others a spectrum is no variance of keys
    nlohmann::json& basis = json[std::string(name(kind))];
    basis["spectrum"] = by_head(c, kind, [](std::span<const float> s) { return nlohmann::json(s); });
    basis["entropy"] = by_head(c, kind, [](std::span<const float> s) { return nlohmann::json(entropy_share(s)); });
    basis["effective_rank"] =
        by_head(c, kind, [](std::span<const float> s) { return nlohmann::json(effective_rank(s)); });
    basis["svd_entropy"] = by_head(c, kind, [](std::span<const float> s) {
      std::vector<double> values(s.begin(), s.end());
      for (double& value : values) value = std::sqrt(value);  // the singular value of its direction, but for a factor
      return nlohmann::json(svd_entropy(values));
    });
  }
  if (e.options.common.json) return json;
  print_ranks(c);
  fmt::print("\n{:<12}{:>10}{:>18}\n", "mean", "entropy", "effective rank");
  for (const char* kind : {"pre", "post"})
    fmt::print("{:<12}{:>10.4f}{:>18.1f}\n", fmt::format("{}-RoPE", kind), mean_of(json[kind]["entropy"]),
               mean_of(json[kind]["effective_rank"]));
  fmt::print("entropy: of the spectrum, 0 one direction, 1 all {} alike; effective rank: its exponential\n",
             c.head_dim);
  return json;
}

}  // namespace lowkey::cli
