#include "lab/perplexity.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "attention/spec.h"
#include "base/error.h"
#include "model/tokenizer_loader.h"

namespace lowkey {
namespace {

PerplexityResult measure(const std::string& spec, int chunk,
                         const PerplexityOptions& options = {.context = 200, .windows = 2}) {
  static const std::filesystem::path path = std::filesystem::path(LOWKEY_SOURCE_DIR) / "tests/data/tiny-llama3";
  static const auto model = open_model(path);
  static const Tokenizer tokenizer = load_tokenizer(path);
  std::string text;
  for (int i = 0; i < 200; ++i) text += fmt::format("{} is not {}; ", i * i, 7 * i);
  const auto method = make_method(parse_attention_spec(spec), {.shape = model->shape().attention});
  PerplexityOptions o = options;
  o.chunk = chunk;
  return perplexity(Context(2), *model, tokenizer, *method, text, o, [](int64_t, int64_t) { return true; });
}

TEST(Perplexity, EveryTokenOfAWindowButTheFirstIsScored) {
  const PerplexityResult r = measure("dense", 64);
  ASSERT_EQ(r.window_nll.size(), 2u);
  EXPECT_EQ(r.scored_tokens, 2 * 199);
  // Sums of about 6 nats may be rounded in another order, which exp() makes a relative error.
  EXPECT_NEAR(r.perplexity, std::exp((r.window_nll[0] + r.window_nll[1]) / 2), 1e-13 * r.perplexity);
  EXPECT_THROW(measure("dense", 64, {.context = 1 << 20}), Error);
}

TEST(Perplexity, OfWhatReadsEverythingIsDenses) {
  const double dense = measure("dense", 64).perplexity;
  EXPECT_EQ(measure("topk:k=all,prefill=all", 64).perplexity, dense);
  EXPECT_EQ(measure("h2o:heavy=all", 64).perplexity, dense);
  EXPECT_NE(measure("topk:k=8,sink=1,recent=4,prefill=all", 64).perplexity, dense);
}

// It evicts at steps of one token: a window read in chunks would be read whole.
TEST(Perplexity, WhatEvictsReadsATokenAtATime) {
  const PerplexityOptions options{.context = 80, .windows = 1};
  const double evicting = measure("h2o:heavy=20,recent=20", 64, options).perplexity;
  EXPECT_EQ(evicting, measure("h2o:heavy=20,recent=20", 1, options).perplexity);
  EXPECT_NE(evicting, measure("dense", 1, options).perplexity);
}

}  // namespace
}  // namespace lowkey
