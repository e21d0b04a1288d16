#include "attention/sparq.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "attention/layer_harness.h"
#include "base/error.h"
#include "ops/attention_cases.h"
#include "ops/ref/kv_value.h"

namespace lowkey {
namespace {

constexpr int kHeads = 6, kKvHeads = 2, kDim = 48, kGroup = kHeads / kKvHeads;
constexpr int kColumns = 12, kChosen = 20, kSink = 3, kRecent = 9;

constexpr AttentionShape kShape{.layers = 1, .heads = kHeads, .kv_heads = kKvHeads, .head_dim = kDim, .width = 8};

struct Bed : LayerHarness {
  Bed(const std::string& spec, DType kv_type) : LayerHarness(spec, kShape, kv_type, nullptr, 2) {}

  // Appends `count` random tokens and gives what they attend to, [count, H, D].
  std::vector<float> step(int32_t count, unsigned seed, std::vector<float>* queries = nullptr) {
    LayerInputs x{.q = random_normal(count * kHeads * kDim, seed, 2),
                  .k = random_normal(count * kKvHeads * kDim, seed + 1),
                  .v = random_normal(count * kKvHeads * kDim, seed + 2)};
    for (float& v : x.v) v += 0.5f;  // so that the mean is no small thing
    if (queries) *queries = x.q;
    return LayerHarness::step(std::move(x));
  }
};

// The paper's formulas in f64, from the cache's rows alone.
class Formula {
 public:
  Formula(const KvPages& kv, const float* q, bool raw_sum, bool mean)
      : kv_(kv), q_(q), raw_sum_(raw_sum), mean_(mean) {}

  std::vector<double> out(int kv_head) const {
    const std::vector<int> columns = choose_columns(kv_head);
    std::vector<std::vector<double>> approximate;  // of each head of the group
    for (int g = 0; g < kGroup; ++g) approximate.push_back(scores(kv_head, g, columns));
    const std::vector<int64_t> chosen = choose_tokens(approximate);
    std::vector<int> all(kDim);
    std::iota(all.begin(), all.end(), 0);
    std::vector<double> result;
    for (int g = 0; g < kGroup; ++g) {
      const std::vector<double> estimated = softmax(approximate[static_cast<size_t>(g)]);
      const std::vector<double> exact = scores(kv_head, g, all);
      double alpha = 0, norm = 0;
      for (int64_t t : chosen)
        alpha += estimated[static_cast<size_t>(t)], norm += std::exp(exact[static_cast<size_t>(t)]);
      if (!mean_) alpha = 1;
      for (int i = 0; i < kDim; ++i) {
        double attended = 0, sum = 0;
        for (int64_t t : chosen) attended += std::exp(exact[static_cast<size_t>(t)]) / norm * value(kv_head, t, i);
        for (int64_t t = 0; t < kv_.length; ++t) sum += value(kv_head, t, i);
        result.push_back(alpha * attended + (1 - alpha) * sum / static_cast<double>(kv_.length));
      }
    }
    return result;
  }

 private:
  double q(int kv_head, int g, int i) const { return q_[(kv_head * kGroup + g) * kDim + i]; }
  double key(int head, int64_t t, int i) const { return ref::kv_value(kv_.dtype, kv_.token(head, t), i); }
  double value(int head, int64_t t, int i) const { return ref::kv_value(kv_.dtype, kv_.token(head, t), kDim + i); }

  std::vector<int> choose_columns(int kv_head) const {
    std::vector<std::pair<double, int>> order;
    for (int i = 0; i < kDim; ++i) {
      double sum = 0;
      for (int g = 0; g < kGroup; ++g) sum += std::abs(q(kv_head, g, i));
      order.emplace_back(-sum, i);
    }
    std::sort(order.begin(), order.end());
    std::vector<int> columns;
    for (int r = 0; r < kColumns; ++r) columns.push_back(order[static_cast<size_t>(r)].second);
    return columns;
  }
  // q[I] . k[I] / sqrt(D |q[I]|_1 / |q|_1)
  std::vector<double> scores(int kv_head, int g, const std::vector<int>& columns) const {
    double all = 0, part = 0;
    for (int i = 0; i < kDim; ++i) all += std::abs(q(kv_head, g, i));
    for (int i : columns) part += std::abs(q(kv_head, g, i));
    std::vector<double> result;
    for (int64_t t = 0; t < kv_.length; ++t) {
      double dot = 0;
      for (int i : columns) dot += q(kv_head, g, i) * key(kv_head, t, i);
      result.push_back(dot / std::sqrt(kDim * part / all));
    }
    return result;
  }
  static std::vector<double> softmax(std::vector<double> x) {
    double sum = 0;
    for (double& value : x) sum += value = std::exp(value);
    for (double& value : x) value /= sum;
    return x;
  }
  std::vector<int64_t> choose_tokens(const std::vector<std::vector<double>>& approximate) const {
    std::vector<std::pair<double, int64_t>> order;
    std::vector<int64_t> chosen;
    for (int64_t t = 0; t < kv_.length; ++t) {
      double rank = raw_sum_ ? 0 : -1;
      for (const std::vector<double>& head : approximate)
        rank = raw_sum_ ? rank + head[static_cast<size_t>(t)] : std::max(rank, softmax(head)[static_cast<size_t>(t)]);
      if (t < kSink || t >= kv_.length - kRecent)
        chosen.push_back(t);
      else
        order.emplace_back(-rank, t);
    }
    std::sort(order.begin(), order.end());
    for (int k = 0; k < kChosen; ++k) chosen.push_back(order[static_cast<size_t>(k)].second);
    return chosen;
  }

  KvPages kv_;
  const float* q_;
  bool raw_sum_, mean_;
};

// Of a mean of values, weighted by e^score: scores are sums of at most D products, the sums of values and weights have
// one term a token.
double tolerance(const KvPages& kv, const std::vector<float>& q) {
  double most_q = 0, most_k = 0, most_v = 0;
  for (float x : q) most_q = std::max(most_q, std::abs(double{x}));
  for (int head = 0; head < kKvHeads; ++head)
    for (int64_t t = 0; t < kv.length; ++t)
      for (int i = 0; i < kDim; ++i) {
        most_k = std::max(most_k, std::abs(double{ref::kv_value(kv.dtype, kv.token(head, t), i)}));
        most_v = std::max(most_v, std::abs(double{ref::kv_value(kv.dtype, kv.token(head, t), kDim + i)}));
      }
  const double score = most_q * most_k * std::sqrt(kDim);
  return 4 * (score + std::sqrt(static_cast<double>(kv.length))) * most_v * 0x1p-24;
}

void expect_formula(const Bed& bed, const std::vector<float>& q, const std::vector<float>& out, bool raw_sum,
                    bool mean) {
  const double bound = tolerance(bed.pages(), q);
  for (int head = 0; head < kKvHeads; ++head) {
    const std::vector<double> expected = Formula(bed.pages(), q.data(), raw_sum, mean).out(head);
    for (size_t i = 0; i < expected.size(); ++i)
      ASSERT_LE(std::abs(out[static_cast<size_t>(head) * expected.size() + i] - expected[i]), bound)
          << "KV head " << head << ", " << i << " at " << bed.pages().length;
  }
}

std::string spec(const std::string& more) {
  return fmt::format("sparq:r={},k={},sink={},recent={}{}", kColumns, kChosen, kSink, kRecent, more);
}

class SparqFormula : public testing::TestWithParam<std::tuple<DType, bool, bool>> {};

TEST_P(SparqFormula, ADecodingStepIsThePapers) {
  const auto [kv_type, raw_sum, mean] = GetParam();
  Bed bed(spec(std::string(raw_sum ? "" : ",score=softmax") + (mean ? "" : ",mean=off")), kv_type);
  bed.step(300, 1), bed.step(19, 11);
  for (unsigned i = 0; i < 4; ++i) {  // at 320 a page is full
    std::vector<float> q;
    const std::vector<float> out = bed.step(1, 100 + 10 * i, &q);
    expect_formula(bed, q, out, raw_sum, mean);
  }
  bed.truncate(130);
  std::vector<float> q;
  const std::vector<float> out = bed.step(1, 7, &q);
  expect_formula(bed, q, out, raw_sum, mean);
}

TEST_P(SparqFormula, MovedRowsTakeTheirSideDataWithThem) {
  const auto [kv_type, raw_sum, mean] = GetParam();
  Bed bed(spec(std::string(raw_sum ? "" : ",score=softmax") + (mean ? "" : ",mean=off")), kv_type);
  bed.step(400, 1);
  bed.evict({{390, 0}, {260, 63}, {301, 64}, {251, 200}, {252, 249}}, 250);
  for (unsigned i = 0; i < 10; ++i) {  // past 256, where a page begins anew
    std::vector<float> q;
    const std::vector<float> out = bed.step(1, 100 + 10 * i, &q);
    expect_formula(bed, q, out, raw_sum, mean);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, SparqFormula,
                         testing::Combine(testing::Values(DType::kF32, DType::kF16, DType::kBF16), testing::Bool(),
                                          testing::Bool()),
                         [](const auto& info) {
                           return std::string(name(std::get<0>(info.param))) +
                                  (std::get<1>(info.param) ? "_raw" : "_softmax") +
                                  (std::get<2>(info.param) ? "_mean" : "_no_mean");
                         });

TEST(Sparq, OnlyRowsWithAListAreReallocated) {
  Bed one(spec(",min=200"), DType::kF32), dense("dense", DType::kF32);
  EXPECT_EQ(one.step(150, 1), dense.step(150, 1));
  EXPECT_EQ(one.step(1, 5), dense.step(1, 5));
  EXPECT_EQ(one.step(60, 9), dense.step(60, 9));  // a prompt
  EXPECT_NE(one.step(1, 13), dense.step(1, 13));
}

TEST(Sparq, RefusesPagesThatDoNotHoldWholeTiles) {
  const AttentionShape shape{.layers = 1, .heads = 2, .kv_heads = 1, .head_dim = 64, .width = 8};
  const auto method = make_method(parse_attention_spec("sparq"), {.shape = shape, .calibration = nullptr});
  EXPECT_EQ(method->planes(shape, DType::kF16, 128), (std::vector<int64_t>{128 * 64 * 2, 64 * 4}));
  EXPECT_THROW(method->planes(shape, DType::kF16, 32), Error);
  EXPECT_THROW(make_method(parse_attention_spec("sparq:r=65"), {.shape = shape, .calibration = nullptr}), Error);
}

}  // namespace
}  // namespace lowkey
