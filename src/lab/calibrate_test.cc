#include "lab/calibrate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "attention/layer_index.h"
#include "base/error.h"
#include "engine/online_calibration.h"
#include "lab/perplexity.h"
#include "model/tokenizer_loader.h"

namespace lowkey {
namespace {

const std::filesystem::path kModel = LOWKEY_SOURCE_DIR "/models/demo-12m.q8_0.gguf";
const std::filesystem::path kCalibration = LOWKEY_SOURCE_DIR "/models/demo-12m.q8_0.calibration.safetensors";
// The same model in 16 bits and in the other RoPE layout; not part of the project.
const std::filesystem::path kFolder = LOWKEY_SOURCE_DIR "/../shared/models/demo-12m";

std::string book(size_t begin, size_t bytes) {
  std::ifstream stream(LOWKEY_SOURCE_DIR "/models/book.txt", std::ios::binary);
  std::string text(bytes, ' ');
  stream.seekg(static_cast<std::streamoff>(begin));
  stream.read(text.data(), static_cast<std::streamsize>(bytes));
  return text;
}

class Calibrate : public testing::Test {
 protected:
  Calibration run(const Model& model, std::span<const CalibrateText> texts, const CalibrateOptions& options) const {
    return calibrate(context_, model, tokenizer_, texts, options, nullptr);
  }
  static CalibrateOptions small(int64_t tokens) {
    return {.tokens = tokens, .context = 256, .sample = 200, .tool = "test", .fit = {.codebook_bits = {32, 64}}};
  }

  const Context context_{2};
  const std::unique_ptr<Model> model_ = open_model(kModel);
  const Tokenizer tokenizer_ = load_tokenizer(kModel);
};

TEST_F(Calibrate, CountsTheFirstPositionsWhenAsked) {
  const std::vector<CalibrateText> texts{{"a", book(0, 9000)}};
  CalibrateOptions with = small(1000);
  with.skip_first = 0;
  const Calibration all = run(*model_, texts, with), some = run(*model_, texts, small(1000));
  EXPECT_EQ(all.tokens, 4 * 256);
  EXPECT_EQ(some.tokens, 4 * (256 - 16));
  EXPECT_NE(all.mean, some.mean);
  with.skip_first = 256;  // nothing is left
  EXPECT_THROW(run(*model_, texts, with), Error);
}

TEST_F(Calibrate, SaysWhatItDid) {
  const std::vector<CalibrateText> texts{{"a", book(0, 6000)}, {"b", book(6000, 3000)}};
  int64_t read = 0, fitted = 0;
  const Calibration c =
      calibrate(context_, *model_, tokenizer_, texts, small(1000),
                [&](const std::string& stage, int64_t done, int64_t) { (stage == "reading" ? read : fitted) = done; });
  EXPECT_EQ(read, 1024);  // four windows
  EXPECT_EQ(fitted, 6);
  EXPECT_EQ(c.tokens, 4 * (256 - 16));
  EXPECT_EQ(c.context, 256);
  EXPECT_EQ(c.model, model_->fingerprint());
  ASSERT_EQ(c.texts.size(), 2u);
  EXPECT_EQ(c.texts[1].bytes, 3000);
  EXPECT_NE(c.texts[0].hash, c.texts[1].hash);
  EXPECT_EQ(c.codebooks.size(), 2 * kBasisKinds.size());
  ASSERT_TRUE(c.statistics.has_value());
  EXPECT_LE(c.statistics->sample_size, 200);
}

// Windows of each half, read apart and merged, against the same windows read in one pass.
TEST_F(Calibrate, MergedHalvesAreOnePass) {
  // Two texts of as many tokens, so that both make the same windows alone and joined.
  std::vector<CalibrateText> both{{"one", book(0, 2500)}};
  const auto count = [&](const std::string& text) { return document_tokens(tokenizer_, text).size(); };
  const size_t tokens = count(both[0].text);
  for (size_t bytes = 1500; both.size() == 1 && bytes < 4000; ++bytes)
    if (count(book(9000, bytes)) == tokens) both.push_back({"other", book(9000, bytes)});
  ASSERT_EQ(both.size(), 2u);
  CalibrateOptions options = small(0);
  options.context = static_cast<int64_t>(tokens);
  const Calibration whole = run(*model_, both, options);
  const Calibration parts[] = {run(*model_, std::span(both).first(1), options),
                               run(*model_, std::span(both).last(1), options)};
  const Calibration merged = merge_calibrations(context_, parts, options, nullptr);
  EXPECT_EQ(merged.tokens, whole.tokens);
  EXPECT_EQ(merged.texts.size(), 2u);
  const KeyStatistics &a = *merged.statistics, &b = *whole.statistics;
  const size_t dims = 64;
  for (size_t head = 0; head < 12; ++head)
    for (size_t i = 0; i < dims; ++i)
      for (size_t j = 0; j < dims; ++j) {
        const size_t at = (head * dims + i) * dims + j;
        const auto size = [&](const std::vector<double>& m) {
          return std::sqrt(m[(head * dims + i) * dims + i] * m[(head * dims + j) * dims + j]);
        };
        // Steps of 512 products, summed in f32 about pivots that differ by less than two deviations.
        const double rounding = 5 * 514 * 0x1p-24;
        EXPECT_NEAR(a.post_covariance[at], b.post_covariance[at], rounding * size(b.post_covariance));
        EXPECT_NEAR(a.pre_covariance[at], b.pre_covariance[at], rounding * size(b.pre_covariance));
        EXPECT_NEAR(a.query_moment[at], b.query_moment[at], rounding * size(b.query_moment));
      }
}

TEST_F(Calibrate, RefusesWhatItCannotDo) {
  EXPECT_THROW(run(*model_, std::vector<CalibrateText>{{"short", "Too short."}}, {}), Error);
  EXPECT_THROW(run(*model_, std::vector<CalibrateText>{{"a", book(0, 3000)}}, {.tokens = -1}), Error);
  CalibrateOptions options = small(256);
  options.statistics = false;
  const std::vector<CalibrateText> text{{"a", book(0, 3000)}};
  const Calibration bare = run(*model_, text, options);
  EXPECT_FALSE(bare.statistics.has_value());
  EXPECT_THROW(merge_calibrations(context_, {&bare, 1}, options, nullptr), Error);
  EXPECT_THROW(calibrate(context_, *model_, tokenizer_, text, options,
                         [](const char*, int64_t, int64_t) { throw std::runtime_error("enough"); }),
               std::runtime_error);
}

TEST_F(Calibrate, OnlineFitsAPrompt) {
  const auto tokens = document_tokens(tokenizer_, book(0, 4000));
  const Calibration c = fit_online(context_, *model_, tokens, 600);
  EXPECT_EQ(c.tokens, 600 - 16);
  EXPECT_TRUE(c.codebooks.empty());
  const LayerIndex index(c, 3, {.codes = IndexCodes::kBits, .bits = 64, .basis = BasisKind::kWeighted},
                         model_->shape().attention.rope_layout);
  EXPECT_EQ(index.index().nibbles(), 16);
  EXPECT_THROW(fit_online(context_, *model_, std::span(tokens).first(70)), Error);
}

// The bundled file is for the bundled model, and its bases are those of other text too: most of the variance of new
// keys lies where the file says.
TEST_F(Calibrate, TheBundledFileServesNewText) {
  const Calibration bundled = Calibration::load(kCalibration);
  EXPECT_NO_THROW(bundled.require_model(model_->fingerprint(), kCalibration));
  const Calibration here = run(*model_, std::vector<CalibrateText>{{"book", book(20000, 8000)}}, small(1024));
  for (BasisKind kind : {BasisKind::kPost, BasisKind::kPre, BasisKind::kBalanced})
    for (size_t i = 0; i < here.basis(kind).ranks.size(); ++i)
      EXPECT_NEAR(here.basis(kind).ranks[i], bundled.basis(kind).ranks[i], 16) << name(kind) << ' ' << i;
}

// Another file of the model, its heads in the other layout, its weights of another type: the same statistics but for
// what quantising the weights changes.
TEST_F(Calibrate, FilesOfAModelAgree) {
  if (!std::filesystem::exists(kFolder)) GTEST_SKIP() << kFolder << " is not there";
  const auto folder = open_model(kFolder);
  EXPECT_EQ(folder->fingerprint(), model_->fingerprint());
  EXPECT_NE(folder->shape().attention.rope_layout, model_->shape().attention.rope_layout);
  const std::vector<CalibrateText> texts{{"a", book(0, 6000)}};
  const Calibration a = run(*model_, texts, small(1024)), b = run(*folder, texts, small(1024));
  for (size_t head = 0; head < 12; ++head) {
    double gap = 0, size = 0;
    for (size_t i = head * 64 * 64; i < (head + 1) * 64 * 64; ++i) {
      gap += std::pow(a.statistics->post_covariance[i] - b.statistics->post_covariance[i], 2);
      size += std::pow(b.statistics->post_covariance[i], 2);
    }
    EXPECT_LT(std::sqrt(gap / size), 0.05)
        << head;  // q8_0 rounds weights to 1 part in 250; coordinates mixed up give 1
  }
}

}  // namespace
}  // namespace lowkey
