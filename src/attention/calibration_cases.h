// Keys and queries of known moments, and calibrations fitted to them. For tests only.
#pragma once

#include <cmath>
#include <random>
#include <vector>

#include "attention/fit_calibration.h"
#include "base/half.h"

namespace lowkey {

// Keys and queries of each layer and KV head: Gaussian, with variances that fall off along random directions.
class KeyWorld {
 public:
  KeyWorld(int layers, int kv_heads, int dims, int64_t tokens, unsigned seed = 1)
      : layers_(layers), kv_heads_(kv_heads), dims_(dims), tokens_(tokens) {
    std::mt19937 random(seed);
    for (int i = 0; i < layers * kv_heads; ++i) {
      keys_.push_back(draw(random, 0.97));
      queries_.push_back(draw(random, 0.97));
    }
  }

  int64_t tokens() const { return tokens_; }
  int dims() const { return dims_; }
  const float* key(size_t head, int64_t t) const { return keys_[head].data() + t * dims_; }
  const float* query(size_t head, int64_t t) const { return queries_[head].data() + t * dims_; }

  KeyStatistics statistics() const {
    KeyStatistics s{.layers = layers_, .kv_heads = kv_heads_, .head_dim = dims_, .tokens = tokens_};
    s.end = tokens_;
    for (int i = 0; i < dims_ / 2; ++i)
      s.inverse_frequency.push_back(std::pow(100.f, -2.f * static_cast<float>(i) / static_cast<float>(dims_)));
    s.sample_size = tokens_;
    for (size_t head = 0; head < keys_.size(); ++head) {
      const auto mean = mean_of(keys_[head]);
      const auto covariance = moment_of(keys_[head], mean);
      const auto moment = moment_of(queries_[head], std::vector<double>(mean.size(), 0.0));
      append(s.pre_mean, mean), append(s.post_mean, mean);
      append(s.post_covariance, covariance), append(s.query_moment, moment);
      // Keys before RoPE: something else with the same size.
      append(s.pre_covariance, moment);
      for (float x : keys_[head]) s.sample.push_back(f32_to_f16(x));
    }
    return s;
  }

 private:
  // A Gaussian with standard deviations decay^i about a mean, in a basis mixed by a few rounds of plane rotations.
  std::vector<float> draw(std::mt19937& random, double decay) const {
    std::normal_distribution<double> normal;
    std::uniform_real_distribution<double> angle(0, 3.14);
    const auto dims = static_cast<size_t>(dims_);
    std::vector<double> angles, mean;
    for (size_t i = 0; i < 3 * dims; ++i) angles.push_back(angle(random));
    for (size_t i = 0; i < dims; ++i) mean.push_back(normal(random));
    std::vector<float> rows;
    for (int64_t t = 0; t < tokens_; ++t) {
      std::vector<double> x;
      for (size_t i = 0; i < dims; ++i) x.push_back(normal(random) * std::pow(decay, static_cast<double>(i)));
      for (size_t r = 0; r < 3 * dims; ++r) {
        double &a = x[r % dims], &b = x[(r * 7 + 1 + r / dims) % dims];
        if (&a == &b) continue;
        const double c = std::cos(angles[r]), s = std::sin(angles[r]);
        std::tie(a, b) = std::pair(c * a - s * b, s * a + c * b);
      }
      for (size_t i = 0; i < dims; ++i) rows.push_back(static_cast<float>(x[i] + mean[i]));
    }
    return rows;
  }

  std::vector<double> mean_of(const std::vector<float>& rows) const {
    std::vector<double> mean(static_cast<size_t>(dims_), 0.0);
    for (size_t i = 0; i < rows.size(); ++i) mean[i % mean.size()] += rows[i] / static_cast<double>(tokens_);
    return mean;
  }

  std::vector<double> moment_of(const std::vector<float>& rows, const std::vector<double>& about) const {
    const auto dims = static_cast<size_t>(dims_);
    std::vector<double> moment(dims * dims, 0.0);
    for (size_t t = 0; t < static_cast<size_t>(tokens_); ++t)
      for (size_t i = 0; i < dims; ++i)
        for (size_t j = 0; j < dims; ++j)
          moment[i * dims + j] +=
              (rows[t * dims + i] - about[i]) * (rows[t * dims + j] - about[j]) / static_cast<double>(tokens_);
    return moment;
  }

  static void append(std::vector<double>& to, const std::vector<double>& from) {
    to.insert(to.end(), from.begin(), from.end());
  }

  int layers_, kv_heads_, dims_;
  int64_t tokens_;
  std::vector<std::vector<float>> keys_, queries_;  // [L * KH][tokens, D]
};

inline Calibration fit_world(const KeyWorld& world, std::vector<int> bits) {
  Calibration c = fit_calibration(Context(2), world.statistics(), {.codebook_bits = std::move(bits)}, nullptr);
  c.model = "a-model", c.tool = "test", c.context = 64;
  c.texts = {{"a.txt", 3, "0123456789abcdef"}};
  return c;
}

}  // namespace lowkey
