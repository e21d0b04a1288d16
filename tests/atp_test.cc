// ATP in a model: its limits, and that no row sees what comes after it. On a tiny model of random weights, whose inputs
// are of full rank: the hardest case for a factor.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "attention/spec.h"
#include "base/error.h"
#include "engine/online_calibration.h"
#include "formats/safetensors.h"
#include "tests/tiny_llama.h"

namespace lowkey {
namespace {

std::unique_ptr<Method> method_of(const std::string& spec) {
  static const auto calibration =
      std::make_shared<const Calibration>(fit_online(Context(1), tiny_model(), random_tokens(1000, 5)));
  return make_method(parse_attention_spec(spec), {.shape = tiny_model().shape().attention,
                                                  .calibration = spec.starts_with("loki") ? calibration : nullptr});
}

// One cache, and sequences in it.
class Reader {
 public:
  explicit Reader(const std::string& spec, DType kv_type = DType::kF32, int page_tokens = 64)
      : method_(method_of(spec)), cache_(shape(kv_type, page_tokens)) {}

  KvCache::SequenceId open() { return cache_.open(); }
  KvCache& cache() { return cache_; }

  // Logits of every token, one step.
  std::vector<float> step(std::span<const int32_t> tokens, const std::vector<StepSequence>& sequences) {
    for (const StepSequence& s : sequences) EXPECT_TRUE(cache_.grow(s.id, s.count));
    std::vector<int32_t> rows(tokens.size());
    std::iota(rows.begin(), rows.end(), 0);
    const auto vocabulary = int64_t{tiny_model().shape().vocabulary};
    std::vector<float> logits(tokens.size() * static_cast<size_t>(vocabulary));
    tiny_model().forward(
        context_, *method_, cache_,
        {tokens, sequences, rows, f32_view(logits.data(), {static_cast<int64_t>(tokens.size()), vocabulary})});
    cache_.check_integrity();
    return logits;
  }
  // The same, in steps of `chunk`.
  std::vector<float> read(KvCache::SequenceId id, std::span<const int32_t> tokens, size_t chunk) {
    std::vector<float> all;
    for (size_t at = 0; at < tokens.size(); at += chunk) {
      const auto piece = tokens.subspan(at, std::min(chunk, tokens.size() - at));
      const std::vector<float> logits = step(piece, {{id, static_cast<int32_t>(piece.size())}});
      all.insert(all.end(), logits.begin(), logits.end());
    }
    return all;
  }

 private:
  KvShape shape(DType kv_type, int page_tokens) const {
    KvShape kv = kv_shape(tiny_model().shape(), *method_, kv_type, 4096);
    kv.page_tokens = page_tokens;
    kv.plane_bytes = method_->planes(tiny_model().shape().attention, kv_type, page_tokens);
    return kv;
  }

  Context context_{1};  // so small a step is mostly waiting for the others
  std::unique_ptr<Method> method_;
  KvCache cache_;
};

std::vector<float> read(const std::string& spec, std::span<const int32_t> tokens, size_t chunk,
                        DType kv_type = DType::kF32) {
  Reader reader(spec, kv_type);
  return reader.read(reader.open(), tokens, chunk);
}

double largest_difference(std::span<const float> a, std::span<const float> b) {
  EXPECT_EQ(a.size(), b.size());
  double worst = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) worst = std::max(worst, std::abs(double{a[i]} - b[i]));
  return worst;
}

// What making keys and values anew may change in logits: so many units in the last place of what they are stored in, of
// the logits' range.
double rounding(DType kv_type, const std::vector<float>& logits) {
  const double eps = kv_type == DType::kF32 ? 0x1p-24 : kv_type == DType::kF16 ? 0x1p-11 : 0x1p-8;
  const auto [least, most] = std::minmax_element(logits.begin(), logits.end());
  return 64 * eps * (*most - *least);
}

// Under loki, what follows is of atp.
const char* kLoki = "loki:k=1/4,index=bits:64,sink=4,recent=8,min=60,prefill=all+atp:r=1/4";
const char* kShort = ",sink=4,recent=16,chunk=32,min=0";  // what of the following is in effect at 300 tokens

TEST(Atp, AllDirectionsEqualDense) {
  const std::vector<int32_t> tokens = random_tokens(300, 1);
  for (DType type : {DType::kF32, DType::kF16, DType::kBF16}) {
    const std::vector<float> dense = read("dense", tokens, 100, type);
    for (const char* rank : {"atp:r=all", "atp:r=1.0", "atp:r=1e", "atp:r=100", "atp:r=all,basis=energy"})
      EXPECT_LE(largest_difference(read(std::string(rank) + kShort, tokens, 100, type), dense), rounding(type, dense))
          << rank;
  }
}

TEST(Atp, FewDirectionsDoNot) {
  const std::vector<int32_t> tokens = random_tokens(300, 1);
  const std::vector<float> dense = read("dense", tokens, 100);
  double last = 0;
  for (const char* rank : {"atp:r=3/4", "atp:r=1/4"}) {  // the fewer, the further
    const double distance = largest_difference(read(std::string(rank) + kShort, tokens, 100), dense);
    EXPECT_GT(distance, 1.1 * last) << rank;
    EXPECT_GT(distance, 10 * rounding(DType::kF32, dense));
    last = distance;
  }
  EXPECT_GT(largest_difference(read(std::string("atp:r=0.9e") + kShort, tokens, 100), dense), 0);
  EXPECT_GT(largest_difference(read(std::string("atp:r=entropy") + kShort, tokens, 100), dense), 0);
}

TEST(Atp, WithoutOldTokensItIsDense) {
  const std::vector<int32_t> tokens = random_tokens(300, 1);
  const std::vector<float> dense = read("dense", tokens, 100);
  EXPECT_EQ(read("atp:r=4,recent=16,chunk=8,min=301", tokens, 100), dense);
  EXPECT_EQ(read("atp:r=4,recent=400,chunk=8,min=0", tokens, 100), dense);
  EXPECT_EQ(read("atp:r=4,sink=200,recent=99,chunk=8,min=0", tokens, 100), dense);
}

TEST(Atp, NoRowSeesTheFuture) {
  std::vector<int32_t> tokens = random_tokens(300, 1);
  const auto vocabulary = static_cast<size_t>(tiny_model().shape().vocabulary);
  for (const char* form : {"atp:r=1/4", "atp:r=all", "atp:r=1/4,basis=energy", "atp:r=all,bits=8", "atp:r=1/2,bits=4",
                           "atp:r=0.9e", "atp:r=entropy", "atp:form=softmax,r=8", "atp:form=linear",
                           "atp:form=centroids", "atp:form=centroids,within=mean", kLoki}) {
    const std::string spec = std::string(form) + kShort;
    const std::vector<float> before = read(spec, tokens, 300);
    for (size_t from : {52, 150, 299}) {  // at 52 tokens some are shortened for the first time
      std::vector<int32_t> other = tokens;
      for (size_t i = from; i < other.size(); ++i) other[i] = (other[i] + 7) % static_cast<int32_t>(vocabulary);
      const std::vector<float> after = read(spec, other, 300);
      const auto end = static_cast<int64_t>(from * vocabulary);
      EXPECT_TRUE(std::equal(before.begin(), before.begin() + end, after.begin())) << spec << ", from " << from;
      EXPECT_NE(before, after);
    }
    for (float logit : before) ASSERT_TRUE(std::isfinite(logit)) << spec;
  }
}

TEST(Atp, CuttingThePromptChangesNoRow) {
  const std::vector<int32_t> tokens = random_tokens(300, 1);
  for (const char* form : {"atp:r=all", "atp:form=linear", "atp:form=centroids"}) {
    const std::string spec = std::string(form) + kShort;
    const std::vector<float> whole = read(spec, tokens, 300);
    for (size_t chunk : {1, 20, 50, 128})
      EXPECT_LE(largest_difference(read(spec, tokens, chunk), whole), rounding(DType::kF32, whole)) << spec << chunk;
  }
}

TEST(Atp, BatchOfManyEqualsOneByOne) {
  for (const char* form : {"atp:r=1/4", "atp:form=softmax,r=8", "atp:form=linear", "atp:form=centroids", kLoki}) {
    const std::string spec = std::string(form) + kShort;
    Reader together(spec);
    const size_t lengths[] = {40, 200, 129};
    std::vector<KvCache::SequenceId> ids;
    for (size_t b = 0; b < 3; ++b) {
      ids.push_back(together.open());
      together.read(ids[b], random_tokens(lengths[b], static_cast<unsigned>(b)), 64);
    }
    constexpr size_t kSteps = 40;  // each sequence is shortened on the way
    const std::vector<int32_t> next = random_tokens(3 * kSteps, 9);
    std::vector<std::vector<float>> rounds;
    for (size_t i = 0; i < kSteps; ++i)
      rounds.push_back(together.step({next.data() + 3 * i, 3}, {{ids[0], 1}, {ids[1], 1}, {ids[2], 1}}));
    const auto vocabulary = static_cast<int64_t>(tiny_model().shape().vocabulary);
    for (size_t b = 0; b < 3; ++b) {
      Reader alone(spec);
      const auto id = alone.open();
      alone.read(id, random_tokens(lengths[b], static_cast<unsigned>(b)), 64);
      for (size_t i = 0; i < kSteps; ++i) {
        const std::vector<float> logits = alone.step({next.data() + 3 * i + b, 1}, {{id, 1}});
        const auto from = rounds[i].begin() + static_cast<int64_t>(b) * vocabulary;
        EXPECT_TRUE(std::equal(logits.begin(), logits.end(), from)) << spec << ", sequence " << b << ", step " << i;
      }
    }
  }
}

// What is left of the rows of so many old tokens.
int64_t short_rows(const std::string& form, int64_t old) {
  if (old == 0 || form == "atp:form=linear") return 0;
  if (form == "atp:form=softmax,r=8") return 8;
  if (form == "atp:form=centroids") return 2 * (old / 4);
  if (form == "atp:r=all,bits=4") return (old * (34 + 18) + 383) / 384;
  const int64_t numbers = form == "atp:r=all" ? 64 : 16;  // of 2 * 2 * 48
  return (old * numbers + 191) / 192;
}

TEST(Atp, ShortFormsGiveRowsBack) {
  for (const std::string& form :
       std::vector<std::string>{"atp:form=softmax,r=8", "atp:form=linear", "atp:form=centroids", "atp:r=1/4",
                                "atp:r=all", "atp:r=all,bits=4", kLoki}) {
    Reader reader(form + kShort, DType::kF16);
    const auto id = reader.open();
    for (int32_t token : random_tokens(300, 1)) {
      for (float logit : reader.step({&token, 1}, {{id, 1}})) ASSERT_TRUE(std::isfinite(logit));
      const int64_t seen = reader.cache().position(id);
      const int64_t old = seen < 52 ? 0 : (seen - 20) / 32 * 32;
      ASSERT_EQ(reader.cache().length(id), seen - old + short_rows(form, old)) << form << seen;
    }
    // 300 tokens in 5 pages; 4 first, 44 last, and 256 old ones of 16 of 192 numbers, in 2.
    if (form == "atp:r=1/4") {
      EXPECT_EQ(reader.cache().free_tokens(), 4096 - 2 * 64);
    }
    reader.cache().truncate(id, 0);
    const std::vector<int32_t> tokens = random_tokens(200, 2);
    EXPECT_EQ(reader.read(id, tokens, 64), read(form + kShort, tokens, 64, DType::kF16));
  }
}

TEST(Atp, GoesOnAfterACut) {
  const std::vector<int32_t> tokens = random_tokens(300, 1);
  const std::string spec = std::string("atp:r=1/4") + kShort;
  const std::vector<float> fresh = read(spec, tokens, 50);
  Reader reader(spec);
  const auto id = reader.open();
  reader.read(id, random_tokens(500, 3), 100);
  reader.cache().truncate(id, 0);
  reader.read(id, std::span(tokens).first(51), 50);
  reader.cache().truncate(id, 50);  // nothing is short yet
  const std::vector<float> rest = reader.read(id, std::span(tokens).subspan(50), 50);
  const auto from = 50 * static_cast<int64_t>(tiny_model().shape().vocabulary);
  EXPECT_TRUE(std::equal(rest.begin(), rest.end(), fresh.begin() + from, fresh.end()));
}

TEST(Atp, FewerBitsErrByTheirStep) {
  const std::vector<int32_t> tokens = random_tokens(300, 1);
  const std::vector<float> exact = read(std::string("atp:r=all") + kShort, tokens, 100);
  const auto error = [&](const char* bits) {
    return largest_difference(read(std::string("atp:r=all,") + bits + kShort, tokens, 100), exact);
  };
  EXPECT_EQ(error("bits=16"), 0);
  // Of a block whose largest number is m, a step of 8 bits is m / 127, and one of 4 bits m / 8. The first quarter has 8
  // bits in both: what the rest loses is several times as much.
  EXPECT_GT(error("bits=8"), 0);
  EXPECT_GT(error("bits=4"), 4 * error("bits=8"));
  const auto [least, most] = std::minmax_element(exact.begin(), exact.end());
  EXPECT_LT(error("bits=4"), (*most - *least) / 8);
}

TEST(Atp, FactorThatSavesNoRowsIsDense) {
  const std::vector<int32_t> tokens = random_tokens(100, 1);
  EXPECT_EQ(read("atp:r=4,sink=4,recent=16,chunk=1,min=0", tokens, 10), read("dense", tokens, 10));
}

// A model says here what it says in PyTorch, where it is trained (python/lowkey/adapt): logits from a fixture that
// tools/make_atp_fixture.py wrote. python/tests has more of this, with PyTorch at hand.
TEST(Atp, LogitsAreThoseOfPyTorch) {
  const Safetensors fixture =
      Safetensors::open(std::filesystem::path(LOWKEY_SOURCE_DIR) / "tests/data" / "tiny-llama3.atp.safetensors");
  const View ids = *fixture.find("ids");
  const std::span<const int32_t> tokens(static_cast<const int32_t*>(ids.data), static_cast<size_t>(ids.elements()));
  for (const char* form :
       {"factor,r=1/2", "factor,r=1/8", "factor,r=1/4,basis=energy", "softmax,r=1/4", "softmax,r=1/8", "linear"}) {
    const std::string spec = fmt::format("atp:form={},sink=4,recent=16,chunk=32,min=0", form);
    const View expected = *fixture.find(spec);
    Reader reader(spec);
    const std::vector<float> logits = reader.read(reader.open(), tokens, tokens.size());
    const auto [least, most] = std::minmax_element(expected.f32(), expected.f32() + expected.elements());
    // Both sides round products of up to 256 terms in f32, and each of eight chunks builds on those before.
    const double tolerance = std::ldexp(256 * 8, -24) * (*most - *least);
    for (int64_t i = 0; const int64_t row : {60, 180, 299}) {
      const float* found = logits.data() + row * expected.columns();
      for (int64_t v = 0; v < expected.columns(); ++v)
        ASSERT_NEAR(found[v], expected.f32_row(i)[v], tolerance) << form << " row " << row;
      ++i;
    }
  }
}

// The index over the factor: at each end of its range it is one of the two, or dense.
TEST(LokiAtp, LimitsAreItsParts) {
  const std::vector<int32_t> tokens = random_tokens(300, 1);
  const std::string loki = "loki:index=bits:64,sink=4,recent=8,min=60,prefill=all,k=";
  const std::string few = std::string("atp:r=1/4") + kShort, all = std::string("atp:r=all") + kShort;
  for (int page : {16, 64}) {
    Reader factor(few), both(loki + "all+" + few, DType::kF32, page), dense("dense"),
        whole(loki + "all+" + all, DType::kF32, page);
    EXPECT_EQ(both.read(both.open(), tokens, 100), factor.read(factor.open(), tokens, 100));
    const std::vector<float> exact = dense.read(dense.open(), tokens, 100);
    EXPECT_LE(largest_difference(whole.read(whole.open(), tokens, 100), exact), rounding(DType::kF32, exact));
  }
}

TEST(LokiAtp, ReadsOnlyWhatIsChosen) {
  // As long as the choice is the same, a row reads the same of the factor alone as all rows would be.
  const std::vector<int32_t> tokens = random_tokens(300, 1);
  const std::vector<float> all = read(std::string("atp:r=1/4") + kShort, tokens, 100);
  const std::vector<float> most =
      read(std::string("loki:k=0.9,index=bits:64,sink=4,recent=8,min=60,prefill=all+atp:r=1/4") + kShort, tokens, 100);
  const std::vector<float> few = read(std::string(kLoki) + kShort, tokens, 100);
  EXPECT_GT(largest_difference(most, all), 0);
  EXPECT_LT(largest_difference(most, all), largest_difference(few, all));
}

TEST(Atp, RefusesWhatIsNoRank) {
  for (const char* spec : {"atp:r=0",
                           "atp:r=3/2",
                           "atp:r=0e",
                           "atp:r=1.5e",
                           "atp:r=e",
                           "atp:form=low",
                           "atp:recent=0",
                           "atp:chunk=0",
                           "atp:sink=-1",
                           "atp:r=1/4+h2o",
                           "atp:form=linear,r=4",
                           "atp:form=softmax,r=0.9e",
                           "atp:form=softmax,r=40,chunk=32",
                           "atp:form=linear,basis=energy",
                           "atp:basis=x",
                           "atp:bits=2",
                           "atp:form=softmax,bits=8",
                           "atp:within=mean",
                           "atp:form=centroids,r=0.9e",
                           "loki+atp:form=linear",
                           "loki:form=paper+atp",
                           "topk+atp",
                           "h2o+atp"})
    EXPECT_THROW(method_of(spec), Error) << spec;
}

}  // namespace
}  // namespace lowkey
