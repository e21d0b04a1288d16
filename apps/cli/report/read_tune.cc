#include "apps/cli/report/read_tune.h"

#include <fmt/format.h>

#include <cmath>

#include "apps/cli/report/json_reader.h"
#include "base/error.h"

namespace lowkey::cli {
namespace {

using nlohmann::json;

TuneRow read_row(const json& measure, const std::string& setting) {
  const json& rise = object_at(measure, "perplexity_increase_percent");
  return {.setting = setting,
          .bytes = number(measure, "bytes"),
          .seconds = number(measure, "seconds"),
          .kl = number(measure, "kl"),
          .increase = {.mean = number(rise, "mean"), .low = number(rise, "low"), .high = number(rise, "high")}};
}

std::vector<std::string> texts(const json& object, const std::string& key) {
  std::vector<std::string> all;
  for (const json& value : array(object, key)) {
    LK_REQUIRE(value.is_string(), kCorruptFile, "'{}' is not an array of texts", key);
    all.push_back(value.get<std::string>());
  }
  return all;
}

}  // namespace

TuneFacts read_tune(const json& all) {
  TuneFacts tune{.for_time = text(all, "for") == "time", .max_loss = number(all, "max_loss")};
  const std::vector<std::string> candidates = texts(all, "candidates");
  const json& uniform = array(all, "uniform");
  LK_REQUIRE(!candidates.empty() && uniform.size() == candidates.size(), kCorruptFile,
             "'uniform' has {} settings, 'candidates' {}", uniform.size(), candidates.size());
  for (size_t c = 0; c < candidates.size(); ++c) tune.uniform.push_back(read_row(uniform[c], candidates[c]));
  const double best = number(all, "best_trial");
  for (const json& trial : array(all, "trials")) {
    const size_t t = tune.profiles.size();
    tune.profiles.push_back(read_row(trial, fmt::format("profile {}", t + 1)));
    tune.profiles.back().taken = static_cast<double>(t) == best;
  }
  tune.layers = texts(all, "layers");
  for (const json& layer : array(all, "sensitivity_kl")) {
    LK_REQUIRE(layer.is_array(), kCorruptFile, "'sensitivity_kl' is not an array of arrays");
    tune.sensitivity.emplace_back();
    for (const json& kl : layer) tune.sensitivity.back().push_back(as_number(kl, "sensitivity_kl"));
    LK_REQUIRE(tune.sensitivity.back().size() == tune.candidates() && tune.candidates() <= candidates.size(),
               kCorruptFile, "a layer of 'sensitivity_kl' has {} settings", tune.sensitivity.back().size());
  }
  if (member(all, "checked") && member(all, "uniform_checked"))
    tune.checked = {read_row(object_at(all, "checked"), "the profile"),
                    read_row(object_at(all, "uniform_checked"), text(all, "best_uniform"))};
  return tune;
}

}  // namespace lowkey::cli
