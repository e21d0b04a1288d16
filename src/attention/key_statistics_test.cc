#include "attention/key_statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "base/error.h"
#include "base/half.h"
#include "ops/matmul.h"

namespace lowkey {
namespace {

constexpr double kEps = 0x1p-24;
constexpr int kFirst = 3;  // positions not counted

// One layer's projections and a text to send through them.
class Text {
 public:
  Text(const AttentionShape& shape, int64_t tokens, unsigned seed) : shape_(shape), tokens_(tokens), random_(seed) {
    const int64_t queries = int64_t{shape.heads} * shape.head_dim, keys = int64_t{shape.kv_heads} * shape.head_dim;
    std::mt19937 weights(99);  // the same for every text
    for (auto [m, rows] : {std::pair(&q_, queries), {&k_, keys}, {&v_, keys}}) {
      std::normal_distribution<float> normal(0.05f, 0.3f);
      for (int64_t i = 0; i < rows * shape.width; ++i) m->push_back(normal(weights));
    }
    std::normal_distribution<float> normal(0.4f, 1);
    for (int64_t i = 0; i < tokens * shape.width; ++i) x_.push_back(normal(random_));
    for (int i = 0; i < shape.head_dim / 2; ++i) frequency_.push_back(std::pow(100.f, -2.f * i / shape.head_dim));
  }

  // In steps of `chunk`; keeps q and k, before and after RoPE.
  void record(const Context& context, const KeyRecorder& recorder, int64_t chunk) {
    for (int64_t begin = 0; begin < tokens_; begin += chunk) {
      const int64_t count = std::min(chunk, tokens_ - begin);
      std::vector<int32_t> positions;
      for (int64_t i = 0; i < count; ++i) positions.push_back(static_cast<int32_t>(begin + i));
      const View x = f32_view(x_.data() + begin * shape_.width, {count, shape_.width});
      std::vector<float> q(static_cast<size_t>(count * shape_.heads * shape_.head_dim)),
          k(static_cast<size_t>(count * shape_.kv_heads * shape_.head_dim)), v(k.size());
      matmul(context, {x, weights(k_), f32_view(k.data(), {count, int64_t{shape_.kv_heads} * shape_.head_dim})});
      pre_.insert(pre_.end(), k.begin(), k.end());
      const Projections projections{weights(q_), weights(k_), weights(v_)};
      const KvPages pages{};
      const auto length = static_cast<int32_t>(count);
      Scratch::Frame frame(context.scratch);
      const LayerStep step{.context = context,
                           .frame = frame,
                           .shape = shape_,
                           .layer = 0,
                           .projections = projections,
                           .kv = {&pages, 1},
                           .counts = {&length, 1},
                           .positions = positions,
                           .inverse_frequency = f32_view(frequency_.data(), {shape_.head_dim / 2}),
                           .rope_layout = shape_.rope_layout};
      recorder.project(step, x,
                       {f32_view(q.data(), {count, shape_.heads, shape_.head_dim}),
                        f32_view(k.data(), {count, shape_.kv_heads, shape_.head_dim}),
                        f32_view(v.data(), {count, shape_.kv_heads, shape_.head_dim})});
      post_.insert(post_.end(), k.begin(), k.end());
      queries_.insert(queries_.end(), q.begin(), q.end());
    }
  }

  // Coordinate d (in the half layout) of the counted rows of a head.
  std::vector<double> column(const std::vector<float>& rows, int heads, int head, int d) const {
    const int at =
        shape_.rope_layout == RopeLayout::kHalf ? d : d % (shape_.head_dim / 2) * 2 + d / (shape_.head_dim / 2);
    std::vector<double> values;
    for (int64_t t = kFirst; t < tokens_; ++t)
      values.push_back(rows[static_cast<size_t>((t * heads + head) * shape_.head_dim + at)]);
    return values;
  }
  const std::vector<float>& pre() const { return pre_; }
  const std::vector<float>& post() const { return post_; }
  const std::vector<float>& queries() const { return queries_; }

 private:
  View weights(std::vector<float>& m) const {
    return f32_view(m.data(), {static_cast<int64_t>(m.size()) / shape_.width, shape_.width});
  }

  AttentionShape shape_;
  int64_t tokens_;
  std::mt19937 random_;
  std::vector<float> q_, k_, v_, x_, frequency_, pre_, post_, queries_;
};

double mean(const std::vector<double>& x) {
  double sum = 0;
  for (double v : x) sum += v;
  return sum / static_cast<double>(x.size());
}

double mean_product(const std::vector<double>& x, double x0, const std::vector<double>& y, double y0) {
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) sum += (x[i] - x0) * (y[i] - y0);
  return sum / static_cast<double>(x.size());
}

class KeyRecorderTest : public testing::TestWithParam<RopeLayout> {
 protected:
  const AttentionShape shape_{1, 4, 2, 8, 12, GetParam()};
  const Context context_{2};
};

TEST_P(KeyRecorderTest, CountsWhatItSees) {
  constexpr int64_t kTokens = 203, kChunk = 40;
  Text text(shape_, kTokens, 1);
  const KeyRecorder recorder(shape_, {.tokens = kTokens, .sample = 50, .first = kFirst});
  text.record(context_, recorder, kChunk);
  const KeyStatistics s = recorder.statistics();
  EXPECT_EQ(s.tokens, kTokens - kFirst);
  EXPECT_EQ(s.sample_size, 40);  // every fifth
  const auto dims = static_cast<size_t>(shape_.head_dim);
  // Sums of f32: (n + 2) roundings of the mean product of sizes, about a pivot near the mean.
  const double rounding = (kChunk * 2 + 2) * kEps;
  for (int h = 0; h < 2; ++h)
    for (int i = 0; i < shape_.head_dim; ++i)
      for (int j = 0; j < shape_.head_dim; ++j) {
        const auto at = (static_cast<size_t>(h) * dims + static_cast<size_t>(i)) * dims + static_cast<size_t>(j);
        for (const auto& [rows, means, covariance] : {std::tuple(&text.pre(), &s.pre_mean, &s.pre_covariance),
                                                      {&text.post(), &s.post_mean, &s.post_covariance}}) {
          const auto x = text.column(*rows, 2, h, i), y = text.column(*rows, 2, h, j);
          const double mx = mean(x), my = mean(y);
          const double size = std::sqrt(mean_product(x, mx, x, mx) * mean_product(y, my, y, my));
          EXPECT_NEAR((*covariance)[at], mean_product(x, mx, y, my), 4 * rounding * size) << h << ',' << i << ',' << j;
          EXPECT_NEAR((*means)[at / dims], mx, 4 * kEps * (std::abs(mx) + std::sqrt(mean_product(x, mx, x, mx))));
        }
        double moment = 0, size = 0;
        for (int g = 0; g < 2; ++g) {
          const auto x = text.column(text.queries(), 4, 2 * h + g, i), y = text.column(text.queries(), 4, 2 * h + g, j);
          moment += mean_product(x, 0, y, 0) / 2;
          size += std::sqrt(mean_product(x, 0, x, 0) * mean_product(y, 0, y, 0));
        }
        EXPECT_NEAR(s.query_moment[at], moment, rounding * size);
      }
  for (int64_t n = 0; n < s.sample_size; ++n)
    for (int d = 0; d < shape_.head_dim; ++d) {
      const double key = text.column(text.post(), 2, 1, d)[static_cast<size_t>(5 * n)];
      const float sampled = f16_to_f32(s.sample[static_cast<size_t>((s.sample_size + n) * shape_.head_dim + d)]);
      EXPECT_NEAR(sampled, key, std::abs(key) * 0x1p-11 + 0x1p-25);
    }
}

// Halves that were recorded apart say what one recorder says that saw both.
TEST_P(KeyRecorderTest, MergedHalvesAreTheWhole) {
  constexpr int64_t kTokens = 120, kChunk = 32;
  const RecordOptions options{.tokens = 2 * kTokens, .sample = 60, .first = kFirst};
  const KeyRecorder both(shape_, options), one(shape_, options), other(shape_, options);
  Text a(shape_, kTokens, 2), b(shape_, kTokens + 31, 3);
  a.record(context_, both, kChunk);
  b.record(context_, both, kChunk);
  a.record(context_, one, kChunk);
  b.record(context_, other, kChunk);
  const KeyStatistics halves[] = {one.statistics(), other.statistics()};
  const KeyStatistics merged = merge(halves, 60), whole = both.statistics();
  EXPECT_EQ(merged.tokens, whole.tokens);
  EXPECT_LE(merged.sample_size, 60);
  EXPECT_GE(merged.sample_size, 50);
  EXPECT_EQ(merged.sample.size(), static_cast<size_t>(merged.sample_size) * 2 * 8);
  const auto dims = static_cast<size_t>(shape_.head_dim);
  const double rounding = (kChunk * 2 + 2) * kEps;
  for (size_t i = 0; i < whole.post_covariance.size(); ++i) {
    const size_t head = i / (dims * dims), row = i / dims % dims, column = i % dims;
    const auto tolerance = [&](const std::vector<double>& m) {
      const double* own = m.data() + head * dims * dims;
      return 8 * rounding * std::sqrt(own[row * dims + row] * own[column * dims + column]);
    };
    EXPECT_NEAR(merged.post_covariance[i], whole.post_covariance[i], tolerance(whole.post_covariance)) << i;
    EXPECT_NEAR(merged.pre_covariance[i], whole.pre_covariance[i], tolerance(whole.pre_covariance)) << i;
    EXPECT_NEAR(merged.query_moment[i], whole.query_moment[i], tolerance(whole.query_moment)) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Layouts, KeyRecorderTest, testing::Values(RopeLayout::kHalf, RopeLayout::kInterleaved));

TEST(KeyRecorder, RefusesNothingAndNonsense) {
  const AttentionShape shape{1, 4, 2, 8, 12};
  EXPECT_THROW(KeyRecorder(shape, {.tokens = 0}), Error);
  EXPECT_THROW(KeyRecorder(shape, {.tokens = 1, .sample = -1}), Error);
  EXPECT_THROW(KeyRecorder(shape, {.tokens = 1}).statistics(), Error);
}

TEST(Merge, RefusesOtherShapes) {
  const KeyStatistics parts[] = {{.layers = 1, .kv_heads = 1, .head_dim = 2, .tokens = 1},
                                 {.layers = 2, .kv_heads = 1, .head_dim = 2, .tokens = 1}};
  EXPECT_THROW(merge(parts, 1), Error);
  EXPECT_THROW(merge({}, 1), Error);
}

}  // namespace
}  // namespace lowkey
