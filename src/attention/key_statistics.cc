#include "attention/key_statistics.h"

#include <algorithm>

#include "base/error.h"

namespace lowkey {
namespace {

// a: `mean` of the tokens so far, b: of those added, both [D]; covariances alike. Afterwards they are those of all
// (Chan, Golub, LeVeque 1979). share: of the tokens added among all.
void merge_moments(std::span<double> mean, std::span<double> covariance, std::span<const double> added_mean,
                   std::span<const double> added_covariance, double share) {
  const size_t dims = mean.size();
  for (size_t i = 0; i < dims; ++i)
    for (size_t j = 0; j < dims; ++j)
      covariance[i * dims + j] += share * (added_covariance[i * dims + j] - covariance[i * dims + j]) +
                                  share * (1 - share) * (added_mean[i] - mean[i]) * (added_mean[j] - mean[j]);
  for (size_t i = 0; i < dims; ++i) mean[i] += share * (added_mean[i] - mean[i]);
}

// How many sampled keys to take of each part.
std::vector<int64_t> quotas(std::span<const KeyStatistics> parts, int64_t sample) {
  int64_t tokens = 0;
  for (const KeyStatistics& part : parts) tokens += part.tokens;
  // The largest total that no part's share of it exceeds what the part has.
  double total = static_cast<double>(sample);
  for (const KeyStatistics& part : parts)
    total = std::min(
        total, static_cast<double>(part.sample_size) * static_cast<double>(tokens) / static_cast<double>(part.tokens));
  std::vector<int64_t> result;
  for (const KeyStatistics& part : parts)
    result.push_back(
        std::min(part.sample_size,
                 static_cast<int64_t>(total * static_cast<double>(part.tokens) / static_cast<double>(tokens) + 0.5)));
  return result;
}

void merge_samples(KeyStatistics& all, std::span<const KeyStatistics> parts, int64_t sample) {
  const std::vector<int64_t> quota = quotas(parts, sample);
  all.sample.clear();
  all.sample_size = 0;
  for (int64_t n : quota) all.sample_size += n;
  const int64_t dims = all.head_dim;
  for (int64_t head = 0; head < int64_t{all.layers} * all.kv_heads; ++head) {
    for (size_t p = 0; p < parts.size(); ++p) {
      const int64_t size = parts[p].sample_size;
      for (int64_t i = 0; i < quota[p]; ++i) {
        const auto key = parts[p].sample.begin() + (head * size + i * size / quota[p]) * dims;
        all.sample.insert(all.sample.end(), key, key + dims);
      }
    }
  }
}

}  // namespace

KeyStatistics merge(std::span<const KeyStatistics> parts, int64_t sample) {
  LK_REQUIRE(!parts.empty() && sample >= 0, kInvalidArgument,
             "[merge] {} statistics, a sample of {}, must be > 0, >= 0", parts.size(), sample);
  KeyStatistics all = parts[0];
  const auto dims = static_cast<size_t>(all.head_dim);
  for (const KeyStatistics& part : parts.subspan(1)) {
    LK_REQUIRE(part.layers == all.layers && part.kv_heads == all.kv_heads && part.head_dim == all.head_dim,
               kInvalidArgument,
               "[merge] statistics of {} layers, {} KV heads of {} and of {}, {} of {}, must be alike", all.layers,
               all.kv_heads, all.head_dim, part.layers, part.kv_heads, part.head_dim);
    all.tokens += part.tokens;
    all.first = std::min(all.first, part.first), all.end = std::max(all.end, part.end);
    const double share = static_cast<double>(part.tokens) / static_cast<double>(all.tokens);
    for (size_t head = 0; head < all.post_mean.size() / dims; ++head) {
      const auto vector = [&](auto& v) { return std::span(v).subspan(head * dims, dims); };
      const auto matrix = [&](auto& m) { return std::span(m).subspan(head * dims * dims, dims * dims); };
      merge_moments(vector(all.pre_mean), matrix(all.pre_covariance), vector(part.pre_mean),
                    matrix(part.pre_covariance), share);
      merge_moments(vector(all.post_mean), matrix(all.post_covariance), vector(part.post_mean),
                    matrix(part.post_covariance), share);
    }
    for (size_t i = 0; i < all.query_moment.size(); ++i)
      all.query_moment[i] += share * (part.query_moment[i] - all.query_moment[i]);
  }
  merge_samples(all, parts, sample);
  return all;
}

}  // namespace lowkey
