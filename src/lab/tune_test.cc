// The search on a tiny model and noise: what is measured, what is chosen, and that time can stand for bytes.
#include "lab/tune.h"

#include <gtest/gtest.h>

#include <set>

#include "base/error.h"
#include "tests/tiny_llama.h"

namespace lowkey {
namespace {

// Candidates from nearly everything to nearly nothing; the last for all layers only.
TuneOptions options_of(double max_loss, bool for_time = false) {
  return {
      .candidates = {"streaming:sink=1,recent=180", "streaming:sink=1,recent=4"},
      .uniform = {"streaming:sink=1,recent=90"},
      .for_time = for_time,
      .max_loss = max_loss,
      .windows = {.context = 200, .windows = 3, .scored = 20, .chunk = 64, .kv_type = DType::kF32, .observe_every = 0}};
}

TuneResult search(const TuneOptions& options) {
  const MethodInputs inputs{.shape = tiny_model().shape().attention, .calibration = nullptr};
  return tune(Context(1), tiny_model(), inputs, random_tokens(1300, 3), options,
              [](const std::string&, int64_t, int64_t, std::string_view) { return true; });
}

TEST(Tune, EverySettingIsMeasuredAndTheCheapestAcceptableIsTaken) {
  const TuneResult r = search(options_of(1));  // perplexity may double
  ASSERT_EQ(r.uniform.size(), 4u);
  ASSERT_EQ(r.kl.size(), 2u);     // layers
  EXPECT_EQ(r.kl[0].size(), 3u);  // dense and two candidates: what is for all layers is not tried in one
  EXPECT_GT(r.uniform[0].bytes, r.uniform[1].bytes);
  EXPECT_GT(r.uniform[1].bytes, r.uniform[3].bytes);
  EXPECT_GT(r.uniform[3].bytes, r.uniform[2].bytes);
  EXPECT_LT(r.kl[0][1], r.kl[0][2]);
  EXPECT_EQ(r.uniform[0].seconds, 0);  // not timed
  for (const TuneMeasure& m : r.uniform) {
    if (m.increase.high <= 100) {
      EXPECT_GE(m.bytes, r.uniform[static_cast<size_t>(r.best_uniform)].bytes);
    }
  }
  ASSERT_GE(r.best_trial, 0);
  EXPECT_LE(r.trials[static_cast<size_t>(r.best_trial)].measured.increase.high, 100);
  EXPECT_EQ(r.layers().size(), 2u);
}

TEST(Tune, WhenNothingMayBeLostEveryLayerReadsAll) {
  const TuneResult r = search(options_of(1e-9));
  EXPECT_EQ(r.best_uniform, 0);
  EXPECT_EQ(r.layers(), (std::vector<std::string>{"dense", "dense"}));
  EXPECT_EQ(r.checked.bytes, r.uniform[0].bytes);
}

TEST(Tune, ForTimeThatOfLayersAddsUp) {
  const TuneResult r = search(options_of(1, true));
  for (const TuneMeasure& m : r.uniform) EXPECT_GT(m.seconds, 0);
  for (const TuneTrial& t : r.trials) {
    double sum = 0;
    for (int c : t.layers) sum += r.uniform[static_cast<size_t>(c)].seconds / 2;
    EXPECT_NEAR(t.measured.seconds, sum, 1e-12 * sum);
  }
}

TEST(Tune, ByDefaultTheGridForAllLayersIsTheFinerOne) {
  const MethodInputs inputs{.shape = tiny_model().shape().attention, .calibration = nullptr};
  const std::vector<std::string> layers = default_candidates(inputs), more = default_uniform(inputs);
  std::set<std::string> all(layers.begin(), layers.end());
  all.insert(more.begin(), more.end());
  EXPECT_EQ(all.size(), layers.size() + more.size());  // nothing is measured twice
  EXPECT_GT(more.size(), layers.size());
  for (const std::string& spec : all) EXPECT_NO_THROW(parse_attention_spec(spec)) << spec;
}

TEST(Tune, WrongOptionsAreRefused) {
  TuneOptions none = options_of(1);
  none.candidates.clear();
  EXPECT_THROW(search(none), Error);
  EXPECT_THROW(search(options_of(0)), Error);
  TuneOptions one = options_of(1);
  one.windows.windows = 1;
  EXPECT_THROW(search(one), Error);
}

}  // namespace
}  // namespace lowkey
