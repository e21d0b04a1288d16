// Logits against Hugging Face transformers at 2,048 positions (384 for the tiny model of each family), from fixtures
// that tools/make_logits_fixture.py wrote. f32 weights: within 1e-3 of the logit range at every position. bf16 weights:
// at most twice the error that PyTorch's own bf16 run makes against its f32 run.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "attention/dense.h"
#include "formats/safetensors.h"
#include "model/hf_to_gguf.h"
#include "model/model.h"
#include "ops/softmax.h"

namespace lowkey {
namespace {

namespace fs = std::filesystem;

struct ModelCase {
  const char* name;
  const char* folder;   // under the source folder; those in ../shared may be absent
  bool routes = false;  // tokens to experts
};

void PrintTo(const ModelCase& c, std::ostream* out) { *out << c.name; }

constexpr ModelCase kTiny[] = {
    {"tiny-llama3", "tests/data/tiny-llama3"},
    {"tiny-linear", "tests/data/tiny-linear"},
    {"tiny-qwen2", "tests/data/tiny-qwen2"},
    {"tiny-qwen3", "tests/data/tiny-qwen3"},
    {"tiny-qwen3_moe", "tests/data/tiny-qwen3_moe", /*routes=*/true},
    {"tiny-mistral", "tests/data/tiny-mistral"},
    {"tiny-mixtral", "tests/data/tiny-mixtral", /*routes=*/true},
    {"tiny-phi3", "tests/data/tiny-phi3"},
    {"tiny-phi3-short", "tests/data/tiny-phi3"},  // a context for which RoPE has other frequencies
    {"tiny-gpt_neox", "tests/data/tiny-gpt_neox"},
    {"tiny-gpt2", "tests/data/tiny-gpt2"},
    {"tiny-gemma2", "tests/data/tiny-gemma2"},
    {"tiny-gemma3_text", "tests/data/tiny-gemma3_text"},
};
constexpr ModelCase kLarge[] = {{"demo-12m", "../shared/models/demo-12m"}, {"ref-41m", "../shared/models/ref-41m"}};

// What the fixture says, and the largest and mean square differences from it.
class Fixture {
 public:
  explicit Fixture(const std::string& name)
      : file_(Safetensors::open(fs::path(LOWKEY_SOURCE_DIR) / "tests/data" / (name + ".logits.safetensors"))) {}

  std::span<const int32_t> ids() const {
    const View v = *file_.find("ids");
    return {static_cast<const int32_t*>(v.data), static_cast<size_t>(v.columns())};
  }
  int64_t positions() const { return std::ssize(ids()); }
  double range() const { return values("range")[1] - values("range")[0]; }
  double bf16_max_error() const { return values("bf16_error")[0]; }
  double bf16_rms_error() const { return values("bf16_error")[1]; }

  // Compares the logits of position t [V]; returns the largest difference.
  double compare(int64_t t, const float* logits, int64_t vocabulary, float logsumexp) {
    const View probes = *file_.find("probes");
    double worst = std::abs(logsumexp - values("logsumexp")[t]);
    for (int64_t p = 0; p < probes.columns(); ++p) {
      const double error = logits[(t + p * (vocabulary / probes.columns())) % vocabulary] - probes.f32_row(t)[p];
      worst = std::max(worst, std::abs(error));
      squares_ += error * error, ++count_;
    }
    const auto best = static_cast<const int32_t*>(file_.find("argmax")->data)[t];
    return std::max<double>(worst, std::abs(logits[best] - values("max")[t]));
  }
  double rms() const { return std::sqrt(squares_ / static_cast<double>(count_)); }

 private:
  const float* values(const char* name) const { return file_.find(name)->f32(); }

  Safetensors file_;
  double squares_ = 0;
  int64_t count_ = 0;
};

// The largest difference of each of the first `positions` positions, read in chunks.
std::vector<double> differences(const Model& model, DType kv_type, int64_t chunk, int64_t positions, Fixture& fixture) {
  const Context context(2);
  const Dense dense;
  KvCache cache(kv_shape(model.shape(), dense, kv_type, positions));
  const auto id = cache.open();
  const int64_t vocabulary = model.shape().vocabulary;
  std::vector<float> logits(static_cast<size_t>(chunk * vocabulary)), norms(static_cast<size_t>(chunk));
  std::vector<int32_t> rows(static_cast<size_t>(chunk));
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<int32_t>(i);
  std::vector<double> worst;
  for (int64_t begin = 0; begin < positions; begin += chunk) {
    const int64_t count = std::min(chunk, positions - begin);
    EXPECT_TRUE(cache.grow(id, count));
    const StepSequence sequence{id, static_cast<int32_t>(count)};
    const View out = f32_view(logits.data(), {count, vocabulary});
    const auto n = static_cast<size_t>(count);
    model.forward(context, dense, cache,
                  {fixture.ids().subspan(static_cast<size_t>(begin), n), {&sequence, 1}, {rows.data(), n}, out});
    logsumexp(context, out, f32_view(norms.data(), {count}));
    for (int64_t i = 0; i < count; ++i)
      worst.push_back(fixture.compare(begin + i, out.f32_row(i), vocabulary, norms[static_cast<size_t>(i)]));
  }
  return worst;
}

class LogitsTest : public testing::TestWithParam<ModelCase> {
 protected:
  void SetUp() override {
    folder_ = fs::path(LOWKEY_SOURCE_DIR) / GetParam().folder;
    if (!fs::exists(folder_)) GTEST_SKIP() << GetParam().folder << " is not here";
  }
  void TearDown() override { fs::remove(converted_); }

  // The model with its matrices stored as `type`.
  std::unique_ptr<Model> as(DType type) {
    converted_ =
        fs::path(testing::TempDir()) / fmt::format("lowkey-{}-{}-{}.gguf", GetParam().name, name(type), getpid());
    hf_to_gguf(Context(2), folder_, converted_, type, [](int64_t, int64_t) {});
    return open_model(converted_);
  }

  fs::path folder_, converted_;
};

TEST_P(LogitsTest, F32WeightsWithinAThousandthOfTheRangeEverywhere) {
  Fixture fixture(GetParam().name);
  const auto worst = differences(*as(DType::kF32), DType::kF32, 512, fixture.positions(), fixture);
  ASSERT_EQ(std::ssize(worst), fixture.positions());
  const auto largest = std::max_element(worst.begin(), worst.end());
  RecordProperty("largest_over_range", std::to_string(*largest / fixture.range()));
  EXPECT_LT(*largest, 1e-3 * fixture.range()) << "at position " << largest - worst.begin();
}

TEST_P(LogitsTest, Bf16WeightsWithinTwiceTheErrorOfPyTorch) {
  Fixture fixture(GetParam().name);
  const auto worst = differences(*as(DType::kBF16), DType::kBF16, 512, fixture.positions(), fixture);
  EXPECT_LE(fixture.rms(), 2 * fixture.bf16_rms_error());
  // One rounding may turn a router's choice between near equals, and with it all logits of a token.
  if (!GetParam().routes) {
    EXPECT_LE(*std::max_element(worst.begin(), worst.end()), 2 * fixture.bf16_max_error());
  }
}

TEST_P(LogitsTest, TheFolderItselfReadsAsWell) {
  Fixture fixture(GetParam().name);
  const auto worst =
      differences(*open_model(folder_), DType::kBF16, 512, std::min<int64_t>(512, fixture.positions()), fixture);
  EXPECT_LE(*std::max_element(worst.begin(), worst.end()), 2 * fixture.bf16_max_error());
}

std::string name_of(const testing::TestParamInfo<ModelCase>& info) {
  std::string name = info.param.name;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Tiny, LogitsTest, testing::ValuesIn(kTiny), name_of);
INSTANTIATE_TEST_SUITE_P(Large, LogitsTest, testing::ValuesIn(kLarge), name_of);

using TinyLogitsTest = LogitsTest;

// f32 weights, which every instruction set multiplies in f32: bf16 ones meet inputs rounded to bf16 on AMX.
TEST_P(TinyLogitsTest, ChunksOfAnySizeAndSingleTokensAgree) {
  const auto model = as(DType::kF32);
  for (int64_t chunk : {1, 7, 64}) {
    Fixture fixture(GetParam().name);
    const auto worst = differences(*model, DType::kF32, chunk, fixture.positions(), fixture);
    EXPECT_LT(*std::max_element(worst.begin(), worst.end()), 1e-3 * fixture.range()) << "chunk " << chunk;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, TinyLogitsTest, testing::ValuesIn(kTiny), name_of);

}  // namespace
}  // namespace lowkey
