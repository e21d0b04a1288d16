#include "ops/score_bounds.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "base/error.h"
#include "ops/attention_cases.h"
#include "ops/bounds_append.h"
#include "ops/ref/kv_value.h"
#include "ops/score_keys.h"

namespace lowkey {
namespace {

constexpr int kPlane = 1;

// Sequences with a plane for the bounds, nothing in it yet.
struct Rows {
  AttentionCase shape;
  KeyBounds bounds;
  std::vector<TestSequence> sequences;
  std::vector<std::vector<std::byte>> planes;
  std::vector<KvPages> kv;
  std::vector<float> q, keys;
  int64_t longest = 0;  // blocks

  Rows(const AttentionCase& c, int block, bool shuffled = true) : shape(c), bounds{kPlane, block} {
    for (size_t b = 0; b < c.lengths.size(); ++b)
      sequences.emplace_back(c, c.lengths[b], static_cast<unsigned>(10 * b), shuffled);
    for (const TestSequence& s : sequences) {
      const int64_t bytes = KeyBounds::page_bytes(c.dtype, c.dim, c.page_tokens, block);
      const int64_t pages = (s.kv().length + c.page_tokens - 1) / c.page_tokens;
      planes.emplace_back(static_cast<size_t>(pages * bytes * c.kv_heads), std::byte{0x7b});
      kv.push_back(s.kv());
      kv.back().planes[kPlane] = {planes.back().data(), pages * bytes, bytes};
      longest = std::max(longest, bounds.blocks(s.kv().length));
    }
    q = random_normal(static_cast<int64_t>(kv.size()) * c.heads * c.dim, 99);
  }
  void append(int threads = 2) {
    const Context context(threads);
    for (const KvPages& pages : kv) bounds_append(context, {.kv = pages, .tokens = pages.length, .bounds = bounds});
  }
  ScoreBoundsArgs args() {
    const auto rows = static_cast<int64_t>(kv.size());
    keys.assign(static_cast<size_t>(rows * shape.kv_heads * longest), -7.f);
    return {.q = {q.data(), DType::kF32, {rows, shape.heads, shape.dim}},
            .kv = kv,
            .bounds = bounds,
            .scale = 1.f / std::sqrt(static_cast<float>(shape.dim)),
            .keys = {keys.data(), DType::kF32, {rows, shape.kv_heads, longest}}};
  }
  std::vector<float> run(int threads) {
    const Context context(threads);
    score_bounds(context, args());
    return keys;
  }
  // A score is a sum of at most 2 D products, each at most |q| |k|; the normaliser is off by no more than the largest.
  double tolerance() {
    double most_q = 0, most_k = 0;
    for (float x : q) most_q = std::max(most_q, std::abs(double{x}));
    for (TestSequence& s : sequences)
      for (float x : s.keys()) most_k = std::max(most_k, std::abs(double{x}));
    constexpr double kEps = 0x1p-24;
    return 2 * (most_q * most_k * std::sqrt(shape.dim) * std::numbers::log2e + 32) * kEps * 2;
  }
};

class Bounds : public testing::TestWithParam<std::tuple<size_t, Isa>> {
 protected:
  void SetUp() override {
    limit_isa(std::get<1>(GetParam()));
    if (has_scales(shape().dtype)) GTEST_SKIP() << "refused: rows of bytes have scales";
  }
  void TearDown() override { limit_isa(detected_isa()); }
  const AttentionCase& shape() const { return attention_cases()[std::get<0>(GetParam())]; }
  // Those that divide the page.
  std::vector<int> blocks() const {
    std::vector<int> sizes;
    for (int block : {1, 4, 16, 64})
      if (block <= shape().page_tokens) sizes.push_back(block);
    return sizes;
  }
};

TEST_P(Bounds, ScoresAreTheReferenceWithinTheBound) {
  for (int block : blocks()) {
    Rows rows(shape(), block);
    rows.append();
    const std::vector<float> out = rows.run(2);
    ref::score_bounds(rows.args());
    const double tolerance = rows.tolerance();
    for (size_t i = 0; i < out.size(); ++i)
      ASSERT_LE(std::abs(out[i] - rows.keys[i]), tolerance) << shape().name << ", block " << block << ", " << i;
  }
}

TEST_P(Bounds, AppendingIsTheReference) {
  for (int block : blocks()) {
    Rows rows(shape(), block), reference(shape(), block);
    rows.append();
    for (const KvPages& kv : reference.kv)
      ref::bounds_append({.kv = kv, .tokens = kv.length, .bounds = reference.bounds});
    EXPECT_EQ(rows.planes, reference.planes) << shape().name << ", block " << block;
  }
}

TEST_P(Bounds, PiecesAndThreadsDoNotChangeABit) {
  for (int block : blocks()) {
    Rows whole(shape(), block, false), pieces(shape(), block, true);
    whole.append(1);
    const Context context(3);
    for (KvPages kv : pieces.kv) {
      const int64_t length = kv.length;
      for (int64_t at = 0; at < length;) {
        const int64_t count = std::min<int64_t>(at % 7 == 0 ? 1 : 50, length - at);
        kv.length = at += count;
        bounds_append(context, {.kv = kv, .tokens = count, .bounds = pieces.bounds});
      }
    }
    EXPECT_EQ(whole.run(1), pieces.run(3)) << shape().name << ", block " << block;
  }
}

TEST_P(Bounds, ARowSeesNothingPastItsLength) {
  for (int block : blocks()) {
    Rows full(shape(), block);
    full.append();
    AttentionCase cut = shape();
    for (int64_t& length : cut.lengths) length = (length + 1) / 2;
    Rows half(cut, block);
    for (size_t n = 0; n < full.kv.size(); ++n) {  // the same tokens, stored only so far
      const int64_t floats = cut.lengths[n] * cut.kv_heads * cut.dim;
      std::copy_n(full.sequences[n].keys().begin(), floats, half.sequences[n].keys().begin());
      half.sequences[n].store();
      full.kv[n].length = cut.lengths[n];
    }
    half.append();
    full.longest = half.longest;
    const std::vector<float> seen = full.run(2), stored = half.run(2);
    for (size_t i = 0; i < seen.size(); ++i)
      ASSERT_EQ(seen[i], stored[i]) << shape().name << ", block " << block << ", differs at " << i;
  }
}

TEST_P(Bounds, BlocksOfOneTokenRankAsKeysDo) {
  Rows rows(shape(), 1);
  rows.append();
  const std::vector<float> out = rows.run(2);
  std::vector<float> keys(out.size(), -7.f);
  const ScoreBoundsArgs a = rows.args();
  score_keys(Context(2), {.q = a.q,
                          .kv = a.kv,
                          .dims = shape().dim,
                          .scale = a.scale,
                          .per_query_head = false,
                          .keys = {keys.data(), DType::kF32, {a.keys.dim(0), a.keys.dim(1), a.keys.dim(2)}}});
  const double tolerance = 2 * rows.tolerance();
  for (size_t i = 0; i < out.size(); ++i) ASSERT_LE(std::abs(out[i] - keys[i]), tolerance) << i;
}

TEST_P(Bounds, NoProductIsAboveThem) {
  if (shape().dtype != DType::kF16 || shape().page_tokens < 16) GTEST_SKIP() << "one type is enough";
  Rows rows(shape(), 16);
  rows.append();
  const KvPages& kv = rows.kv[0];
  const KvPages plane = rows.bounds.rows(kv);
  for (int head = 0; head < shape().kv_heads; ++head)
    for (int64_t t = 0; t < plane.length * 16; ++t)
      for (int i = 0; i < shape().dim; ++i) {
        const float key = ref::kv_value(kv.dtype, kv.token(head, t), i);
        const std::byte* bounds = plane.token(head, t / 16);
        ASSERT_LE(ref::kv_value(kv.dtype, bounds, i), key);
        ASSERT_GE(ref::kv_value(kv.dtype, bounds, shape().dim + i), key);
      }
}

INSTANTIATE_TEST_SUITE_P(Cases, Bounds,
                         testing::Combine(testing::Range(size_t{0}, attention_cases().size()),
                                          testing::ValuesIn(supported_isas())),
                         [](const auto& info) {
                           return std::string(name(std::get<1>(info.param))) + "_" +
                                  std::to_string(std::get<0>(info.param));
                         });

TEST(BoundsDoor, RefusesNonsense) {
  Rows rows(attention_cases()[2], 16);
  const Context context(1);
  const auto refuses = [&](auto&& spoil) {
    ScoreBoundsArgs args = rows.args();
    std::vector<KvPages> kv = rows.kv;
    args.kv = kv;
    spoil(args, kv);
    EXPECT_THROW(score_bounds(context, args), Error);
  };
  using Kv = std::vector<KvPages>;
  refuses([](ScoreBoundsArgs& a, Kv&) { a.bounds.block_tokens = 12; });
  refuses([](ScoreBoundsArgs& a, Kv&) { a.bounds.block_tokens = 128; });
  refuses([](ScoreBoundsArgs& a, Kv&) { a.bounds.block_tokens = 8; });  // the plane is for 16
  refuses([](ScoreBoundsArgs& a, Kv&) { a.bounds.plane = 0; });
  refuses([](ScoreBoundsArgs& a, Kv&) { a.bounds.plane = 4; });
  refuses([](ScoreBoundsArgs& a, Kv&) { a.keys.shape[2] = 3; });
  refuses([](ScoreBoundsArgs& a, Kv&) { a.q.shape[2] = 48; });
  refuses([](ScoreBoundsArgs&, Kv& kv) { kv[1].dtype = DType::kBF16; });
  EXPECT_THROW(bounds_append(context, {.kv = rows.kv[0], .tokens = 301, .bounds = rows.bounds}), Error);
  EXPECT_THROW(bounds_append(context, {.kv = rows.kv[0], .tokens = -1, .bounds = rows.bounds}), Error);
}

}  // namespace
}  // namespace lowkey
