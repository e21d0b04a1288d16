#include "linalg/codebook.h"

#include <algorithm>
#include <array>
#include <limits>
#include <vector>

#include "base/error.h"
#include "linalg/nearest_entry.h"

namespace lowkey {
namespace {

constexpr double kLeastGain = 1e-4;  // of the error, below which more rounds are not worth it

constexpr int64_t kSeedPoints = 4096;

// Numbers in [0, 1), the same on every machine (SplitMix64; the standard's distributions differ between libraries).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  double next() noexcept {
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return static_cast<double>((z ^ z >> 31) >> 11) * 0x1p-53;
  }

 private:
  uint64_t state_;
};

// f(point, distance, code) for every point, in order.
template <typename F>
void for_each_nearest(const CodebookPoints& points, std::span<const float> entries, F&& f) {
  constexpr int64_t kBlock = 256;
  std::array<float, kBlock> distances;
  std::array<int32_t, kBlock> codes;
  for (int64_t begin = 0; begin < points.n; begin += kBlock) {
    const int64_t count = std::min(kBlock, points.n - begin);
    nearest_entry(
        {points.values.data() + begin, points.n, count, points.width, entries.data(), distances.data(), codes.data()});
    for (int64_t i = 0; i < count; ++i) f(begin + i, distances[static_cast<size_t>(i)], codes[static_cast<size_t>(i)]);
  }
}

void check(const CodebookPoints& points, std::span<const float> entries, std::span<const int32_t> codes) {
  LK_REQUIRE(
      points.n >= 1 && points.width >= 1 && static_cast<int64_t>(points.values.size()) == points.n * points.width,
      kInvalidArgument, "[codebook] {} numbers, must be {} points of {}", points.values.size(), points.n, points.width);
  LK_REQUIRE(static_cast<int>(entries.size()) == points.width * kCodebookEntries &&
                 static_cast<int64_t>(codes.size()) == points.n,
             kInvalidArgument, "[codebook] {} numbers of entries and {} codes, must be {} and {}", entries.size(),
             codes.size(), points.width * kCodebookEntries, points.n);
}

// Rounds: every entry to the mean of the points that chose it, or, for the first that none chose, to the point
// farthest from its own entry (one a round, as the next farthest is often its neighbour).
class Rounds {
 public:
  explicit Rounds(const CodebookPoints& points)
      : points_(points), sums_(static_cast<size_t>(points.width * kCodebookEntries)) {}

  // Returns the mean squared distance before the move.
  double move(std::span<float> entries) {
    double error = choose(entries);
    empty_ = -1;
    for (int e = kCodebookEntries - 1; e >= 0; --e) {
      const int64_t count = counts_[static_cast<size_t>(e)];
      if (count == 0) empty_ = e;
      for (int w = 0; w < points_.width && count > 0; ++w) {
        const auto at = static_cast<size_t>(w * kCodebookEntries + e);
        entries[at] = static_cast<float>(sums_[at] / static_cast<double>(count));
      }
    }
    for (int w = 0; w < points_.width && empty_ >= 0; ++w)
      entries[static_cast<size_t>(w * kCodebookEntries + empty_)] = value(w, farthest_);
    return error / static_cast<double>(points_.n);
  }
  bool reseeded() const { return empty_ >= 0; }

 private:
  float value(int w, int64_t i) const { return points_.values[static_cast<size_t>(w * points_.n + i)]; }

  double choose(std::span<const float> entries) {
    std::fill(sums_.begin(), sums_.end(), 0.0);
    counts_.fill(0);
    double error = 0;
    float most = -1;
    for_each_nearest(points_, entries, [&](int64_t i, float distance, int32_t code) {
      error += distance;
      ++counts_[static_cast<size_t>(code)];
      for (int w = 0; w < points_.width; ++w) sums_[static_cast<size_t>(w * kCodebookEntries + code)] += value(w, i);
      if (distance > most) most = distance, farthest_ = i;
    });
    return error;
  }

  const CodebookPoints& points_;
  std::vector<double> sums_;  // [width, 16]
  std::array<int64_t, kCodebookEntries> counts_{};
  int64_t farthest_ = 0;
  int empty_ = -1;  // the entry that was reseeded
};

}  // namespace

double nearest_entries(const CodebookPoints& points, std::span<const float> entries, std::span<int32_t> codes) {
  check(points, entries, codes);
  double error = 0;
  for_each_nearest(points, entries, [&](int64_t i, float distance, int32_t code) {
    error += distance;
    codes[static_cast<size_t>(i)] = code;
  });
  return error / static_cast<double>(points.n);
}

void seed_codebook(const CodebookPoints& points, uint64_t seed, std::span<float> entries) {
  LK_REQUIRE(points.n >= 1 && static_cast<int>(entries.size()) == points.width * kCodebookEntries, kInvalidArgument,
             "[codebook] {} points, {} numbers of entries, must be >= 1 and {}", points.n, entries.size(),
             points.width * kCodebookEntries);
  const int64_t draws = std::min(points.n, kSeedPoints);
  const auto point = [&](int64_t i, int w) {  // evenly spaced ones of all
    return points.values[static_cast<size_t>(w * points.n + i * points.n / draws)];
  };
  std::vector<double> distances(static_cast<size_t>(draws), std::numeric_limits<double>::max());
  Random random(seed);
  int64_t chosen = static_cast<int64_t>(random.next() * static_cast<double>(draws));
  for (int e = 0; e < kCodebookEntries; ++e) {
    double sum = 0;
    for (int w = 0; w < points.width; ++w) entries[static_cast<size_t>(w * kCodebookEntries + e)] = point(chosen, w);
    for (int64_t i = 0; i < draws; ++i) {
      double distance = 0;
      for (int w = 0; w < points.width; ++w) {
        const double gap = double{point(i, w)} - point(chosen, w);
        distance += gap * gap;
      }
      double& least = distances[static_cast<size_t>(i)];
      sum += least = std::min(least, distance);
    }
    double left = random.next() * sum;
    for (chosen = 0; chosen + 1 < draws && left >= distances[static_cast<size_t>(chosen)]; ++chosen)
      left -= distances[static_cast<size_t>(chosen)];
  }
}

double fit_codebook(const CodebookPoints& points, int rounds, std::span<float> entries, std::span<int32_t> codes) {
  check(points, entries, codes);
  Rounds round(points);
  double last = std::numeric_limits<double>::infinity();
  for (int i = 0; i < rounds; ++i) {
    const double error = round.move(entries);
    if (!round.reseeded() && last - error < kLeastGain * error) break;
    last = error;
  }
  return nearest_entries(points, entries, codes);
}

}  // namespace lowkey
