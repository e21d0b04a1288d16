#include "ops/attention_prefill.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/error.h"
#include "ops/attention_bound.h"
#include "ops/attention_cases.h"

namespace lowkey {
namespace {

// The last `tokens` tokens of the case's first sequence as a prompt chunk.
struct Prompt {
  static constexpr int64_t kMostKeys = 300;  // some blocks of keys, and the references stay quick

  AttentionCase shape;
  TestSequence sequence;
  int64_t tokens;
  std::vector<float> q;  // [T, H, D]
  float scale;
  int64_t window = 0;
  float cap = 0;

  explicit Prompt(const AttentionCase& c, int64_t most = 120, bool shuffled = false)
      : shape(c),
        sequence(c, std::min(kMostKeys, c.lengths[0]), 5, shuffled),
        tokens(std::min(most, sequence.kv().length)),
        q(random_normal(tokens * c.heads * c.dim, 77)),
        scale(1.f / std::sqrt(static_cast<float>(c.dim))) {}

  int64_t row() const { return int64_t{shape.heads} * shape.dim; }
  // Query rows [begin, end) of the prompt, the cache ending at the last of them.
  AttentionPrefillArgs args(std::vector<float>& out, int64_t begin, int64_t end) {
    KvPages kv = sequence.kv();
    kv.length -= tokens - end;
    const auto view = [&](std::vector<float>& x) {
      return View{x.data() + begin * row(), DType::kF32, {end - begin, shape.heads, shape.dim}};
    };
    return {.q = view(q), .kv = kv, .scale = scale, .out = view(out), .window = window, .cap = cap};
  }
  // All rows read all keys.
  AttentionPrefillArgs whole(std::vector<float>& out, int64_t begin, int64_t end) {
    AttentionPrefillArgs a = args(out, begin, end);
    a.kv.length = sequence.kv().length, a.causal = false;
    return a;
  }
  std::vector<float> run(int threads, int64_t chunk) {
    std::vector<float> out(q.size(), -7.f);
    const Context context(threads);
    for (int64_t t = 0; t < tokens; t += chunk) attention_prefill(context, args(out, t, std::min(t + chunk, tokens)));
    return out;
  }
  // With 16-bit caches AMX multiplies numbers rounded to bf16; f32 caches keep f32 precision everywhere.
  double eps() const { return active_isa() == Isa::kAmx && shape.dtype != DType::kF32 ? kEpsBf16 : kEpsF32; }
  void expect_within_bound(std::vector<float> out, bool causal = true) {
    std::vector<float> exact(q.size());
    ref::attention_prefill(causal ? args(exact, 0, tokens) : whole(exact, 0, tokens));
    std::vector<double> bound(static_cast<size_t>(shape.dim));
    for (int64_t r = 0; r < tokens * shape.heads; ++r) {
      KvPages kv = sequence.kv();
      if (causal) kv.length -= tokens - 1 - r / shape.heads;
      const int head = static_cast<int>(r % shape.heads) / (shape.heads / shape.kv_heads);
      std::vector<int32_t> seen(static_cast<size_t>(window > 0 ? std::min(window, kv.length) : 0));
      std::iota(seen.begin(), seen.end(), static_cast<int32_t>(kv.length - std::ssize(seen)));
      const TokenList list{window > 0 ? seen.data() : nullptr, std::ssize(seen)};
      attention_bound(kv, head, list, q.data() + r * shape.dim, scale, eps(), bound.data());
      for (int d = 0; d < shape.dim; ++d) {
        const auto i = static_cast<size_t>(r * shape.dim + d);
        ASSERT_LE(std::abs(double{out[i]} - exact[i]), bound[static_cast<size_t>(d)] + kEpsF32 * std::abs(exact[i]))
            << shape.name << ", " << name(active_isa()) << ", row " << r << ", d " << d;
      }
    }
  }
};

class AttentionPrefill : public testing::TestWithParam<std::tuple<size_t, Isa>> {
 protected:
  void SetUp() override { limit_isa(std::get<1>(GetParam())); }
  void TearDown() override { limit_isa(detected_isa()); }
  const AttentionCase& shape() const { return attention_cases()[std::get<0>(GetParam())]; }
};

TEST_P(AttentionPrefill, IsWithinTheBound) {
  Prompt prompt(shape(), 30);
  prompt.expect_within_bound(prompt.run(2, prompt.tokens));
}

TEST_P(AttentionPrefill, ThreadsAndPageOrderDoNotChangeABit) {
  Prompt prompt(shape()), shuffled(shape(), 120, true);
  const std::vector<float> out = prompt.run(1, prompt.tokens);
  EXPECT_EQ(out, prompt.run(2, prompt.tokens));
  EXPECT_EQ(out, prompt.run(3, prompt.tokens));
  EXPECT_EQ(out, shuffled.run(2, prompt.tokens));
}

TEST_P(AttentionPrefill, ChunksEqualTheWhole) {
  Prompt prompt(shape(), 40);
  const std::vector<float> out = prompt.run(2, prompt.tokens);
  EXPECT_EQ(out, prompt.run(1, 1));
  EXPECT_EQ(out, prompt.run(2, 7));
  EXPECT_EQ(out, prompt.run(2, 32));
}

// The decoding kernel computes the same numbers in another order: both must lie within the bound.
TEST_P(AttentionPrefill, OneTokenIsADecodingStep) {
  Prompt prompt(shape(), 1);
  const KvPages kv = prompt.sequence.kv();
  std::vector<float> out(prompt.q.size());
  const AttentionPrefillArgs args = prompt.args(out, 0, 1);
  const Context context(2);
  attention_decode(context, {.q = args.q, .kv = {&kv, 1}, .tokens = {}, .scale = args.scale, .out = args.out});
  prompt.expect_within_bound(out);
  prompt.expect_within_bound(prompt.run(2, 1));
}

TEST_P(AttentionPrefill, ExtremeScores) {
  Prompt prompt(shape(), 6);
  const int64_t row = int64_t{shape().kv_heads} * shape().dim;
  std::vector<float>& keys = prompt.sequence.keys();
  for (auto k = keys.end() - row; k != keys.end(); ++k) *k *= 1000.f;  // one huge score, seen by the last row only
  prompt.sequence.store();
  prompt.expect_within_bound(prompt.run(2, prompt.tokens));
  std::fill(keys.begin(), keys.end(), 1.f), prompt.sequence.store();  // all equal, then all far below zero
  prompt.expect_within_bound(prompt.run(2, prompt.tokens));
  std::fill(prompt.q.begin(), prompt.q.end(), -300.f);
  prompt.expect_within_bound(prompt.run(2, prompt.tokens));
}

TEST_P(AttentionPrefill, NotCausalEveryRowReadsAllKeys) {
  Prompt prompt(shape(), 10);
  const auto run = [&](int threads, int64_t chunk) {
    std::vector<float> out(prompt.q.size(), -7.f);
    for (int64_t t = 0; t < prompt.tokens; t += chunk)
      attention_prefill(Context(threads), prompt.whole(out, t, std::min(t + chunk, prompt.tokens)));
    return out;
  };
  const std::vector<float> out = run(2, prompt.tokens);
  prompt.expect_within_bound(out, /*causal=*/false);
  EXPECT_EQ(out, run(1, prompt.tokens));
  EXPECT_EQ(out, run(2, 1));
  EXPECT_EQ(out, run(3, 7));
}

TEST_P(AttentionPrefill, AWindowHidesWhatLiesBefore) {
  for (int64_t window : {5, 130}) {
    Prompt prompt(shape(), 5);
    prompt.window = window;
    const std::vector<float> out = prompt.run(2, prompt.tokens);
    prompt.expect_within_bound(out);
    EXPECT_EQ(out, prompt.run(1, 1)) << window;
    EXPECT_EQ(out, prompt.run(3, 2)) << window;
  }
}

TEST_P(AttentionPrefill, CapsScores) {
  for (float cap : {5.f}) {
    Prompt prompt(shape(), 6);
    prompt.cap = cap;
    prompt.scale = 2;  // so that many scores lie beyond the cap
    const std::vector<float> out = prompt.run(2, prompt.tokens);
    std::vector<float> exact(out.size());
    ref::attention_prefill(prompt.args(exact, 0, prompt.tokens));
    double keys = 0, values = 0, queries = 0;
    for (float k : prompt.sequence.keys()) keys = std::max<double>(keys, std::abs(k));
    for (float v : prompt.sequence.values()) values = std::max<double>(values, std::abs(v));
    for (float q : prompt.q) queries = std::max<double>(queries, std::abs(q));
    const double bound = capped_attention_bound(2 * keys * queries * shape().dim, cap, kEpsF32, values);
    for (size_t i = 0; i < out.size(); ++i) ASSERT_NEAR(out[i], exact[i], bound) << shape().name << " cap " << cap;
  }
}

// The queries need not be among the keys: more of them than keys, as against a few principal keys.
TEST_P(AttentionPrefill, NotCausalMoreQueriesThanKeys) {
  Prompt prompt(shape(), 20);
  KvPages few = prompt.sequence.kv();
  few.length = std::min<int64_t>(3, few.length);
  std::vector<float> out(prompt.q.size()), rows(prompt.q.size());
  const Context context(2);
  AttentionPrefillArgs args = prompt.whole(out, 0, prompt.tokens);
  args.kv = few;
  attention_prefill(context, args);
  ref::attention_prefill(
      {args.q, few, args.scale, View{rows.data(), DType::kF32, {prompt.tokens, shape().heads, shape().dim}}, false});
  std::vector<double> bound(static_cast<size_t>(shape().dim));
  for (int64_t r = 0; r < prompt.tokens * shape().heads; ++r) {
    const int head = static_cast<int>(r % shape().heads) / (shape().heads / shape().kv_heads);
    attention_bound(few, head, {}, prompt.q.data() + r * shape().dim, prompt.scale, prompt.eps(), bound.data());
    for (int d = 0; d < shape().dim; ++d) {
      const auto i = static_cast<size_t>(r * shape().dim + d);
      ASSERT_LE(std::abs(double{out[i]} - rows[i]), bound[static_cast<size_t>(d)] + kEpsF32 * std::abs(rows[i]));
    }
  }
}

// To the error of a score, as in attention_bound.h, and of the sum's own rounding.
TEST_P(AttentionPrefill, GivesTheLogarithmsOfTheSums) {
  Prompt prompt(shape(), 6);
  const int64_t rows = prompt.tokens * shape().heads;
  for (bool causal : {true, false}) {
    std::vector<float> out(prompt.q.size()), plain(out), sums(static_cast<size_t>(rows)), exact(sums);
    AttentionPrefillArgs args = causal ? prompt.args(out, 0, prompt.tokens) : prompt.whole(out, 0, prompt.tokens);
    args.log2_sums = f32_view(sums.data(), {prompt.tokens, shape().heads});
    attention_prefill(Context(2), args);
    args.log2_sums = f32_view(exact.data(), {prompt.tokens, shape().heads}), args.out.data = plain.data();
    ref::attention_prefill(args);
    for (int64_t r = 0; r < rows; ++r) {
      KvPages kv = args.kv;
      if (causal) kv.length -= prompt.tokens - 1 - r / shape().heads;
      const int head = static_cast<int>(r % shape().heads) / (shape().heads / shape().kv_heads);
      double products = 0;
      for (int64_t i = 0; i < kv.length; ++i) {
        double sum = 0;
        for (int d = 0; d < shape().dim; ++d)
          sum += std::abs(double{prompt.q[static_cast<size_t>(r * shape().dim + d)]} *
                          ref::kv_value(kv, kv.token(head, i), d));
        products = std::max(products, sum * prompt.scale);
      }
      const auto at = static_cast<size_t>(r);
      EXPECT_NEAR(sums[at], exact[at],
                  2 * prompt.eps() * (2 * products + 4) + 4 * kEpsF32 * (std::abs(exact[at]) + 2 * products))
          << name(active_isa()) << ", row " << r;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, AttentionPrefill,
                         testing::Combine(testing::Range(size_t{0}, attention_cases().size()),
                                          testing::ValuesIn(supported_isas())),
                         [](const auto& info) {
                           return std::string(name(std::get<1>(info.param))) + "_" +
                                  std::to_string(std::get<0>(info.param));
                         });

TEST(AttentionPrefillDoor, RefusesNonsense) {
  Prompt prompt(attention_cases()[2]);
  const Context context(1);
  std::vector<float> out(prompt.q.size());
  AttentionPrefillArgs args = prompt.args(out, 0, prompt.tokens);
  args.kv.length = prompt.tokens - 1;
  EXPECT_THROW(attention_prefill(context, args), Error);
  args = prompt.args(out, 0, prompt.tokens), args.kv.head_dim = 48;
  EXPECT_THROW(attention_prefill(context, args), Error);
  args = prompt.args(out, 0, prompt.tokens), args.out.shape[0] -= 1;
  EXPECT_THROW(attention_prefill(context, args), Error);
  args = prompt.args(out, 0, prompt.tokens), args.kv.page_tokens = 3;
  EXPECT_THROW(attention_prefill(context, args), Error);
}

}  // namespace
}  // namespace lowkey
