#include "ops/score_index.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <numbers>

#include "base/error.h"
#include "ops/cpu/index_scan.h"
#include "ops/key_index_cases.h"
#include "ops/ref/index_code.h"

namespace lowkey {
namespace {

struct Batch {
  IndexCase shape;
  TestIndex index;
  std::vector<IndexedSequence> sequences;
  std::vector<KvPages> kv;
  std::vector<float> q;
  int64_t longest;

  explicit Batch(const IndexCase& c, bool shuffled = false) : shape(c), index(c) {
    for (size_t n = 0; n < c.lengths.size(); ++n)
      sequences.emplace_back(c, index.index().nibbles(), c.lengths[n], static_cast<unsigned>(10 * n), shuffled);
    for (const IndexedSequence& s : sequences) kv.push_back(s.kv());
    q = random_normal(rows() * c.heads * c.dim, 99, 3.f);
    longest = *std::max_element(c.lengths.begin(), c.lengths.end());
  }
  int64_t rows() const { return static_cast<int64_t>(shape.lengths.size()); }
  float scale() const { return 1.f / std::sqrt(static_cast<float>(shape.dim)); }

  template <typename F>
  std::vector<float> score(F&& f) {
    std::vector<float> keys(static_cast<size_t>(rows() * shape.kv_heads * (longest + 3)), -7.f);
    const KeyIndex key_index = index.index();
    f(ScoreIndexArgs{.index = key_index,
                     .q = f32_view(q.data(), {rows(), shape.heads, shape.dim}),
                     .kv = kv,
                     .plane = kTestPlane,
                     .scale = scale(),
                     .keys = f32_view(keys.data(), {rows(), shape.kv_heads, longest + 3})});
    return keys;
  }
  std::vector<float> run(int threads) {
    const Context context(threads);
    return score([&](const ScoreIndexArgs& a) { score_index(context, a); });
  }

  // Of the query heads of a row and KV head: the range of the largest table in powers of two, and the rounding of the
  // sums in f32 that lead to a score.
  struct Size {
    double range = 0, rounding = 0;
  };
  Size size(int64_t row, int kv_head) {
    const int group = shape.heads / shape.kv_heads;
    const IndexHead& head = index.heads()[static_cast<size_t>(kv_head)];
    Size size;
    for (int g = 0; g < group; ++g) {
      const float* query = q.data() + (row * shape.heads + kv_head * group + g) * shape.dim;
      double sum = 0;
      for (const IndexNibble& nibble : head.nibbles) {
        double table[16] = {}, absolute = 0;
        for (int c = 0; c < nibble.width; ++c) {
          double u = 0, u_absolute = 0, widest = 0;
          for (int d = 0; d < shape.dim; ++d) {
            const double product = double{head.query_rotation.f32_row(nibble.begin + c)[d]} * query[d];
            u += product, u_absolute += std::abs(product);
          }
          for (int e = 0; e < 16; ++e) {
            const double entry = nibble.entries[c * 16 + e];
            table[e] += u * entry * scale() * std::numbers::log2e, widest = std::max(widest, std::abs(entry));
          }
          absolute += u_absolute * widest * scale() * std::numbers::log2e;
        }
        const auto [low, high] = std::minmax_element(table, table + 16);
        size.range = std::max(size.range, *high - *low), sum += absolute;
      }
      size.rounding = std::max(size.rounding, sum * 0x1p-24 * (shape.dim + 10));
    }
    return size;
  }

  // Tables are rounded to 8 bits, two nibbles together at worst: by half a step of range / 127 each. The normaliser is
  // as far off at most, and by another 0.06 since its exponentials are approximate.
  void expect_near_reference() {
    const std::vector<float> keys = run(2);
    const std::vector<float> exact = score([](const ScoreIndexArgs& a) { ref::score_index(a); });
    for (int64_t row = 0; row < rows() * shape.kv_heads; ++row) {
      const int64_t n = row / shape.kv_heads, length = kv[static_cast<size_t>(n)].length;
      const Size size = this->size(n, static_cast<int>(row % shape.kv_heads));
      const double nibbles = index.index().nibbles(), step = size.range / 63;
      double squares = 0;
      for (int64_t t = 0; t < longest + 3; ++t) {
        const auto i = static_cast<size_t>(row * (longest + 3) + t);
        if (t >= length) {
          ASSERT_EQ(keys[i], -7.f) << "beyond the row";
          continue;
        }
        const double error = std::abs(double{keys[i]} - exact[i]);
        squares += error * error;
        ASSERT_LE(error, (nibbles + 0.5) * step + 0.06 + 2 * size.rounding)
            << shape.name << ", " << name(active_isa()) << ", row " << row << ", token " << t;
      }
      // Roundings of half a step are as good as random: a code misread for one nibble would show here.
      ASSERT_LE(std::sqrt(squares / static_cast<double>(length)),
                step * (std::sqrt(nibbles / 3) + 0.5) + 0.06 + 2 * size.rounding)
          << shape.name << ", " << name(active_isa()) << ", row " << row;
    }
  }
};

// Each case on every instruction set of this machine.
class ScoreIndex : public testing::TestWithParam<std::tuple<size_t, Isa>> {
 protected:
  void SetUp() override { limit_isa(std::get<1>(GetParam())); }
  void TearDown() override { limit_isa(detected_isa()); }
  const IndexCase& shape() const { return index_cases()[std::get<0>(GetParam())]; }
};

TEST_P(ScoreIndex, IsNearTheReference) { Batch(shape()).expect_near_reference(); }

TEST_P(ScoreIndex, ThreadsAndPageOrderDoNotChangeABit) {
  Batch batch(shape()), shuffled(shape(), true);
  const std::vector<float> keys = batch.run(1);
  EXPECT_EQ(keys, batch.run(2));
  EXPECT_EQ(keys, batch.run(5));
  EXPECT_EQ(keys, shuffled.run(2));
}

TEST_P(ScoreIndex, RowsDoNotDependOnEachOther) {
  Batch batch(shape());
  const std::vector<float> all = batch.run(2);
  for (size_t n = 0; n < shape().lengths.size(); ++n) {
    IndexCase one = shape();
    one.lengths = {shape().lengths[n]};
    Batch alone(one);
    alone.kv = {batch.kv[n]};
    const auto begin = batch.q.begin() + static_cast<int64_t>(n) * shape().heads * shape().dim;
    alone.q.assign(begin, begin + shape().heads * shape().dim);
    const std::vector<float> keys = alone.run(1);
    for (int h = 0; h < shape().kv_heads; ++h)
      EXPECT_EQ(std::memcmp(keys.data() + h * (alone.longest + 3),
                            all.data() + (static_cast<int64_t>(n) * shape().kv_heads + h) * (batch.longest + 3),
                            static_cast<size_t>(alone.longest) * 4),
                0)
          << "row " << n << ", head " << h;
  }
}

TEST_P(ScoreIndex, ExtremeScores) {
  Batch batch(shape());
  std::fill(batch.q.begin(), batch.q.end(), 0.f);  // all equal
  batch.expect_near_reference();
  batch.q = random_normal(static_cast<int64_t>(batch.q.size()), 7, 3000.f);  // one token takes all
  batch.expect_near_reference();
  for (size_t i = 0; i < batch.q.size(); ++i) batch.q[i] *= i < batch.q.size() / 2 ? 0.f : 1e3f;  // heads far apart
  batch.expect_near_reference();
}

// Every entry is its score above the least of its table to half a step, no bundle passes 8 bits, and the scan adds up
// exactly what the codes say.
TEST_P(ScoreIndex, TablesHoldTheScoresAndTheScanAddsThemUp) {
  const IndexCase& c = shape();
  Batch batch(c);
  const IndexHead& head = batch.index.heads()[0];
  const int group = c.heads / c.kv_heads, nibbles = static_cast<int>(head.nibbles.size());
  const auto slots = static_cast<int>(index_slots(nibbles));
  std::vector<float> work(static_cast<size_t>(index_table_floats(group, c.rank, nibbles)));
  std::vector<uint8_t> entries(static_cast<size_t>(group * slots * 16));
  std::vector<int32_t> offsets(static_cast<size_t>(slots)), tops(static_cast<size_t>(group));
  IndexTables tables{group, slots, entries.data(), offsets.data(), tops.data(), 0, 0};
  build_tables(head, batch.q.data(), 0.7f, work.data(), tables);

  const int64_t length = c.lengths[0], stride = (length + 63) / 64 * 64;
  std::vector<uint16_t> sums(static_cast<size_t>(group * stride));
  std::vector<float> totals(static_cast<size_t>(group));
  scan_index({&batch.kv[0], kTestPlane, 0, 0, length, &tables, sums.data(), stride, totals.data()});
  const double rounding = batch.size(0, 0).rounding / batch.scale() / std::numbers::log2e;
  for (int h = 0; h < group; ++h) {
    std::vector<int> nibble_of(static_cast<size_t>(slots), -1);
    for (int s = 0, bundle = 0, top = 0; s < slots; ++s) {
      const uint8_t* table = tables.entries + (h * slots + s) * 16;
      const int largest = *std::max_element(table, table + 16);
      bundle = (s % kIndexBundle == 0 ? 0 : bundle) + largest, top += largest;
      ASSERT_LE(bundle, 255);
      ASSERT_LE(top, tops[static_cast<size_t>(h)]);
      if (largest > 0) nibble_of[static_cast<size_t>(s)] = offsets[static_cast<size_t>(s)] / 32;
    }
    for (int n = 0; n < nibbles; ++n) {
      double score[16] = {};
      const IndexNibble& nibble = head.nibbles[static_cast<size_t>(n)];
      for (int i = 0; i < nibble.width; ++i) {
        double u = 0;
        for (int d = 0; d < c.dim; ++d)
          u += double{head.query_rotation.f32_row(nibble.begin + i)[d]} * batch.q[static_cast<size_t>(h * c.dim + d)];
        for (int e = 0; e < 16; ++e) score[e] += 0.7 * u * nibble.entries[i * 16 + e];
      }
      const auto slot = std::find(nibble_of.begin(), nibble_of.end(), n) - nibble_of.begin();
      for (int e = 0; e < 16; ++e) {
        const double entry = slot < slots ? tables.entries[(h * slots + slot) * 16 + e] : 0;
        ASSERT_NEAR(entry * tables.step, score[e] - *std::min_element(score, score + 16),
                    0.5001 * tables.step + 4 * rounding)
            << "head " << h << ", nibble " << n;
      }
    }
    double total = 0;
    for (int64_t t = 0; t < length; ++t) {
      int sum = 0;
      for (int s = 0; s < slots; ++s) {
        const int code =
            ref::index_code(batch.kv[0], kTestPlane, 0, nibbles, t, offsets[static_cast<size_t>(s)] / 32).get();
        sum += tables.entries[(h * slots + s) * 16 + code];
      }
      ASSERT_EQ(sums[static_cast<size_t>(h * stride + t)], sum) << "head " << h << ", token " << t;
      total += std::exp2(double{tables.step} * (sum - tops[static_cast<size_t>(h)]) + kIndexHeadroom);
    }
    if (total > kIndexLeastTotal) {
      ASSERT_NEAR(std::log2(totals[static_cast<size_t>(h)] / total), 0, 0.06);
    }
  }
}

// Each term is within 4 %, and many different ones are right together; far ones vanish instead of wrapping around.
TEST_P(ScoreIndex, SumsOfExponentials) {
  for (const float step : {1e-20f, 0.001f, 0.03f, 0.5f, 7.f, 300.f, 1e6f}) {
    std::vector<uint16_t> sums(static_cast<size_t>(1000));
    for (size_t i = 0; i < sums.size(); ++i) sums[i] = static_cast<uint16_t>(i * 16);
    double total = 0;
    for (const uint16_t sum : sums) {
      const double exact = std::exp2(double{step} * (sum - 16000) + kIndexHeadroom);
      const double term = sum_exponentials(&sum, 1, step, 16000);
      ASSERT_NEAR(term, exact, 0.045 * exact + 0x1p-120) << "step " << step << ", sum " << sum;
      total += exact;
    }
    if (step <= 0.001f) {
      ASSERT_NEAR(sum_exponentials(sums.data(), 1000, step, 16000) / total, 1, 0.04);
    }
    if (step == 0.001f) {  // sixteen powers of two: all fractions alike
      ASSERT_NEAR(sum_exponentials(sums.data(), 1000, step, 16000) / total, 1, 0.005);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, ScoreIndex,
                         testing::Combine(testing::Range(size_t{0}, index_cases().size()),
                                          testing::ValuesIn(supported_isas())),
                         [](const auto& info) {
                           return std::string(name(std::get<1>(info.param))) + "_" +
                                  std::to_string(std::get<0>(info.param));
                         });

TEST(ScoreIndexDoor, RefusesNonsense) {
  Batch batch(index_cases()[2]);
  const Context context(1);
  const auto refuses = [&](auto&& spoil) {
    batch.score([&](ScoreIndexArgs a) {
      spoil(a);
      EXPECT_THROW(score_index(context, a), Error);
    });
  };
  refuses([](ScoreIndexArgs& a) { a.plane = 0; });
  refuses([](ScoreIndexArgs& a) { a.q.shape[1] = 5; });
  refuses([](ScoreIndexArgs& a) { a.q.shape[2] = 32; });
  refuses([](ScoreIndexArgs& a) { a.q.dtype = DType::kF16; });
  refuses([](ScoreIndexArgs& a) { a.kv = a.kv.subspan(1); });
  refuses([](ScoreIndexArgs& a) { a.keys.shape[2] = 299; });
  refuses([](ScoreIndexArgs& a) { a.keys.shape[1] = 1; });
  batch.kv[1].page_tokens = 16;
  refuses([](ScoreIndexArgs&) {});
}

}  // namespace
}  // namespace lowkey
