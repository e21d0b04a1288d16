#include "ops/value_sums.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "ops/attention_cases.h"
#include "ops/mean_values.h"
#include "ops/value_sums_append.h"

namespace lowkey {
namespace {

constexpr int kPlane = 2;

// Sequences with a plane for the sums, nothing in it yet.
struct Rows {
  AttentionCase shape;
  std::vector<TestSequence> sequences;
  std::vector<std::vector<std::byte>> planes;
  std::vector<KvPages> kv;
  double most = 0;  // of the values' magnitudes

  explicit Rows(const AttentionCase& c, bool shuffled = true) : shape(c) {
    for (size_t b = 0; b < c.lengths.size(); ++b)
      sequences.emplace_back(c, c.lengths[b], static_cast<unsigned>(10 * b), shuffled);
    for (TestSequence& s : sequences) {
      for (float x : s.values()) most = std::max(most, std::abs(double{x}));
      const int64_t bytes = value_sums_page_bytes(c.dim), pages = (s.kv().length + c.page_tokens - 1) / c.page_tokens;
      planes.emplace_back(static_cast<size_t>(pages * bytes * c.kv_heads), std::byte{0x3b});
      kv.push_back(s.kv());
      kv.back().planes[kPlane] = {planes.back().data(), pages * bytes, bytes};
    }
  }
  void append(int threads = 2) {
    const Context context(threads);
    for (const KvPages& pages : kv) value_sums_append(context, {.kv = pages, .tokens = pages.length, .plane = kPlane});
  }
  std::vector<float> means(int threads) {
    std::vector<float> out(kv.size() * static_cast<size_t>(shape.kv_heads * shape.dim), -7.f);
    mean_values(Context(threads), {.kv = kv, .plane = kPlane, .means = view(out)});
    return out;
  }
  View view(std::vector<float>& out) const {
    return f32_view(out.data(), {static_cast<int64_t>(kv.size()), shape.kv_heads, shape.dim});
  }
  // Of a sum of n values, added up page by page: no partial sum is larger than n of the largest value.
  double tolerance(int64_t n) const {
    const int64_t steps = std::min<int64_t>(shape.page_tokens, n) + n / shape.page_tokens + 1;
    return static_cast<double>(steps * n) * most * 0x1p-24;
  }
};

class ValueSums : public testing::TestWithParam<std::tuple<size_t, Isa>> {
 protected:
  void SetUp() override {
    limit_isa(std::get<1>(GetParam()));
    if (has_scales(shape_.dtype)) GTEST_SKIP() << "refused: rows of bytes have scales";
  }
  void TearDown() override { limit_isa(detected_isa()); }
  AttentionCase shape_ = attention_cases()[std::get<0>(GetParam())];
};

TEST_P(ValueSums, SumsAndMeansAreTheReferenceWithinTheBound) {
  Rows rows(shape_), reference(shape_);
  rows.append();
  for (const KvPages& kv : reference.kv) ref::value_sums_append({.kv = kv, .tokens = kv.length, .plane = kPlane});
  for (size_t b = 0; b < rows.kv.size(); ++b)
    for (int head = 0; head < shape_.kv_heads; ++head)
      for (int64_t p = 0; p * shape_.page_tokens < rows.kv[b].length; ++p)
        for (int i = 0; i < shape_.dim; ++i)
          ASSERT_LE(
              std::abs(value_sum(rows.kv[b], kPlane, head, p)[i] - value_sum(reference.kv[b], kPlane, head, p)[i]),
              rows.tolerance(p * shape_.page_tokens))
              << shape_.name << ", page " << p;
  const std::vector<float> out = rows.means(2);
  std::vector<float> expected(out.size());
  ref::mean_values({.kv = rows.kv, .plane = kPlane, .means = rows.view(expected)});
  const size_t row = static_cast<size_t>(shape_.kv_heads * shape_.dim);
  for (size_t i = 0; i < out.size(); ++i) {
    const int64_t length = rows.kv[i / row].length;
    ASSERT_LE(std::abs(out[i] - expected[i]), rows.tolerance(length) / static_cast<double>(length)) << i;
  }
}

TEST_P(ValueSums, PiecesThreadsAndPageOrderDoNotChangeABit) {
  Rows whole(shape_, false), pieces(shape_, true);
  whole.append(1);
  const Context context(3);
  for (KvPages kv : pieces.kv) {
    const int64_t length = kv.length;
    for (int64_t at = 0; at < length;) {
      const int64_t count = std::min<int64_t>(at % 7 == 0 ? 1 : 50, length - at);
      kv.length = at += count;
      value_sums_append(context, {.kv = kv, .tokens = count, .plane = kPlane});
    }
  }
  EXPECT_EQ(whole.means(1), pieces.means(3));
  // Cut short and grown again, as a draft that was refused.
  for (KvPages kv : pieces.kv) value_sums_append(context, {.kv = kv, .tokens = (kv.length + 1) / 2, .plane = kPlane});
  EXPECT_EQ(whole.means(1), pieces.means(3));
}

INSTANTIATE_TEST_SUITE_P(Cases, ValueSums,
                         testing::Combine(testing::Range(size_t{0}, attention_cases().size()),
                                          testing::ValuesIn(supported_isas())),
                         [](const auto& info) {
                           return std::string(name(std::get<1>(info.param))) + "_" +
                                  std::to_string(std::get<0>(info.param));
                         });

TEST(ValueSumsDoor, RefusesNonsense) {
  Rows rows(attention_cases()[2]);
  const Context context(1);
  std::vector<float> means(3 * 2 * 64);
  const auto refuses = [&](auto&& spoil) {
    std::vector<KvPages> kv = rows.kv;
    MeanValuesArgs args{.kv = kv, .plane = kPlane, .means = rows.view(means)};
    spoil(args, kv);
    EXPECT_THROW(mean_values(context, args), Error);
  };
  using Kv = std::vector<KvPages>;
  refuses([](MeanValuesArgs& a, Kv&) { a.plane = 0; });
  refuses([](MeanValuesArgs& a, Kv&) { a.means.shape[2] = 48; });
  refuses([](MeanValuesArgs& a, Kv&) { a.kv = a.kv.first(2); });
  refuses([](MeanValuesArgs&, Kv& kv) { kv[1].length = 0; });
  refuses([](MeanValuesArgs&, Kv& kv) { kv[1].planes[kPlane].page_bytes -= 64; });
  EXPECT_THROW(value_sums_append(context, {.kv = rows.kv[0], .tokens = 301, .plane = kPlane}), Error);
}

}  // namespace
}  // namespace lowkey
