#include "attention/selective.h"

#include <gtest/gtest.h>

#include <cmath>

#include "attention/calibration_cases.h"
#include "attention/layer_harness.h"
#include "ops/attention_cases.h"
#include "ops/ref/kv_value.h"

namespace lowkey {
namespace {

constexpr int kHeads = 2, kDim = 16, kTokens = 200;
constexpr AttentionShape kShape{.layers = 1, .heads = kHeads, .kv_heads = kHeads, .head_dim = kDim, .width = 8};

LayerInputs tokens(int32_t count, unsigned seed) {
  return {.q = random_normal(count * kHeads * kDim, seed, 2.f),
          .k = random_normal(count * kHeads * kDim, seed + 1, 1.5f),
          .v = random_normal(count * kHeads * kDim, seed + 2)};
}

// What part of a head's softmax its list holds, in f64.
double true_mass(const KvPages& kv, const float* q, int head, const std::vector<int32_t>& ids) {
  std::vector<double> weight;
  double all = 0, held = 0;
  for (int64_t t = 0; t < kv.length; ++t) {
    double dot = 0;
    for (int d = 0; d < kDim; ++d) dot += double{q[d]} * ref::kv_value(kv.dtype, kv.token(head, t), d);
    weight.push_back(std::exp(dot / std::sqrt(double{kDim})));
    all += weight.back();
  }
  for (int32_t id : ids) held += weight[static_cast<size_t>(id)];
  return held / all;
}

TEST(Selective, SaysWhatPartOfAttentionIsInItsLists) {
  LayerHarness layer("topk:k=20,sink=1,recent=3", kShape, DType::kF32);
  layer.step(tokens(kTokens, 1));
  const LayerInputs next = tokens(1, 7);
  const LayerHarness::Choice choice = layer.choose(next);
  ASSERT_EQ(choice.ids.size(), size_t{kHeads});
  ASSERT_EQ(choice.mass.size(), size_t{kHeads});
  for (int head = 0; head < kHeads; ++head) {
    const auto h = static_cast<size_t>(head);
    EXPECT_EQ(choice.ids[h].size(), size_t{24});
    const double expected = true_mass(layer.pages(), next.q.data() + head * kDim, head, choice.ids[h]);
    EXPECT_GT(expected, 0.2);  // neither nothing nor everything
    EXPECT_LT(expected, 0.98);
    // exp2 of the kernels is good to 2^-20 or so, and 200 of them are added in f32.
    EXPECT_NEAR(choice.mass[h], expected, 1e-4 * expected);
  }
}

TEST(Selective, EstimatesOfAnIndexAreThoseThatPGoesBy) {
  auto calibration = std::make_shared<const Calibration>(fit_world(KeyWorld(1, kHeads, kDim, 300), {32}));
  LayerHarness layer("loki:index=pq:32,k=all,p=0.7,kmin=1,min=0,sink=0,recent=0", kShape, DType::kF16, calibration);
  layer.step(tokens(kTokens, 1));
  for (float mass : layer.choose(tokens(1, 7)).mass) {
    EXPECT_GE(mass, 0.6999f);
    EXPECT_LT(mass, 0.95f);  // the token that goes past the share is a small one
  }
}

TEST(Selective, HoldsAllWhereEverythingIsRead) {
  LayerHarness layer("topk:k=all", kShape, DType::kF32);
  layer.step(tokens(kTokens, 1));
  EXPECT_TRUE(layer.choose(tokens(1, 7)).ids.empty());
}

TEST(Selective, ChoosesWithinTheWindow) {
  constexpr int kWindow = 77;
  AttentionShape shape = kShape;
  shape.window = kWindow;
  for (const char* spec : {"topk:k=20,sink=1,recent=3", "quest:page=4,k=20,sink=1,recent=3"}) {
    LayerHarness layer(spec, shape, DType::kF32);
    layer.step(tokens(kTokens, 1));
    const LayerInputs next = tokens(1, 7);
    const LayerHarness::Choice choice = layer.choose(next);
    const KvPages kv = layer.pages();
    ASSERT_EQ(choice.ids.size(), size_t{kHeads});
    for (int head = 0; head < kHeads; ++head) {
      const std::vector<int32_t>& ids = choice.ids[static_cast<size_t>(head)];
      ASSERT_GE(ids.size(), size_t{24});
      EXPECT_GE(ids.front(), kTokens + 1 - kWindow) << spec;
      EXPECT_LE(ids.front(), kTokens + 1 - kWindow + 3) << spec;  // the first block that lies in it as a whole
      EXPECT_EQ(ids.back(), kTokens) << spec;
      EXPECT_TRUE(std::is_sorted(ids.begin(), ids.end()));
      if (std::string(spec).starts_with("quest")) continue;
      // The best of the window, but for the first and the last.
      const auto score = [&](int32_t t) {
        double dot = 0;
        for (int d = 0; d < kDim; ++d)
          dot += double{next.q[static_cast<size_t>(head * kDim + d)]} * ref::kv_value(kv.dtype, kv.token(head, t), d);
        return dot;
      };
      double least = 1e30, missed = -1e30;
      for (int32_t t = ids.front() + 1; t < kTokens - 2; ++t) {
        const bool taken = std::binary_search(ids.begin(), ids.end(), t);
        (taken ? least : missed) = taken ? std::min(least, score(t)) : std::max(missed, score(t));
      }
      EXPECT_GT(least, missed);
    }
  }
  LayerHarness wide("topk:k=100", shape, DType::kF32);  // more than the window has
  wide.step(tokens(kTokens, 1));
  EXPECT_TRUE(wide.choose(tokens(1, 7)).ids.empty());
}

}  // namespace
}  // namespace lowkey
