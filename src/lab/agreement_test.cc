#include "lab/agreement.h"

#include <gtest/gtest.h>

#include <cmath>

#include "attention/spec.h"
#include "base/error.h"
#include "tests/tiny_llama.h"

namespace lowkey {
namespace {

using Windows = std::vector<WindowAgreement>;

const AgreementOptions kOptions{.context = 300, .scored = 40, .chunk = 32, .kv_type = DType::kF32, .observe_every = 3};

std::vector<Windows> measure(
    const std::vector<std::string>& specs, const AgreementOptions& options = kOptions,
    const AgreementProgress& progress = [](int64_t, int64_t, std::string_view) { return true; }) {
  std::vector<std::unique_ptr<Method>> made;
  std::vector<ComparedMethod> methods;
  for (const std::string& text : specs) {
    const AttentionSpec spec = parse_attention_spec(text);
    made.push_back(
        make_method(with_every_row(spec), {.shape = tiny_model().shape().attention, .calibration = nullptr}));
    methods.push_back({.name = text, .method = made.back().get(), .always = always_read(spec)});
  }
  return agreement(Context(2), tiny_model(), methods, random_tokens(901, 3), options, progress);
}

double recall(const AgreementSummary& s) {
  LayerObservation all;
  for (const LayerObservation& layer : s.observed.layers) all.add(layer);
  return all.recall / static_cast<double>(all.lists);
}

TEST(Agreement, WhatReadsEverythingIsDenseBitForBit) {
  for (const Windows& windows : measure({"dense", "topk:k=all", "streaming:recent=all"})) {
    ASSERT_EQ(windows.size(), 3u);
    const AgreementSummary s = summarise(windows);
    EXPECT_EQ(s.kl.mean, 0);
    EXPECT_EQ(s.perplexity, s.dense_perplexity);
    EXPECT_EQ(s.same_top, 1);
    EXPECT_EQ(recall(s), 1);
    EXPECT_EQ(s.observed.read, s.observed.cached);
    EXPECT_LE(s.increase.low, 0);
    EXPECT_GE(s.increase.high, 0);
  }
}

TEST(Agreement, ExactTopkHasPerfectRecallAndStreamingHasNot) {
  const auto results = measure({"topk:k=1/8", "topk:k=1/8,heads=query", "streaming:recent=105"});
  for (const Windows& windows : results) EXPECT_GT(summarise(windows).kl.mean, 0);
  EXPECT_EQ(recall(summarise(results[0])), 1);
  EXPECT_EQ(recall(summarise(results[1])), 1);
  const double blind = recall(summarise(results[2]));
  EXPECT_GT(blind, 0);
  EXPECT_LT(blind, 0.9);
  for (const LayerObservation& layer : summarise(results[0]).observed.layers) {
    EXPECT_EQ(layer.mass, layer.exact_mass);
    EXPECT_LT(layer.mass, static_cast<double>(layer.query_heads));
  }
  for (const LayerObservation& layer : summarise(results[2]).observed.layers) EXPECT_LT(layer.mass, layer.exact_mass);
}

// It evicts at steps of one token: rows that were scored together would all read everything.
TEST(Agreement, WhatEvictsIsJudgedATokenAtATime) {
  for (const Windows& windows : measure({"h2o:heavy=20,recent=20", "topk:k=16,sink=2,recent=4+h2o:heavy=20,recent=20"}))
    for (const WindowAgreement& w : windows) {
      const AgreementSummary s = summarise({&w, 1});
      EXPECT_GT(s.kl.mean, 0);
      EXPECT_NE(s.perplexity, s.dense_perplexity);
    }
  EXPECT_EQ(summarise(measure({"h2o:heavy=all"})[0]).kl.mean, 0);
}

// The prompt, which h2o reads itself and whole, is none of it.
TEST(Agreement, OfWhatEvictsOnlyTheScoredPositionsAreObserved) {
  const AgreementSummary s = summarise(measure({"h2o:heavy=20,recent=20"})[0]);
  const AttentionShape& shape = tiny_model().shape().attention;
  EXPECT_EQ(s.observed.pairs, 3 * kOptions.scored * shape.layers * shape.kv_heads);
  const int64_t prompt = kOptions.context - kOptions.scored, kept = 20 + 20;  // evicted after the first step
  const int64_t read = prompt + 1 + (kOptions.scored - 1) * (kept + 1);
  EXPECT_EQ(s.observed.read, 3 * shape.layers * shape.kv_heads * read);
}

// 40 rows that end at 300 tokens: 4 + 64 always read, an eighth of the length chosen.
TEST(Agreement, CountsWhatIsRead) {
  const AgreementSummary s = summarise(measure({"topk:k=1/8"})[0]);
  const AttentionShape& shape = tiny_model().shape().attention;
  int64_t read = 0, cached = 0;
  for (int64_t length = 261; length <= 300; ++length) read += 68 + length / 8, cached += length;
  const int64_t heads = 3 * int64_t{shape.layers} * shape.kv_heads;  // of three windows
  EXPECT_EQ(s.observed.pairs, 40 * heads);
  EXPECT_EQ(s.observed.cached, cached * heads);
  EXPECT_EQ(s.observed.read, read * heads);
  EXPECT_EQ(s.observed.index_bytes, cached * heads * shape.head_dim * 4);  // every key
  EXPECT_EQ(s.observed.layers.size(), static_cast<size_t>(shape.layers));
  // Rows 0, 3, ... of a step of 32 and one of 8.
  EXPECT_EQ(s.observed.layers[0].lists, (11 + 3) * 3 * shape.kv_heads);
}

TEST(Agreement, OfTwoHandMadePredictions) {
  const std::vector<float> dense{0.f, std::log(3.f)}, other{0.f, 0.f};  // 1/4, 3/4 and 1/2, 1/2
  const LogitComparison c = compare_logits(dense, other, 1);
  EXPECT_NEAR(c.kl, 0.25 * std::log(0.5) + 0.75 * std::log(1.5), 1e-7);
  EXPECT_NEAR(c.dense_nll, -std::log(0.75), 1e-7);
  EXPECT_NEAR(c.nll, std::log(2), 1e-7);
  EXPECT_FALSE(c.same_top);
  EXPECT_EQ(compare_logits(dense, dense, 0).kl, 0);
  EXPECT_TRUE(compare_logits(dense, dense, 0).same_top);
}

TEST(Agreement, WindowsAreTheObservations) {
  const Windows windows{{.kl = 1, .nll = 2.1, .dense_nll = 2}, {.kl = 3, .nll = 3.3, .dense_nll = 3}};
  const AgreementSummary s = summarise(windows);
  EXPECT_DOUBLE_EQ(s.kl.mean, 2);
  EXPECT_DOUBLE_EQ(s.kl.error, 1);
  EXPECT_NEAR(s.dense_perplexity, std::exp(2.5), 1e-12);
  EXPECT_NEAR(s.perplexity, std::exp(2.7), 1e-12);
  EXPECT_NEAR(s.increase.mean, 100 * (std::exp(0.2) - 1), 1e-9);
  EXPECT_NEAR(s.increase.high, 100 * (std::exp(0.2 + 12.706 * 0.1) - 1), 1e-9);
  EXPECT_THROW(summarise({}), Error);
}

TEST(Agreement, EndsWhenAskedWithWhatIsDone) {
  const auto results = measure({"dense", "topk"}, kOptions, [](int64_t done, int64_t total, std::string_view) {
    EXPECT_EQ(total, 6);
    return done < 3;
  });
  EXPECT_EQ(results[0].size(), 2u);
  EXPECT_EQ(results[1].size(), 1u);
}

TEST(Agreement, RefusesWhatCannotBe) {
  AgreementOptions o = kOptions;
  o.scored = 300;
  EXPECT_THROW(measure({"dense"}, o), Error);
  o = kOptions, o.context = 901, o.scored = 10;  // the last position would have no target
  EXPECT_THROW(measure({"dense"}, o), Error);
  o = kOptions, o.chunk = 0;
  EXPECT_THROW(measure({"dense"}, o), Error);
}

}  // namespace
}  // namespace lowkey
