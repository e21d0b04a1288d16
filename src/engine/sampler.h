// Sampler: from logits to the next token. Order: repetition penalty, then temperature, top-k, top-p, min-p.
// Temperature 0 takes the best token (ties: the lower id) and draws nothing.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <vector>

namespace lowkey {

struct SamplerOptions {
  float temperature = 0.0f;  // >= 0; 0: greedy
  int top_k = 0;             // >= 0; keep the k most probable; 0: all
  float top_p = 1.0f;        // (0, 1]; then the smallest set whose probability reaches p (Holtzman et al. 2019)
  float min_p = 0.0f;        // [0, 1]; then those at least min_p times as probable as the best
  float repetition_penalty =
      1.0f;  // > 0; logits of tokens seen are divided (or multiplied, if negative) by it (Keskar et al. 2019)
  int repetition_window = 256;  // >= 0; how many of the last tokens count as seen
  uint64_t seed = 0;
};

class Sampler {
 public:
  // Throws kInvalidArgument for an option out of range.
  explicit Sampler(const SamplerOptions&);

  // logits: [V], changed in place. recent: the tokens so far, oldest first.
  int32_t sample(std::span<float> logits, std::span<const int32_t> recent);

 private:
  struct Candidate {
    float logit;
    int32_t id;
  };
  void penalise(std::span<float> logits, std::span<const int32_t> recent);
  void keep_likely(std::span<const float> logits);
  int32_t draw();

  SamplerOptions options_;
  std::mt19937_64 random_;
  std::vector<Candidate> candidates_;
  std::vector<float> weights_;
  std::vector<int32_t> seen_;
};

}  // namespace lowkey
