#include "attention/h2o.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <set>

#include "attention/calibration_cases.h"
#include "attention/layer_harness.h"
#include "ops/attention_cases.h"
#include "ops/ref/index_code.h"
#include "ops/ref/kv_value.h"

namespace lowkey {
namespace {

constexpr int kKvHeads = 2, kGroup = 3, kHeads = kKvHeads * kGroup, kDim = 16;
constexpr AttentionShape kShape{.layers = 1, .heads = kHeads, .kv_heads = kKvHeads, .head_dim = kDim, .width = 8};

// Random tokens; the first number of a value is its token's position.
LayerInputs tokens_at(int64_t position, int32_t count, unsigned seed) {
  LayerInputs x{.q = random_normal(count * kHeads * kDim, seed, 1.5f),
                .k = random_normal(count * kKvHeads * kDim, seed + 1, 1.5f),
                .v = random_normal(count * kKvHeads * kDim, seed + 2)};
  for (int32_t i = 0; i < count; ++i)
    for (int head = 0; head < kKvHeads; ++head)
      x.v[static_cast<size_t>((i * kKvHeads + head) * kDim)] = static_cast<float>(position + i);
  return x;
}

std::vector<int64_t> positions_of(const KvPages& kv, int head) {
  std::vector<int64_t> positions;
  for (int64_t row = 0; row < kv.length; ++row)
    positions.push_back(static_cast<int64_t>(ref::kv_value(kv.dtype, kv.token(head, row), kDim)));
  return positions;
}

struct Budget {
  std::string name, heavy, recent;
  double heavy_part, recent_part;  // 0: the word is a count

  static int64_t tokens(const std::string& word, double part, int64_t seen) {
    return part > 0 ? std::max<int64_t>(static_cast<int64_t>(part * static_cast<double>(seen)), 1) : std::stoll(word);
  }
  int64_t recent_of(int64_t seen) const { return tokens(recent, recent_part, seen); }
  int64_t of(int64_t seen) const { return tokens(heavy, heavy_part, seen) + recent_of(seen); }
  std::string spec() const { return "h2o:heavy=" + heavy + ",recent=" + recent; }
};

// The algorithm for one KV head, in f64. Keys come from a cache that forgets nothing: row t is token t.
class H2oModel {
 public:
  H2oModel(int head, const Budget& budget, bool whole_prompt)
      : head_(head), budget_(budget), whole_prompt_(whole_prompt) {}

  // q: [count, H, D], of the last `count` tokens of `all`.
  void step(const KvPages& all, const std::vector<float>& q, int32_t count) {
    for (int32_t i = 0; i < count; ++i) {
      sums_[all.length - count + i] = 0;
      for (int g = 0; g < kGroup; ++g)
        add_shares(all, q.data() + (int64_t{i} * kHeads + int64_t{head_} * kGroup + g) * kDim);
    }
    if (count == 1 || !whole_prompt_) evict(all.length);
  }

  std::set<int64_t> kept() const {
    std::set<int64_t> positions;
    for (const auto& [position, sum] : sums_) positions.insert(position);
    return positions;
  }
  // By how much the nearest choice so far was one, over the sum's rounding.
  double margin() const { return margin_; }

 private:
  void add_shares(const KvPages& all, const float* q) {
    std::map<int64_t, double> weights;
    double total = 0;
    for (const auto& [position, sum] : sums_) {
      double dot = 0;
      for (int i = 0; i < kDim; ++i) dot += double{q[i]} * ref::kv_value(all.dtype, all.token(head_, position), i);
      most_ = std::max(most_, std::abs(dot));
      total += weights[position] = std::exp(dot / std::sqrt(kDim));
    }
    for (auto& [position, sum] : sums_) sum += weights[position] / total / kGroup;
    ++additions_;
  }

  void evict(int64_t seen) {
    const auto remove = static_cast<int64_t>(sums_.size()) - budget_.of(seen);
    if (remove <= 0) return;
    std::vector<std::pair<double, int64_t>> order;  // of equal sums, the older goes
    for (const auto& [position, sum] : sums_)
      if (position < seen - budget_.recent_of(seen)) order.emplace_back(sum, position);
    std::sort(order.begin(), order.end());
    const auto edge = static_cast<size_t>(remove);
    for (size_t i = 0; i < edge; ++i) sums_.erase(order[i].second);
    if (edge == order.size()) return;
    // Scores are sums of D products, a token's sum is one of `additions_` shares; errors add up as their squares do.
    const double rounding = order[edge].first * 0x1p-24 * (std::sqrt(kDim) * most_ + std::sqrt(additions_));
    margin_ = std::min(margin_, (order[edge].first - order[edge - 1].first) / rounding);
  }

  int head_;
  const Budget& budget_;
  bool whole_prompt_;
  std::map<int64_t, double> sums_;  // of positions
  double most_ = 0, additions_ = 0, margin_ = 1e300;
};

// Rows of `limited` are those of their tokens in `all`, which forgets nothing; its last rows are the last tokens.
void expect_rows_of_tokens(const KvPages& limited, const KvPages& all, int64_t recent) {
  for (int head = 0; head < kKvHeads; ++head) {
    const std::vector<int64_t> positions = positions_of(limited, head);
    ASSERT_EQ(std::set(positions.begin(), positions.end()).size(), positions.size());
    for (int64_t row = 0; row < limited.length; ++row)
      ASSERT_EQ(std::memcmp(limited.token(head, row), all.token(head, positions[static_cast<size_t>(row)]),
                            static_cast<size_t>(all.token_bytes())),
                0)
          << "row " << row << " of head " << head << " after " << all.length << " tokens";
    for (int64_t i = 1; i <= std::min({int64_t{64}, recent, limited.length}); ++i)
      ASSERT_EQ(positions[static_cast<size_t>(limited.length - i)], all.length - i) << "after " << all.length;
  }
}

// A prompt in two pieces, decoding, one more piece, decoding.
std::vector<int32_t> scenario() {
  std::vector<int32_t> counts{70, 50};
  counts.insert(counts.end(), 120, 1);
  counts.push_back(9);
  counts.insert(counts.end(), 80, 1);
  return counts;
}

class H2oModelled : public testing::TestWithParam<std::tuple<Budget, bool, DType>> {};

TEST_P(H2oModelled, KeepsWhatTheAlgorithmKeeps) {
  const auto& [budget, whole_prompt, kv_type] = GetParam();
  LayerHarness limited(budget.spec() + (whole_prompt ? "" : ",prefill=sparse"), kShape, kv_type);
  LayerHarness all("dense", kShape, kv_type);
  std::vector<H2oModel> models;
  for (int head = 0; head < kKvHeads; ++head) models.emplace_back(head, budget, whole_prompt);
  unsigned seed = 1;
  for (int32_t count : scenario()) {
    const LayerInputs x = tokens_at(all.position(), count, seed += 3);
    const int64_t before = limited.pages().length;
    all.step(x), limited.step(x);
    const int64_t seen = all.position(), length = limited.pages().length;
    ASSERT_EQ(limited.position(), seen);
    if (count > 1 && whole_prompt)
      ASSERT_EQ(length, before + count);
    else
      ASSERT_EQ(length, std::min(before + count, budget.of(seen)));
    for (int head = 0; head < kKvHeads; ++head) {
      models[static_cast<size_t>(head)].step(all.pages(), x.q, count);
      const std::vector<int64_t> positions = positions_of(limited.pages(), head);
      ASSERT_EQ(std::set(positions.begin(), positions.end()), models[static_cast<size_t>(head)].kept())
          << "head " << head << " after " << seen << " tokens";
    }
    ASSERT_NO_FATAL_FAILURE(expect_rows_of_tokens(limited.pages(), all.pages(), budget.recent_of(seen)));
  }
  for (const H2oModel& model : models) EXPECT_GT(model.margin(), 1) << "sums too near each other: take other tokens";
}

INSTANTIATE_TEST_SUITE_P(Budgets, H2oModelled,
                         testing::Combine(testing::Values(Budget{"counts", "20", "12", 0, 0},
                                                          Budget{"many_recent", "10", "80", 0, 0},
                                                          Budget{"one_recent", "40", "1", 0, 0},
                                                          Budget{"parts", "1/8", "0.25", 1. / 8, 0.25},
                                                          Budget{"both", "1/3", "5", 1. / 3, 0}),
                                          testing::Bool(), testing::Values(DType::kF32, DType::kF16)),
                         [](const auto& info) {
                           return std::get<0>(info.param).name + (std::get<1>(info.param) ? "_dense_" : "_sparse_") +
                                  std::string(name(std::get<2>(info.param)));
                         });

std::shared_ptr<const Calibration> calibration() {
  static const auto fitted = std::make_shared<const Calibration>(fit_world(KeyWorld(1, kKvHeads, kDim, 500), {}));
  return fitted;
}

TEST(H2o, CodesMoveWithTheirRows) {
  constexpr int kNibbles = 8;
  const std::string loki = "loki:min=0,k=16,sink=2,recent=4,index=bits:32";
  LayerHarness limited(loki + "+h2o:heavy=30,recent=70", kShape, DType::kF16, calibration(), 2);
  LayerHarness all(loki, kShape, DType::kF16, calibration());
  unsigned seed = 1;
  for (int32_t count : scenario()) {
    const LayerInputs x = tokens_at(all.position(), count, seed += 3);
    all.step(x), limited.step(x);
    const KvPages kept = limited.pages(), every = all.pages();
    ASSERT_NO_FATAL_FAILURE(expect_rows_of_tokens(kept, every, 70));
    for (int head = 0; head < kKvHeads; ++head) {
      const std::vector<int64_t> positions = positions_of(kept, head);
      for (int64_t row = 0; row < kept.length; ++row)
        for (int n = 0; n < kNibbles; ++n)
          ASSERT_EQ(ref::index_code(kept, 0, head, kNibbles, row, n).get(),
                    ref::index_code(every, 0, head, kNibbles, positions[static_cast<size_t>(row)], n).get())
              << "row " << row << " of head " << head << " after " << every.length << " tokens";
    }
  }
  EXPECT_EQ(limited.pages().length, 100);
}

TEST(H2o, EvictsIsWhetherDecodingDropsRows) {
  const auto evicts = [](const std::string& spec) {
    return make_method(parse_attention_spec(spec), {.shape = kShape, .calibration = calibration()})->evicts();
  };
  for (const char* spec : {"h2o", "h2o:heavy=5,recent=3", "h2o:heavy=1/3,recent=1/3,prefill=sparse", "loki+h2o",
                           "sparq:r=8+h2o:heavy=100,recent=1"})
    EXPECT_TRUE(evicts(spec)) << spec;
  for (const char* spec : {"dense", "topk", "loki", "streaming:recent=8", "h2o:heavy=all", "h2o:form=paper"})
    EXPECT_FALSE(evicts(spec)) << spec;
}

}  // namespace
}  // namespace lowkey
