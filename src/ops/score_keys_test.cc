#include "ops/score_keys.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numbers>

#include "base/error.h"
#include "ops/attention_cases.h"
#include "ops/ref/kv_value.h"

namespace lowkey {
namespace {

struct Rows {
  AttentionCase shape;
  std::vector<TestSequence> sequences;
  std::vector<KvPages> kv;
  std::vector<float> q, keys;
  int64_t longest = 0;

  explicit Rows(const AttentionCase& c) : shape(c) {
    for (size_t b = 0; b < c.lengths.size(); ++b)
      sequences.emplace_back(c, c.lengths[b], static_cast<unsigned>(10 * b), true);
    for (const TestSequence& s : sequences) kv.push_back(s.kv()), longest = std::max(longest, s.kv().length);
    q = random_normal(static_cast<int64_t>(kv.size()) * c.heads * c.dim, 99);
  }
  ScoreKeysArgs args(int dims, bool per_query_head) {
    const auto rows = static_cast<int64_t>(kv.size());
    const int lists = per_query_head ? shape.heads : shape.kv_heads;
    keys.assign(static_cast<size_t>(rows * lists * longest), -7.f);
    return {.q = {q.data(), DType::kF32, {rows, shape.heads, shape.dim}},
            .kv = kv,
            .dims = dims,
            .scale = 1.f / std::sqrt(static_cast<float>(shape.dim)),
            .per_query_head = per_query_head,
            .keys = {keys.data(), DType::kF32, {rows, lists, longest}}};
  }
  std::vector<float> run(int threads, int dims, bool per_query_head) {
    const Context context(threads);
    score_keys(context, args(dims, per_query_head));
    return keys;
  }
  // A score's error is at most eps sum|q||k| scale; the normaliser's no more than the largest of them.
  double bound(int dims) {
    double most = 0;
    for (size_t n = 0; n < kv.size(); ++n)
      for (int h = 0; h < shape.heads; ++h)
        for (int64_t t = 0; t < kv[n].length; ++t) {
          double sum = 0;
          const std::byte* row = kv[n].token(h / (shape.heads / shape.kv_heads), t);
          for (int i = 0; i < dims; ++i)
            sum += std::abs(
                double{
                    q[(n * static_cast<size_t>(shape.heads) + static_cast<size_t>(h)) * static_cast<size_t>(shape.dim) +
                      static_cast<size_t>(i)]} *
                ref::kv_value(kv[n], row, i));
          most = std::max(most, sum);
        }
    constexpr double kEps = 0x1p-24;
    return (2 * most / std::sqrt(shape.dim) * std::numbers::log2e + 32) * kEps * 2;
  }
};

class ScoreKeys : public testing::TestWithParam<std::tuple<size_t, Isa>> {
 protected:
  void SetUp() override { limit_isa(std::get<1>(GetParam())); }
  void TearDown() override { limit_isa(detected_isa()); }
  const AttentionCase& shape() const { return attention_cases()[std::get<0>(GetParam())]; }
};

TEST_P(ScoreKeys, IsTheReferenceWithinTheBound) {
  Rows rows(shape());
  for (int dims : {1, shape().dim / 2 - 1, shape().dim}) {
    for (bool per_query_head : {false, true}) {
      const std::vector<float> out = rows.run(2, dims, per_query_head);
      ref::score_keys(rows.args(dims, per_query_head));
      const double bound = rows.bound(dims);
      for (size_t i = 0; i < out.size(); ++i)
        ASSERT_LE(std::abs(out[i] - rows.keys[i]), bound) << shape().name << ", dims " << dims << ", key " << i;
    }
  }
}

TEST_P(ScoreKeys, ThreadsAndOtherRowsDoNotChangeABit) {
  Rows rows(shape());
  const std::vector<float> out = rows.run(1, shape().dim, false);
  EXPECT_EQ(out, rows.run(3, shape().dim, false));
  AttentionCase first = shape();
  first.lengths.resize(1);
  Rows one(first);
  const std::vector<float> alone = one.run(2, shape().dim, false);
  for (int head = 0; head < first.kv_heads; ++head)
    for (int64_t t = 0; t < one.longest; ++t)
      ASSERT_EQ(alone[static_cast<size_t>(head * one.longest + t)], out[static_cast<size_t>(head * rows.longest + t)]);
}

TEST_P(ScoreKeys, KeysAreLogProbabilities) {
  if (shape().heads != shape().kv_heads) GTEST_SKIP() << "a maximum over heads does not sum to 1";
  Rows rows(shape());
  const std::vector<float> out = rows.run(2, shape().dim, false);
  double sum = 0;
  for (int64_t t = 0; t < rows.kv[0].length; ++t) sum += std::exp2(out[static_cast<size_t>(t)]);
  EXPECT_NEAR(sum, 1, 1e-4);
}

TEST_P(ScoreKeys, ListsPickTheirColumns) {
  Rows rows(shape());
  const std::vector<float> all = rows.run(2, shape().dim, true);
  std::vector<int32_t> ids;
  for (int32_t t = 0; t < rows.kv[0].length; t += 3) ids.push_back(t);
  std::vector<TokenList> lists(rows.kv.size() * static_cast<size_t>(shape().kv_heads));
  for (int head = 0; head < shape().kv_heads; ++head)
    lists[static_cast<size_t>(head)] = {ids.data(), static_cast<int64_t>(ids.size())};
  ScoreKeysArgs args = rows.args(shape().dim, true);
  args.tokens = lists;
  score_keys(Context(2), args);
  for (int head = 0; head < shape().heads; ++head)
    for (size_t i = 0; i < ids.size(); ++i)
      ASSERT_EQ(rows.keys[static_cast<size_t>(head * rows.longest) + i],
                all[static_cast<size_t>(head * rows.longest + ids[i])]);
}

INSTANTIATE_TEST_SUITE_P(Cases, ScoreKeys,
                         testing::Combine(testing::Range(size_t{0}, attention_cases().size()),
                                          testing::ValuesIn(supported_isas())),
                         [](const auto& info) {
                           return std::string(name(std::get<1>(info.param))) + "_" +
                                  std::to_string(std::get<0>(info.param));
                         });

TEST(ScoreKeysDoor, RefusesNonsense) {
  Rows rows(attention_cases()[2]);
  const Context context(1);
  EXPECT_THROW(score_keys(context, rows.args(0, false)), Error);
  EXPECT_THROW(score_keys(context, rows.args(65, false)), Error);
  ScoreKeysArgs args = rows.args(64, false);
  args.keys.shape[2] = 10;
  EXPECT_THROW(score_keys(context, args), Error);
  args = rows.args(64, true);
  args.per_query_head = false;
  EXPECT_THROW(score_keys(context, args), Error);
  rows.kv[1].head_dim = 48;
  EXPECT_THROW(score_keys(context, rows.args(64, false)), Error);
}

}  // namespace
}  // namespace lowkey
