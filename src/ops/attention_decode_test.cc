#include "ops/attention_decode.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/error.h"
#include "base/isa.h"
#include "ops/attention_bound.h"
#include "ops/attention_cases.h"
#include "ops/cpu/decode_chunk.h"

namespace lowkey {
namespace {

struct Batch {
  AttentionCase shape;
  std::vector<TestSequence> sequences;
  std::vector<KvPages> kv;
  std::vector<float> q;
  float scale;
  int64_t window = 0;
  float cap = 0;

  explicit Batch(const AttentionCase& c, bool shuffled = false) : shape(c), scale(1.f / std::sqrt(float(c.dim))) {
    for (size_t b = 0; b < c.lengths.size(); ++b)
      sequences.emplace_back(c, c.lengths[b], static_cast<unsigned>(10 * b), shuffled);
    for (const TestSequence& s : sequences) kv.push_back(s.kv());
    q = random_normal(size() * c.heads * c.dim, 99);
  }
  int64_t size() const { return static_cast<int64_t>(shape.lengths.size()); }
  AttentionDecodeArgs args(std::vector<float>& out, std::span<const TokenList> tokens = {}) {
    out.assign(q.size(), -7.f);
    const auto view = [&](float* data) { return View{data, DType::kF32, {size(), shape.heads, shape.dim}}; };
    return {.q = view(q.data()),
            .kv = kv,
            .tokens = tokens,
            .scale = scale,
            .out = view(out.data()),
            .window = window,
            .cap = cap};
  }
  std::vector<float> run(int threads, std::span<const TokenList> tokens = {}) {
    std::vector<float> out;
    const Context context(threads);
    attention_decode(context, args(out, tokens));
    return out;
  }
  void expect_within_bound(const std::vector<float>& out, std::span<const TokenList> tokens = {}) {
    std::vector<float> exact;
    ref::attention_decode(args(exact, tokens));
    std::vector<double> bound(static_cast<size_t>(shape.dim));
    const int group = shape.heads / shape.kv_heads;
    for (int64_t row = 0; row < size() * shape.heads; ++row) {
      const auto b = static_cast<size_t>(row / shape.heads);
      const int head = static_cast<int>(row % shape.heads) / group;
      const auto lists = static_cast<int64_t>(tokens.size() / kv.size());
      TokenList list = tokens.empty() ? TokenList{} : tokens[static_cast<size_t>(row * lists / shape.heads)];
      std::vector<int32_t> seen(static_cast<size_t>(window > 0 ? std::min(window, kv[b].length) : 0));
      std::iota(seen.begin(), seen.end(), static_cast<int32_t>(kv[b].length - std::ssize(seen)));
      if (list.ids == nullptr && window > 0) list = {seen.data(), std::ssize(seen)};
      attention_bound(kv[b], head, list, q.data() + row * shape.dim, scale, kEpsF32, bound.data());
      for (int d = 0; d < shape.dim; ++d) {
        const auto i = static_cast<size_t>(row * shape.dim + d);
        ASSERT_LE(std::abs(double{out[i]} - exact[i]), bound[static_cast<size_t>(d)] + kEpsF32 * std::abs(exact[i]))
            << shape.name << ", " << name(active_isa()) << ", row " << row << ", d " << d;
      }
    }
  }
};

// Each case on every instruction set of this machine.
class AttentionDecode : public testing::TestWithParam<std::tuple<size_t, Isa>> {
 protected:
  void SetUp() override { limit_isa(std::get<1>(GetParam())); }
  void TearDown() override { limit_isa(detected_isa()); }
  const AttentionCase& shape() const { return attention_cases()[std::get<0>(GetParam())]; }
};

// Ascending ids: the first, the last and about a third of those between.
std::vector<int32_t> some_ids(int64_t length, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<int32_t> ids;
  for (int32_t t = 0; t < length; ++t)
    if (t == 0 || t == length - 1 || random() % 3 == 0) ids.push_back(t);
  return ids;
}

TEST_P(AttentionDecode, IsWithinTheBound) {
  Batch batch(shape());
  batch.expect_within_bound(batch.run(2));
}

TEST_P(AttentionDecode, ThreadsAndPageOrderDoNotChangeABit) {
  Batch batch(shape()), shuffled(shape(), true);
  const std::vector<float> out = batch.run(1);
  EXPECT_EQ(out, batch.run(2));
  EXPECT_EQ(out, batch.run(3));
  EXPECT_EQ(out, shuffled.run(2));
}

TEST_P(AttentionDecode, BatchOfManyEqualsOneByOne) {
  Batch batch(shape());
  const std::vector<float> all = batch.run(2);
  const auto per_sequence = static_cast<int64_t>(all.size()) / batch.size();
  const Context context(2);
  for (int64_t b = 0; b < batch.size(); ++b) {
    std::vector<float> one(static_cast<size_t>(per_sequence));
    const auto view = [&](float* data) { return View{data, DType::kF32, {1, shape().heads, shape().dim}}; };
    attention_decode(context, {.q = view(batch.q.data() + b * per_sequence),
                               .kv = {&batch.kv[static_cast<size_t>(b)], 1},
                               .tokens = {},
                               .scale = batch.scale,
                               .out = view(one.data())});
    EXPECT_EQ(std::memcmp(one.data(), all.data() + b * per_sequence, one.size() * 4), 0) << "sequence " << b;
  }
}

TEST_P(AttentionDecode, ListsSelectTokens) {
  Batch batch(shape(), true);
  std::vector<std::vector<int32_t>> ids;
  for (int64_t length : shape().lengths)
    for (int head = 0; head < shape().kv_heads; ++head) ids.push_back(some_ids(length, static_cast<unsigned>(head)));
  std::vector<TokenList> lists;
  for (const auto& list : ids) lists.push_back({list.data(), static_cast<int64_t>(list.size())});
  lists[0] = {};  // one of them reads all
  batch.expect_within_bound(batch.run(2, lists), lists);
}

TEST_P(AttentionDecode, AWindowIsTheListOfItsTokens) {
  for (int64_t window : {1, 200}) {
    Batch batch(shape(), true);
    batch.window = window;
    const std::vector<float> out = batch.run(2);
    batch.expect_within_bound(out);
    std::vector<std::vector<int32_t>> ids;
    std::vector<TokenList> lists;
    for (int64_t length : shape().lengths) {
      ids.emplace_back(static_cast<size_t>(std::min(window, length)));
      std::iota(ids.back().begin(), ids.back().end(), static_cast<int32_t>(length - std::ssize(ids.back())));
      for (int head = 0; head < shape().kv_heads; ++head) lists.push_back({ids.back().data(), std::ssize(ids.back())});
    }
    EXPECT_EQ(batch.run(3, lists), out) << window;
  }
}

TEST_P(AttentionDecode, CapsScores) {
  for (float cap : {5.f}) {
    Batch batch(shape());
    batch.cap = cap;
    batch.scale = 2;  // so that many scores lie beyond the cap
    const std::vector<float> out = batch.run(2);
    std::vector<float> exact;
    ref::attention_decode(batch.args(exact));
    double keys = 0, values = 0, queries = 0;
    for (TestSequence& s : batch.sequences) {
      for (float k : s.keys()) keys = std::max<double>(keys, std::abs(k));
      for (float v : s.values()) values = std::max<double>(values, std::abs(v));
    }
    for (float q : batch.q) queries = std::max<double>(queries, std::abs(q));
    const double bound = capped_attention_bound(2 * keys * queries * shape().dim, cap, kEpsF32, values);
    for (size_t i = 0; i < out.size(); ++i) ASSERT_NEAR(out[i], exact[i], bound) << shape().name << " cap " << cap;
  }
}

TEST_P(AttentionDecode, EveryQueryHeadMayHaveItsList) {
  Batch batch(shape(), true);
  std::vector<std::vector<int32_t>> ids;
  for (int64_t length : shape().lengths)
    for (int head = 0; head < shape().heads; ++head) ids.push_back(some_ids(length, static_cast<unsigned>(head)));
  std::vector<TokenList> lists;
  for (const auto& list : ids) lists.push_back({list.data(), static_cast<int64_t>(list.size())});
  batch.expect_within_bound(batch.run(2, lists), lists);
}

TEST_P(AttentionDecode, AListOfAllEqualsNoList) {
  Batch batch(shape());
  std::vector<int32_t> ids(static_cast<size_t>(*std::max_element(shape().lengths.begin(), shape().lengths.end())));
  std::iota(ids.begin(), ids.end(), 0);
  std::vector<TokenList> lists;
  for (int64_t length : shape().lengths)
    for (int head = 0; head < shape().kv_heads; ++head) lists.push_back({ids.data(), length});
  EXPECT_EQ(batch.run(2), batch.run(2, lists));
}

TEST_P(AttentionDecode, ExtremeScores) {
  Batch batch(shape());
  const int64_t row = int64_t{shape().kv_heads} * shape().dim;
  for (TestSequence& s : batch.sequences) {
    const auto last = s.keys().end() - row;
    for (auto k = s.keys().begin(); k != s.keys().end(); ++k) *k = k < last ? *k : *k * 1000.f;  // one huge score
    s.store();
  }
  batch.expect_within_bound(batch.run(2));
  for (TestSequence& s : batch.sequences) std::fill(s.keys().begin(), s.keys().end(), 1.f), s.store();  // all equal
  batch.expect_within_bound(batch.run(2));
  std::fill(batch.q.begin(), batch.q.end(), -300.f);  // all equal and far below zero
  batch.expect_within_bound(batch.run(2));
}

INSTANTIATE_TEST_SUITE_P(Cases, AttentionDecode,
                         testing::Combine(testing::Range(size_t{0}, attention_cases().size()),
                                          testing::ValuesIn(supported_isas())),
                         [](const auto& info) {
                           return std::string(name(std::get<1>(info.param))) + "_" +
                                  std::to_string(std::get<0>(info.param));
                         });

TEST(AttentionDecodeDoor, RefusesNonsense) {
  Batch batch(attention_cases()[2]);
  const Context context(1);
  std::vector<float> out;
  const std::vector<TokenList> none(1), empty(6, TokenList{reinterpret_cast<const int32_t*>(&out), 0});
  EXPECT_THROW(attention_decode(context, batch.args(out, none)), Error);
  EXPECT_THROW(attention_decode(context, batch.args(out, empty)), Error);
  const int32_t outside[] = {0, 300};
  EXPECT_THROW(attention_decode(context, batch.args(out, std::vector<TokenList>(6, {outside, 2}))), Error);
  batch.kv[1].head_dim = 48;
  EXPECT_THROW(attention_decode(context, batch.args(out)), Error);
  batch.kv[1] = batch.kv[0], batch.kv[1].dtype = DType::kQ8_0;
  EXPECT_THROW(attention_decode(context, batch.args(out)), Error);
  batch.kv.pop_back();
  EXPECT_THROW(attention_decode(context, batch.args(out)), Error);
}

TEST(DecodeRun, IsLongEnoughAndNotTooMany) {
  EXPECT_EQ(decode_run(1), 256);
  EXPECT_EQ(decode_run(8192), 256);
  EXPECT_EQ(decode_run(8193), 512);
  EXPECT_EQ(decode_run(131072), 4096);
}

}  // namespace
}  // namespace lowkey
