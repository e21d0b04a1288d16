#include "engine/sampler.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace lowkey {

Sampler::Sampler(const SamplerOptions& options) : options_(options), random_(options.seed) {
  const auto& o = options;
  LK_REQUIRE(std::isfinite(o.temperature) && o.temperature >= 0, kInvalidArgument,
             "[sampler] temperature={}, must be >= 0", o.temperature);
  LK_REQUIRE(o.top_k >= 0, kInvalidArgument, "[sampler] top_k={}, must be >= 0", o.top_k);
  LK_REQUIRE(o.top_p > 0 && o.top_p <= 1, kInvalidArgument, "[sampler] top_p={}, must be above 0 and at most 1",
             o.top_p);
  LK_REQUIRE(o.min_p >= 0 && o.min_p <= 1, kInvalidArgument, "[sampler] min_p={}, must be 0 to 1", o.min_p);
  LK_REQUIRE(std::isfinite(o.repetition_penalty) && o.repetition_penalty > 0, kInvalidArgument,
             "[sampler] repetition_penalty={}, must be > 0", o.repetition_penalty);
  LK_REQUIRE(o.repetition_window >= 0, kInvalidArgument, "[sampler] repetition_window={}, must be >= 0",
             o.repetition_window);
}

int32_t Sampler::sample(std::span<float> logits, std::span<const int32_t> recent) {
  penalise(logits, recent);
  if (options_.temperature == 0)
    return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  keep_likely(logits);
  return draw();
}

void Sampler::penalise(std::span<float> logits, std::span<const int32_t> recent) {
  if (options_.repetition_penalty == 1.0f) return;
  const size_t window = std::min(recent.size(), static_cast<size_t>(options_.repetition_window));
  seen_.assign(recent.end() - static_cast<int64_t>(window), recent.end());
  std::sort(seen_.begin(), seen_.end());
  seen_.erase(std::unique(seen_.begin(), seen_.end()), seen_.end());
  for (int32_t id : seen_) {
    float& x = logits[static_cast<size_t>(id)];
    x = x > 0 ? x / options_.repetition_penalty : x * options_.repetition_penalty;
  }
}

// Fills candidates_ (best first) and weights_ with what top-k, top-p and min-p leave.
void Sampler::keep_likely(std::span<const float> logits) {
  candidates_.clear();
  for (size_t i = 0; i < logits.size(); ++i) candidates_.push_back({logits[i], static_cast<int32_t>(i)});
  const auto better = [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  };
  const auto top_k = static_cast<size_t>(options_.top_k);
  if (top_k > 0 && top_k < candidates_.size()) {
    std::nth_element(candidates_.begin(), candidates_.begin() + options_.top_k, candidates_.end(), better);
    candidates_.resize(top_k);
  }
  std::sort(candidates_.begin(), candidates_.end(), better);

  weights_.clear();
  double total = 0;
  for (const Candidate& c : candidates_) {
    weights_.push_back(std::exp((c.logit - candidates_[0].logit) / options_.temperature));
    total += weights_.back();
  }
  size_t keep = 0;
  double mass = 0;
  while (keep < weights_.size() && mass < options_.top_p * total && weights_[keep] >= options_.min_p)
    mass += weights_[keep++];
  keep = std::max<size_t>(keep, 1);
  candidates_.resize(keep), weights_.resize(keep);
}

int32_t Sampler::draw() {
  double total = 0;
  for (float w : weights_) total += w;
  // 53 random bits by hand: the standard distributions differ between libraries, and a seed should mean the same
  // everywhere.
  double left = static_cast<double>(random_() >> 11) * 0x1p-53 * total;
  for (size_t i = 0; i + 1 < weights_.size(); ++i)
    if ((left -= weights_[i]) < 0) return candidates_[i].id;
  return candidates_.back().id;
}

}  // namespace lowkey
