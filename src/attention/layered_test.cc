#include "attention/layered.h"

#include <gtest/gtest.h>

#include "attention/calibration_cases.h"
#include "attention/layer_harness.h"
#include "base/error.h"
#include "ops/attention_cases.h"
#include "ops/key_index.h"

namespace lowkey {
namespace {

constexpr int kKvHeads = 2, kHeads = 4, kDim = 16;
constexpr AttentionShape kShape{.layers = 1, .heads = kHeads, .kv_heads = kKvHeads, .head_dim = kDim, .width = 8};

std::shared_ptr<const Calibration> with_profile(std::vector<std::string> layers) {
  auto calibration = std::make_shared<Calibration>(
      fit_world(KeyWorld(static_cast<int>(layers.size()), kKvHeads, kDim, 300), {16, 32}));
  calibration->profile = Profile{.layers = std::move(layers), .about = "made for a test"};
  return calibration;
}

LayerInputs tokens(int32_t count, unsigned seed) {
  return {.q = random_normal(count * kHeads * kDim, seed, 1.5f),
          .k = random_normal(count * kKvHeads * kDim, seed + 1, 1.5f),
          .v = random_normal(count * kKvHeads * kDim, seed + 2)};
}

std::vector<float> decode(const std::string& spec, const std::shared_ptr<const Calibration>& calibration) {
  LayerHarness layer(spec, kShape, DType::kF16, calibration);
  layer.step(tokens(200, 1));
  return layer.step(tokens(1, 9));
}

TEST(Layered, ALayerIsWhatItsSpecSays) {
  for (const char* spec : {"dense", "topk:k=16", "loki:index=pq:32,k=16,min=0", "streaming:sink=2,recent=20"}) {
    const auto calibration = with_profile({spec});
    EXPECT_EQ(decode("auto", calibration), decode(spec, calibration)) << spec;
  }
  const auto calibration = with_profile({"topk:k=16"});
  EXPECT_NE(decode("auto", calibration), decode("dense", calibration));
}

TEST(Layered, SettingsOfAutoGoToTheLayersThatHaveThem) {
  const auto calibration = with_profile({"topk:k=16"});
  EXPECT_EQ(decode("auto:min=4096", calibration), decode("dense", calibration));
  EXPECT_EQ(decode("auto:min=4096", with_profile({"dense"})), decode("dense", calibration));
}

TEST(Layered, PagesHaveRoomForTheLayerThatNeedsMost) {
  const auto calibration = with_profile({"dense", "loki:index=pq:32", "loki:index=pq:16", "loki:index=pq:16"});
  AttentionShape shape = kShape;
  shape.layers = 4;
  const auto method = make_method(parse_attention_spec("auto"), {.shape = shape, .calibration = calibration});
  EXPECT_EQ(method->planes(shape, DType::kF16, 64), (std::vector<int64_t>{KeyIndex::page_bytes(8, 64)}));
  EXPECT_FALSE(method->evicts());
  EXPECT_TRUE(method->replays());
}

TEST(Layered, RefusesWhatCannotBe) {
  const auto make = [](std::shared_ptr<const Calibration> calibration, int layers = 1) {
    AttentionShape shape = kShape;
    shape.layers = layers;
    return make_method(parse_attention_spec("auto"), {.shape = shape, .calibration = std::move(calibration)});
  };
  EXPECT_THROW(make(nullptr), Error);
  auto none = std::make_shared<Calibration>(*with_profile({"dense"}));
  none->profile.reset();
  EXPECT_THROW(make(none), Error);
  EXPECT_THROW(make(with_profile({"dense"}), 2), Error);
  EXPECT_THROW(make(with_profile({"h2o"})), Error);
  EXPECT_THROW(make(with_profile({"auto"})), Error);
  EXPECT_THROW(make(with_profile({"nonsense"})), Error);
}

}  // namespace
}  // namespace lowkey
