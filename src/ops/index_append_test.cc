#include "ops/index_append.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "ops/key_index_cases.h"
#include "ops/ref/index_code.h"

namespace lowkey {
namespace {

// Each case on every instruction set of this machine.
class IndexAppend : public testing::TestWithParam<std::tuple<size_t, Isa>> {
 protected:
  void SetUp() override { limit_isa(std::get<1>(GetParam())); }
  void TearDown() override { limit_isa(detected_isa()); }
  const IndexCase& shape() const { return index_cases()[std::get<0>(GetParam())]; }
  int64_t tokens() const { return std::min<int64_t>(shape().lengths[0], 150); }  // new ones
  std::vector<float> new_keys() const { return random_normal(tokens() * shape().kv_heads * shape().dim, 77); }
};

View keys_view(std::vector<float>& k, const IndexCase& c) {
  return f32_view(k.data(), {static_cast<int64_t>(k.size()) / (c.kv_heads * c.dim), c.kv_heads, c.dim});
}

std::vector<std::byte> append(const IndexCase& c, std::vector<float> k, int threads, bool shuffled = false) {
  const TestIndex index(c);
  IndexedSequence sequence(c, index.index().nibbles(), c.lengths[0], 3, shuffled);
  const Context context(threads);
  index_append(context, {.index = index.index(), .k = keys_view(k, c), .kv = sequence.kv(), .plane = kTestPlane});
  std::vector<std::byte> codes;  // in the order of tokens
  for (int head = 0; head < c.kv_heads; ++head)
    for (int64_t t = 0; t < c.lengths[0]; ++t)
      for (int n = 0; n < index.index().nibbles(); ++n)
        codes.push_back(static_cast<std::byte>(
            ref::index_code(sequence.kv(), kTestPlane, head, index.index().nibbles(), t, n).get()));
  return codes;
}

// The distance from what is left of z to the chosen entry may exceed the least one by twice the error of the
// coordinates: rotated ones are sums of D + 1 products in f32, and each entry taken away rounds once more. The squares
// of a distance are rounded width + 2 times, and compared without their last 4 bits.
TEST_P(IndexAppend, ChoosesTheNearest) {
  constexpr double kEps = 0x1p-24;
  const IndexCase& c = shape();
  std::vector<float> k = new_keys();
  TestIndex index(c);
  const int nibbles = index.index().nibbles();
  IndexedSequence sequence(c, nibbles, c.lengths[0], 3, true);
  const Context context(2);
  index_append(context, {.index = index.index(), .k = keys_view(k, c), .kv = sequence.kv(), .plane = kTestPlane});
  for (int64_t i = 0; i < tokens() * c.kv_heads; ++i) {
    const int h = static_cast<int>(i % c.kv_heads);
    const IndexHead& head = index.heads()[static_cast<size_t>(h)];
    std::vector<double> z(static_cast<size_t>(c.rank)), error(z.size());
    for (size_t r = 0; r < z.size(); ++r) {
      for (int64_t d = 0; d < c.dim; ++d) {
        const double product = head.rotation.f32_row(static_cast<int64_t>(r))[d] *
                               (double{k[static_cast<size_t>(i * c.dim + d)]} - head.mean[d]);
        z[r] += product, error[r] += std::abs(product) * kEps * (c.dim + 1);
      }
    }
    for (int n = 0; n < nibbles; ++n) {
      const IndexNibble& nibble = head.nibbles[static_cast<size_t>(n)];
      double distances[16], slack = 0;
      for (int e = 0; e < 16; ++e) {
        distances[e] = 0;
        for (int d = 0; d < nibble.width; ++d)
          distances[e] += std::pow(z[static_cast<size_t>(nibble.begin + d)] - nibble.entries[d * 16 + e], 2);
        distances[e] = std::sqrt(distances[e]);
      }
      const int64_t t = c.lengths[0] - tokens() + i / c.kv_heads;
      const int code = ref::index_code(sequence.kv(), kTestPlane, h, nibbles, t, n).get();
      for (int d = 0; d < nibble.width; ++d) slack += std::pow(error[static_cast<size_t>(nibble.begin + d)], 2);
      ASSERT_LE(distances[code], *std::min_element(distances, distances + 16) + 2 * std::sqrt(slack) +
                                     distances[code] * kEps * (nibble.width + 2 + 16))
          << "token " << t << ", head " << h << ", nibble " << n << ", " << name(active_isa());
      for (int d = 0; d < nibble.width; ++d) {
        const auto r = static_cast<size_t>(nibble.begin + d);
        z[r] -= nibble.entries[d * 16 + code],
            error[r] += kEps * (std::abs(z[r]) + std::abs(nibble.entries[d * 16 + code]));
      }
    }
  }
}

TEST_P(IndexAppend, ThreadsAndPageOrderDoNotChangeACode) {
  const auto codes = append(shape(), new_keys(), 1);
  EXPECT_EQ(codes, append(shape(), new_keys(), 3));
  EXPECT_EQ(codes, append(shape(), new_keys(), 2, true));
}

TEST_P(IndexAppend, OneByOneEqualsAllAtOnce) {
  const IndexCase& c = shape();
  std::vector<float> k = new_keys();
  const TestIndex index(c);
  const int64_t row = int64_t{c.kv_heads} * c.dim;
  IndexedSequence together(c, index.index().nibbles(), c.lengths[0], 3),
      single(c, index.index().nibbles(), c.lengths[0], 3);
  const Context context(2);
  index_append(context, {.index = index.index(), .k = keys_view(k, c), .kv = together.kv(), .plane = kTestPlane});
  for (int64_t t = 0; t < tokens(); ++t) {
    KvPages kv = single.kv();
    kv.length = c.lengths[0] - tokens() + t + 1;
    index_append(context, {.index = index.index(),
                           .k = f32_view(k.data() + t * row, {1, c.kv_heads, c.dim}),
                           .kv = kv,
                           .plane = kTestPlane});
  }
  EXPECT_EQ(together.codes(), single.codes());
}

TEST_P(IndexAppend, LeavesOtherTokensAlone) {
  const IndexCase& c = shape();
  std::vector<float> k = new_keys();
  const TestIndex index(c);
  const int nibbles = index.index().nibbles();
  IndexedSequence before(c, nibbles, c.lengths[0], 3), after(c, nibbles, c.lengths[0], 3),
      reference(c, nibbles, c.lengths[0], 3);
  const Context context(2);
  index_append(context, {.index = index.index(), .k = keys_view(k, c), .kv = after.kv(), .plane = kTestPlane});
  ref::index_append({.index = index.index(), .k = keys_view(k, c), .kv = reference.kv(), .plane = kTestPlane});
  int64_t differing = 0;
  for (int head = 0; head < c.kv_heads; ++head)
    for (int64_t page = 0; page * c.page_tokens < c.lengths[0]; ++page)
      for (int64_t t = page * c.page_tokens; t < (page + 1) * c.page_tokens; ++t)  // past the end too
        for (int n = 0; n < nibbles; ++n) {
          const auto code = [&](IndexedSequence& s) {
            return ref::index_code(s.kv(), kTestPlane, head, nibbles, t, n).get();
          };
          if (t < c.lengths[0] - tokens() || t >= c.lengths[0]) {
            ASSERT_EQ(code(after), code(before)) << "token " << t;
            ASSERT_EQ(code(reference), code(before)) << "token " << t;
          } else {
            differing += code(after) != code(reference);
          }
        }
  EXPECT_LE(differing, tokens() * c.kv_heads * nibbles / 1000);  // only where two entries are as near
}

INSTANTIATE_TEST_SUITE_P(Cases, IndexAppend,
                         testing::Combine(testing::Range(size_t{0}, index_cases().size()),
                                          testing::ValuesIn(supported_isas())),
                         [](const auto& info) {
                           return std::string(name(std::get<1>(info.param))) + "_" +
                                  std::to_string(std::get<0>(info.param));
                         });

TEST(IndexAppendDoor, RefusesNonsense) {
  const IndexCase& c = index_cases()[2];
  const Context context(1);
  std::vector<float> k(static_cast<size_t>(3 * c.kv_heads * c.dim));
  TestIndex index(c);
  IndexedSequence sequence(c, index.index().nibbles(), 300, 3);
  const auto refuses = [&](auto&& spoil) {
    TestIndex spoilt(c);
    KeyIndex key_index = spoilt.index();
    KvPages kv = sequence.kv();
    IndexAppendArgs args{.index = key_index, .k = keys_view(k, c), .kv = kv, .plane = kTestPlane};
    spoil(args, spoilt.heads());
    EXPECT_THROW(index_append(context, args), Error);
  };
  using Heads = std::vector<IndexHead>;
  refuses([](IndexAppendArgs& a, Heads&) { a.plane = 1; });
  refuses([](IndexAppendArgs& a, Heads&) { a.plane = 4; });
  refuses([](IndexAppendArgs& a, Heads&) { a.plane = -1; });
  refuses([](IndexAppendArgs& a, Heads&) { a.kv.length = 2; });
  refuses([](IndexAppendArgs& a, Heads&) { a.kv.page_tokens = 32; });
  refuses([](IndexAppendArgs& a, Heads&) { a.kv.planes[kTestPlane].page_bytes -= 32; });
  refuses([](IndexAppendArgs& a, Heads&) { a.k.shape[2] = 32; });
  refuses([](IndexAppendArgs& a, Heads&) { a.k.dtype = DType::kF16; });
  refuses([](IndexAppendArgs&, Heads& heads) { heads[1].nibbles = heads[1].nibbles.subspan(1); });
  refuses([](IndexAppendArgs&, Heads& heads) { heads[0].nibbles = {}; });
  refuses([](IndexAppendArgs&, Heads& heads) { heads[1].rotation.shape[0] = 8; });
  refuses([](IndexAppendArgs&, Heads& heads) { heads[1].mean = nullptr; });
  refuses([](IndexAppendArgs&, Heads& heads) { heads[0].query_rotation.shape[1] = 8; });
  refuses([](IndexAppendArgs&, Heads& heads) {
    for (IndexHead& head : heads) head.rotation.shape[0] = head.query_rotation.shape[0] = 4;  // nibbles beyond it
  });
}

}  // namespace
}  // namespace lowkey
