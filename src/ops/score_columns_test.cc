#include "ops/score_columns.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "base/error.h"
#include "ops/attention_cases.h"
#include "ops/choose_columns.h"
#include "ops/columns_append.h"
#include "ops/group_keys.h"
#include "ops/score_keys.h"

namespace lowkey {
namespace {

constexpr int kPlane = 1;

// Sequences with a plane for the columns, nothing in it yet.
struct Rows {
  AttentionCase shape;
  std::vector<TestSequence> sequences;
  std::vector<std::vector<std::byte>> planes;
  std::vector<KvPages> kv;
  std::vector<float> q, keys, scores;
  int64_t longest = 0;

  explicit Rows(const AttentionCase& c, bool shuffled = true) : shape(c) {
    for (size_t b = 0; b < c.lengths.size(); ++b)
      sequences.emplace_back(c, c.lengths[b], static_cast<unsigned>(10 * b), shuffled);
    for (const TestSequence& s : sequences) {
      const int64_t bytes = key_columns_page_bytes(c.dtype, c.dim, c.page_tokens);
      const int64_t pages = (s.kv().length + c.page_tokens - 1) / c.page_tokens;
      planes.emplace_back(static_cast<size_t>(pages * bytes * c.kv_heads), std::byte{0x3b});
      kv.push_back(s.kv());
      kv.back().planes[kPlane] = {planes.back().data(), pages * bytes, bytes};
      longest = std::max(longest, s.kv().length);
    }
    q = random_normal(static_cast<int64_t>(kv.size()) * c.heads * c.dim, 99);
  }
  void append(int threads = 2) {
    const Context context(threads);
    for (const KvPages& pages : kv) columns_append(context, {.kv = pages, .tokens = pages.length, .plane = kPlane});
  }
  ScoreColumnsArgs args(int columns, bool raw_sum) {
    const auto rows = static_cast<int64_t>(kv.size());
    keys.assign(static_cast<size_t>(rows * shape.kv_heads * longest), -7.f);
    scores.assign(static_cast<size_t>(rows * shape.heads * longest), -7.f);
    return {.q = {q.data(), DType::kF32, {rows, shape.heads, shape.dim}},
            .kv = kv,
            .plane = kPlane,
            .columns = columns,
            .scale = 1.f / std::sqrt(static_cast<float>(shape.dim)),
            .raw_sum = raw_sum,
            .keys = {keys.data(), DType::kF32, {rows, shape.kv_heads, longest}},
            .scores = {scores.data(), DType::kF32, {rows, shape.heads, longest}}};
  }
  std::vector<float> run(int threads, int columns, bool raw_sum = false) {
    const Context context(threads);
    score_columns(context, args(columns, raw_sum));
    return keys;
  }
  // A score is a sum of R products, each at most |q| |k|, times at most sqrt(D) of temperature; the normaliser is off
  // by no more than the largest of them, a raw sum by all of them.
  double tolerance(int columns) {
    double most_q = 0, most_k = 0;
    for (float x : q) most_q = std::max(most_q, std::abs(double{x}));
    for (TestSequence& s : sequences)
      for (float x : s.keys()) most_k = std::max(most_k, std::abs(double{x}));
    constexpr double kEps = 0x1p-24;
    const double score = most_q * most_k * columns * std::numbers::log2e;
    return (2 + shape.heads / shape.kv_heads) * (score + 32) * kEps * 2;
  }
};

class Columns : public testing::TestWithParam<std::tuple<size_t, Isa>> {
 protected:
  void SetUp() override {
    limit_isa(std::get<1>(GetParam()));
    shape_.page_tokens = std::max(shape_.page_tokens, kColumnTileTokens);
    if (has_scales(shape_.dtype)) GTEST_SKIP() << "refused: rows of bytes have scales";
  }
  void TearDown() override { limit_isa(detected_isa()); }
  AttentionCase shape_ = attention_cases()[std::get<0>(GetParam())];
};

TEST_P(Columns, ScoresAreTheReferenceWithinTheBound) {
  Rows rows(shape_);
  rows.append();
  for (int columns : {1, shape_.dim / 4, shape_.dim}) {
    for (bool raw_sum : {false, true}) {
      const std::vector<float> out = rows.run(2, columns, raw_sum), scores = rows.scores;
      ref::score_columns(rows.args(columns, raw_sum));
      const double tolerance = rows.tolerance(columns);
      for (size_t i = 0; i < out.size(); ++i)
        ASSERT_LE(std::abs(out[i] - rows.keys[i]), tolerance)
            << shape_.name << ", " << columns << " columns, raw sum " << raw_sum << ", " << i;
      for (size_t i = 0; i < scores.size(); ++i)
        ASSERT_LE(std::abs(scores[i] - rows.scores[i]), tolerance) << shape_.name << ", score " << i;
    }
  }
}

TEST_P(Columns, PiecesThreadsAndPageOrderDoNotChangeABit) {
  Rows whole(shape_, false), pieces(shape_, true), reference(shape_, false);
  whole.append(1);
  for (const KvPages& kv : reference.kv) ref::columns_append({.kv = kv, .tokens = kv.length, .plane = kPlane});
  EXPECT_EQ(whole.planes, reference.planes);
  const Context context(3);
  for (KvPages kv : pieces.kv) {
    const int64_t length = kv.length;
    for (int64_t at = 0; at < length;) {
      const int64_t count = std::min<int64_t>(at % 7 == 0 ? 1 : 50, length - at);
      kv.length = at += count;
      columns_append(context, {.kv = kv, .tokens = count, .plane = kPlane});
    }
  }
  EXPECT_EQ(whole.run(1, shape_.dim / 4), pieces.run(3, shape_.dim / 4));
}

TEST_P(Columns, ScoresOfHeadsComeBesideKeysOrNot) {
  Rows rows(shape_);
  rows.append();
  for (bool raw_sum : {false, true}) {
    const std::vector<float> beside = rows.run(2, shape_.dim / 4, raw_sum);
    ScoreColumnsArgs alone = rows.args(shape_.dim / 4, raw_sum);
    alone.scores = {};
    score_columns(Context(2), alone);
    EXPECT_EQ(rows.keys, beside);
  }
}

TEST_P(Columns, AllColumnsRankAsKeysDo) {
  Rows rows(shape_);
  rows.append();
  const std::vector<float> out = rows.run(2, shape_.dim);
  std::vector<float> keys(out.size(), -7.f);
  const ScoreColumnsArgs a = rows.args(shape_.dim, false);
  ScoreKeysArgs exact{
      .q = a.q, .kv = a.kv, .dims = shape_.dim, .scale = a.scale, .per_query_head = false, .keys = a.keys};
  exact.keys.data = keys.data();
  score_keys(Context(2), exact);
  const double tolerance = 2 * rows.tolerance(shape_.dim);
  for (size_t i = 0; i < out.size(); ++i) ASSERT_LE(std::abs(out[i] - keys[i]), tolerance) << i;
}

INSTANTIATE_TEST_SUITE_P(Cases, Columns,
                         testing::Combine(testing::Range(size_t{0}, attention_cases().size()),
                                          testing::ValuesIn(supported_isas())),
                         [](const auto& info) {
                           return std::string(name(std::get<1>(info.param))) + "_" +
                                  std::to_string(std::get<0>(info.param));
                         });

TEST(ChooseColumns, TakesTheLargestSumsAndTheLowerOfEqualOnes) {
  const float q[] = {1, -5, 2, 0, /**/ -1, 1, 0, 6};  // sums 2 6 2 6
  int32_t columns[4];
  float sums[4];
  choose_columns(q, 2, 4, 3, columns, sums);
  EXPECT_EQ(std::vector<int32_t>(columns, columns + 3), (std::vector<int32_t>{0, 1, 3}));
  EXPECT_FLOAT_EQ(column_temperature(q, 4, columns, 3), std::sqrt(8.f / 6.f));
  const float zeros[4] = {};
  EXPECT_EQ(column_temperature(zeros, 4, columns, 3), 1.f);
}

TEST(Log2Sum, IsTheReference) {
  for (int64_t count : {1, 7, 300, 10000}) {
    const std::vector<float> x = random_normal(count, 3, 20);
    EXPECT_NEAR(log2_sum(x.data(), count), ref::log2_sum(x.data(), count), 0x1p-24 * (128 + 100)) << count;
  }
}

TEST(ColumnsDoor, RefusesNonsense) {
  Rows rows(attention_cases()[2]);
  const Context context(1);
  const auto refuses = [&](auto&& spoil) {
    ScoreColumnsArgs args = rows.args(8, false);
    std::vector<KvPages> kv = rows.kv;
    args.kv = kv;
    spoil(args, kv);
    EXPECT_THROW(score_columns(context, args), Error);
  };
  using Kv = std::vector<KvPages>;
  refuses([](ScoreColumnsArgs& a, Kv&) { a.columns = 0; });
  refuses([](ScoreColumnsArgs& a, Kv&) { a.columns = 65; });
  refuses([](ScoreColumnsArgs& a, Kv&) { a.plane = 0; });
  refuses([](ScoreColumnsArgs& a, Kv&) { a.keys.shape[2] = 3; });
  refuses([](ScoreColumnsArgs& a, Kv&) { a.q.shape[2] = 48; });
  refuses([](ScoreColumnsArgs& a, Kv&) { a.scores.shape[1] = 2; });
  refuses([](ScoreColumnsArgs&, Kv& kv) { kv[1].planes[kPlane].page_bytes -= 2; });
  refuses([](ScoreColumnsArgs&, Kv& kv) { kv[0].page_tokens = 32; });
  EXPECT_THROW(columns_append(context, {.kv = rows.kv[0], .tokens = 301, .plane = kPlane}), Error);
}

}  // namespace
}  // namespace lowkey
