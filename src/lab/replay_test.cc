// What a fork holds and says is what the method's own pass over the prompt would have left.
#include "lab/replay.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <random>

#include "attention/spec.h"
#include "base/error.h"

namespace lowkey {
namespace {

const Model& tiny_model() {
  static const auto model = open_model(std::filesystem::path(LOWKEY_SOURCE_DIR) / "tests/data/tiny-llama3");
  return *model;
}

std::unique_ptr<Method> method(const std::string& spec) {
  return make_method(parse_attention_spec(spec), {.shape = tiny_model().shape().attention, .calibration = nullptr});
}

std::vector<int32_t> random_tokens(size_t count) {
  std::mt19937 random(7);
  std::vector<int32_t> ids(count);
  for (int32_t& id : ids) id = static_cast<int32_t>(random() % static_cast<unsigned>(tiny_model().shape().vocabulary));
  return ids;
}

// A method that claims to remember what queries read.
class Remembering final : public Method {
 public:
  bool replays() const noexcept override { return false; }
  Selection select(const LayerStep&, View) const override { return ++steps, Selection{}; }
  mutable int steps = 0;
};

constexpr size_t kPrefix = 200, kTail = 30;
constexpr int kChunk = 64;

class ReplayTest : public testing::TestWithParam<DType> {
 protected:
  std::vector<float> tail(const Method& method, Branch& branch) {
    std::vector<float> logits(kTail * static_cast<size_t>(tiny_model().shape().vocabulary));
    advance(context_, tiny_model(), method, branch, std::span(tokens_).last(kTail),
            f32_view(logits.data(), {kTail, tiny_model().shape().vocabulary}));
    return logits;
  }
  // The whole prompt with the method itself.
  Branch straight(const Method& method) {
    Branch branch(kv_shape(tiny_model().shape(), method, GetParam(), kPrefix + kTail));
    for (size_t at = 0; at < kPrefix; at += kChunk)
      advance(context_, tiny_model(), method, branch,
              std::span(tokens_).subspan(at, std::min<size_t>(kChunk, kPrefix - at)), {});
    return branch;
  }
  DensePrefix prefix() {
    DensePrefix prefix(context_, tiny_model(), GetParam(), kChunk);
    EXPECT_TRUE(prefix.read(std::span(tokens_).first(kPrefix), [](int64_t) { return true; }));
    return prefix;
  }

  const Context context_{2};
  const std::vector<int32_t> tokens_ = random_tokens(kPrefix + kTail);
};

TEST_P(ReplayTest, AForkGoesOnAsIfItHadReadThePromptItself) {
  const DensePrefix dense = prefix();
  for (const char* spec : {"dense", "topk:k=1/8", "streaming:recent=16"}) {  // dense over prompts
    const auto m = method(spec);
    Branch fork = dense.fork(*m, kTail), own = straight(*m);
    EXPECT_EQ(fork.cache.length(fork.sequence), static_cast<int64_t>(kPrefix));
    EXPECT_EQ(tail(*m, fork), tail(*m, own)) << spec;
  }
}

TEST_P(ReplayTest, WhatCannotBeReplayedReadsThePromptItself) {
  const Remembering m;
  Branch fork = prefix().fork(m, kTail);
  EXPECT_EQ(m.steps, 4 * tiny_model().shape().attention.layers);  // chunks of 64 of 200 tokens
  Branch own = straight(m);
  EXPECT_EQ(tail(m, fork), tail(m, own));
}

TEST_P(ReplayTest, WhatShortensLaterIsReplayedUntilThen) {
  const DensePrefix dense = prefix();
  for (const char* spec : {"atp:r=8,recent=16,chunk=100,min=190", "atp:r=8,recent=16,chunk=32,min=0"}) {
    const auto m = method(spec);
    Branch fork = dense.fork(*m, kTail), own = straight(*m);
    EXPECT_EQ(fork.cache.length(fork.sequence), own.cache.length(own.sequence)) << spec;
    EXPECT_LT(fork.cache.length(fork.sequence), static_cast<int64_t>(kPrefix));
    const std::vector<float> a = tail(*m, fork), b = tail(*m, own);
    // Products add in another order where steps begin elsewhere, and a cache of 16 bits rounds what they give.
    const double eps = GetParam() == DType::kF32 ? 0x1p-24 : GetParam() == DType::kF16 ? 0x1p-11 : 0x1p-8;
    const auto [least, most] = std::minmax_element(b.begin(), b.end());
    for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], 64 * eps * (*most - *least)) << spec << ", " << i;
  }
}

TEST_P(ReplayTest, ForksAndCopiesAreApart) {
  const DensePrefix dense = prefix();
  for (const char* spec : {"topk:k=1/8,prefill=all", "sparq:k=1/8,recent=8,prefill=all"}) {
    const auto m = method(spec);
    Branch first = dense.fork(*m, kTail);
    Branch copy = first.copy();
    const std::vector<float> logits = tail(*m, first);
    EXPECT_EQ(copy.cache.length(copy.sequence), static_cast<int64_t>(kPrefix));
    EXPECT_EQ(tail(*m, copy), logits) << spec;
    Branch second = dense.fork(*m, kTail);
    EXPECT_EQ(tail(*m, second), logits) << spec;
    copy.cache.check_integrity();
  }
}

TEST_P(ReplayTest, PositionsOfACopyGoOnAfterAnEviction) {
  const auto m = method("dense");
  Branch branch = straight(*m);
  branch.cache.evict(branch.sequence, 50);
  Branch copy = branch.copy();
  EXPECT_EQ(copy.cache.length(copy.sequence), 50);
  EXPECT_EQ(copy.cache.position(copy.sequence), static_cast<int64_t>(kPrefix));
  EXPECT_EQ(tail(*m, copy), tail(*m, branch));
}

TEST_P(ReplayTest, ReadingEndsWhenAsked) {
  DensePrefix prefix(context_, tiny_model(), GetParam(), kChunk);
  int chunks = 0;
  EXPECT_FALSE(prefix.read(tokens_, [&](int64_t) { return ++chunks < 2; }));
  EXPECT_EQ(chunks, 2);
}

TEST_P(ReplayTest, NoRoomIsRefused) {
  const auto m = method("dense");
  Branch branch = prefix().fork(*m, 0);
  EXPECT_THROW(advance(context_, tiny_model(), *m, branch, std::vector<int32_t>(100), {}), Error);
}

INSTANTIATE_TEST_SUITE_P(Types, ReplayTest, testing::Values(DType::kF32, DType::kF16, DType::kBF16),
                         [](const auto& info) { return std::string(name(info.param)); });

}  // namespace
}  // namespace lowkey
