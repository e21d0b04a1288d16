#include "ops/select_tokens.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "ops/attention_cases.h"

namespace lowkey {
namespace {

struct Rows {
  int64_t columns;
  std::vector<float> keys;
  std::vector<int64_t> lengths;
  std::vector<SelectBudget> budgets;
  std::vector<std::vector<int32_t>> ids;
  std::vector<int32_t*> pointers;
  std::vector<TokenList> lists;

  Rows(std::vector<float> keys_, int64_t columns_, std::vector<int64_t> lengths_, std::vector<SelectBudget> budgets_)
      : columns(columns_), keys(std::move(keys_)), lengths(std::move(lengths_)), budgets(std::move(budgets_)) {}

  SelectTokensArgs args() {
    ids.clear(), pointers.clear();
    for (size_t n = 0; n < lengths.size(); ++n) {
      const SelectBudget& b = budgets[n];
      const int64_t room = std::min(lengths[n], b.most + b.sink + b.recent);
      ids.emplace_back(static_cast<size_t>(room) + 1, -7);  // one more, that must stay
    }
    for (auto& list : ids) pointers.push_back(list.data());
    lists.assign(lengths.size(), {});
    const auto rows = static_cast<int64_t>(lengths.size());
    return {.keys = f32_view(keys.data(), {rows, columns}),
            .lengths = lengths,
            .budgets = budgets,
            .ids = pointers,
            .lists = lists};
  }
  // The lists; {-1} where every token is taken.
  std::vector<std::vector<int32_t>> result() const {
    std::vector<std::vector<int32_t>> out;
    for (size_t n = 0; n < lists.size(); ++n) {
      EXPECT_EQ(ids[n].back(), -7) << "row " << n << " wrote past its room";
      if (lists[n].ids) {
        EXPECT_EQ(lists[n].ids, ids[n].data());
        out.emplace_back(lists[n].ids, lists[n].ids + lists[n].count);
      } else {
        EXPECT_EQ(lists[n].count, lengths[n]);
        out.push_back({-1});
      }
    }
    return out;
  }
  std::vector<std::vector<int32_t>> run(int threads) {
    const Context context(threads);
    select_tokens(context, args());
    return result();
  }
  std::vector<std::vector<int32_t>> reference() {
    ref::select_tokens(args());
    return result();
  }
};

class SelectTokens : public testing::TestWithParam<Isa> {
 protected:
  void SetUp() override { limit_isa(GetParam()); }
  void TearDown() override { limit_isa(detected_isa()); }
};

// Every length around the steps of vectors, and some beyond those that are sampled first.
TEST_P(SelectTokens, EqualsTheReference) {
  constexpr int64_t kColumns = 70000;
  const std::vector<float> random = random_normal(kColumns, 1, 4.f);
  std::vector<int64_t> lengths = {1, 2, 7, 8, 9, 31, 33, 100, 1000, 8191, 8192, 8300, 33333, 70000};
  for (const int64_t length : lengths) {
    for (const int64_t most : {1, 3, 64, 500, 2048, 20000, 100000}) {
      for (const int64_t always : {0, 1, 5, 64}) {
        const SelectBudget budget{.most = most, .least = 0, .sink = always, .recent = always * 2, .share = 1};
        Rows rows({random.begin(), random.begin() + length}, length, {length}, {budget});
        ASSERT_EQ(rows.run(1), rows.reference()) << "length " << length << ", most " << most << ", always " << always;
      }
    }
  }
}

// The keys of real texts are not independent: long stretches of high ones, which a sample may miss or find alone.
TEST_P(SelectTokens, EqualsTheReferenceOnUnevenRows) {
  constexpr int64_t kLength = 40000;
  const auto check = [&](const char* what, const auto& f) {
    std::vector<float> keys = random_normal(kLength, 2);
    for (int64_t t = 0; t < kLength; ++t) keys[static_cast<size_t>(t)] = f(t, keys[static_cast<size_t>(t)]);
    for (const int64_t most : {1, 100, 2500, 10000}) {
      Rows rows(keys, kLength, {kLength}, {{.most = most, .least = 0, .sink = 4, .recent = 64, .share = 1}});
      ASSERT_EQ(rows.run(1), rows.reference()) << what << ", most " << most;
    }
  };
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  check("a high stretch", [](int64_t t, float x) { return x + (t > 20000 && t < 21000 ? 50.f : 0.f); });
  check("rising", [](int64_t t, float x) { return x + 0.01f * static_cast<float>(t); });
  check("what is sampled is high", [](int64_t t, float x) { return x + (t % 156 < 12 ? 9.f : 0.f); });
  check("what is sampled is low", [](int64_t t, float x) { return x - (t % 156 < 12 ? 9.f : 0.f); });
  check("all equal", [](int64_t, float) { return -3.f; });
  check("few values", [](int64_t, float x) { return std::round(x); });
  check("two zeros", [](int64_t t, float) { return t % 3 ? 0.f : -0.f; });
  check("huge and tiny", [](int64_t t, float x) { return x * (t % 2 ? 1e30f : 1e-40f); });
  check("infinities", [](int64_t t, float x) { return t % 5 == 0 ? -kInfinity : t % 7 == 0 ? kInfinity : x; });
}

TEST_P(SelectTokens, RowsAndThreadsDoNotMatterToEachOther) {
  constexpr int64_t kRows = 9, kColumns = 9000;
  Rows rows(random_normal(kRows * kColumns, 3), kColumns, {}, {});
  for (int64_t n = 0; n < kRows; ++n) {
    rows.lengths.push_back(kColumns - 1000 * n);
    rows.budgets.push_back({.most = 1 + 50 * n, .least = n, .sink = n, .recent = 3 * n, .share = n % 2 ? 1.f : 0.5f});
  }
  const auto lists = rows.run(1);
  EXPECT_EQ(lists, rows.run(3));
  for (int64_t n = 0; n < kRows; ++n) {
    const auto i = static_cast<size_t>(n);
    const auto begin = rows.keys.begin() + n * kColumns;
    Rows one({begin, begin + rows.lengths[i]}, rows.lengths[i], {rows.lengths[i]}, {rows.budgets[i]});
    EXPECT_EQ(one.run(1)[0], lists[i]) << "row " << n;
  }
}

// The weights are right to 3e-7, summed in f32 by 1024: with n tokens chosen the share is held to within
// some 1e-5, and n - 1 would not hold it by as much more.
TEST_P(SelectTokens, ChoosesNoMoreThanTheShareNeeds) {
  constexpr double kSlack = 1e-5;
  for (const int64_t length : {50, 3000, 20000}) {
    const std::vector<float> keys = random_normal(length, 5, 3.f);
    const double max = *std::max_element(keys.begin(), keys.end());
    double total = 0;
    for (float key : keys) total += std::exp2(key - max);
    for (const float share : {0.01f, 0.3f, 0.9f, 0.99f, 0.99999f}) {
      for (const int64_t most : {int64_t{30}, length / 4, length}) {
        const SelectBudget budget{.most = most, .least = 5, .sink = 2, .recent = 10, .share = share};
        Rows rows(keys, length, {length}, {budget});
        std::vector<int32_t> ids = rows.run(1)[0];
        if (ids[0] < 0) ids.resize(static_cast<size_t>(length)), std::iota(ids.begin(), ids.end(), 0);
        const auto chosen = static_cast<int64_t>(ids.size()) - 12;
        Rows fixed(keys, length, {length}, {{.most = chosen, .least = 0, .sink = 2, .recent = 10, .share = 1}});
        if (chosen < length - 12) {
          ASSERT_EQ(ids, fixed.reference()[0]);  // they are the best so many
        }
        double held = 0, least = max;
        for (int32_t id : ids) {
          held += std::exp2(keys[static_cast<size_t>(id)] - max);
          if (id >= 2 && id < length - 10) least = std::min(least, double{keys[static_cast<size_t>(id)]});
        }
        const auto where = testing::Message() << "length " << length << ", share " << share << ", most " << most;
        ASSERT_GE(chosen, 5) << where;
        ASSERT_LE(chosen, most) << where;
        if (chosen < std::min(most, length - 12)) {
          ASSERT_GE(held, (share - kSlack) * total) << where;
        }
        if (chosen > 5) {
          ASSERT_LT(held - std::exp2(least - max), (share + kSlack) * total) << where;
        }
      }
    }
  }
}

TEST_P(SelectTokens, AShareOfEqualKeysTakesTheFirst) {
  Rows rows(std::vector<float>(1000, -2.f), 1000, {1000},
            {{.most = 900, .least = 0, .sink = 0, .recent = 0, .share = 0.2505f}});
  std::vector<int32_t> first(251);
  std::iota(first.begin(), first.end(), 0);
  EXPECT_EQ(rows.run(1)[0], first);
  EXPECT_EQ(rows.reference()[0], first);
}

// Not promised, but a broken model must not lead to reads outside the cache.
TEST_P(SelectTokens, KeysThatAreNoNumbersStillGiveTokens) {
  for (const float share : {1.f, 0.5f}) {
    for (const int64_t every : {1, 2, 100}) {
      std::vector<float> keys = random_normal(20000, 4);
      for (size_t t = 0; t < keys.size(); t += static_cast<size_t>(every)) keys[t] = std::nanf("");
      Rows rows(keys, 20000, {20000}, {{.most = 15000, .least = 7, .sink = 1, .recent = 1, .share = share}});
      const std::vector<int32_t> ids = rows.run(1)[0];
      ASSERT_GE(ids.size(), 9u);
      for (size_t i = 0; i < ids.size(); ++i) {
        ASSERT_GE(ids[i], i ? ids[i - 1] + 1 : 0);
        ASSERT_LT(ids[i], 20000);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Isas, SelectTokens, testing::ValuesIn(supported_isas()),
                         [](const auto& info) { return std::string(name(info.param)); });

TEST(SelectTokensDoor, RefusesNonsense) {
  const Context context(1);
  const SelectBudget good{.most = 3, .least = 0, .sink = 1, .recent = 1, .share = 1};
  const auto refuses = [&](auto&& spoil) {
    Rows rows(random_normal(40, 1), 20, {20, 15}, {good, good});
    SelectTokensArgs args = rows.args();
    spoil(args, rows);
    EXPECT_THROW(select_tokens(context, args), Error);
  };
  refuses([](SelectTokensArgs&, Rows& r) { r.lengths[1] = 21; });
  refuses([](SelectTokensArgs&, Rows& r) { r.lengths[0] = 0; });
  refuses([](SelectTokensArgs&, Rows& r) { r.budgets[0].most = 0; });
  refuses([](SelectTokensArgs&, Rows& r) { r.budgets[0].least = 4; });
  refuses([](SelectTokensArgs&, Rows& r) { r.budgets[1].sink = -1; });
  refuses([](SelectTokensArgs&, Rows& r) { r.budgets[1].recent = -1; });
  refuses([](SelectTokensArgs&, Rows& r) { r.budgets[1].share = 0; });
  refuses([](SelectTokensArgs&, Rows& r) { r.budgets[1].share = std::nanf(""); });
  refuses([](SelectTokensArgs&, Rows& r) { r.pointers[1] = nullptr; });
  refuses([](SelectTokensArgs& a, Rows&) { a.keys.shape[0] = 1; });
  refuses([](SelectTokensArgs& a, Rows&) { a.keys.dtype = DType::kF16; });
  refuses([](SelectTokensArgs& a, Rows&) { a.lists = a.lists.subspan(1); });
  refuses([](SelectTokensArgs& a, Rows&) { a.budgets = a.budgets.subspan(1); });
}

}  // namespace
}  // namespace lowkey
