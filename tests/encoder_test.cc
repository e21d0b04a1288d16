// A tiny random BERT against PyTorch in f64, from the fixture that tools/make_tiny_bert.py wrote: what the last layer
// makes of each token, pooled vectors and scores of classes, each within 4 times the error of PyTorch's own f32 run.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "attention/dense.h"
#include "attention/streaming.h"
#include "engine/embedder.h"
#include "formats/safetensors.h"
#include "formats/safetensors_writer.h"
#include "formats/test_folder.h"
#include "lowkey/error.h"
#include "model/model.h"
#include "model/tokenizer_loader.h"

namespace lowkey {
namespace {

namespace fs = std::filesystem;

const fs::path kData = fs::path(LOWKEY_SOURCE_DIR) / "tests/data";
const fs::path kModel = kData / "tiny-bert";

struct Fixture {
  Safetensors file = Safetensors::open(kData / "tiny-bert.fixture.safetensors");
  std::vector<std::string> texts = nlohmann::json::parse(file.metadata().at("texts"));

  View of(const char* name) const { return *file.find(name); }
  std::span<const int32_t> ints(const char* name) const {
    return {static_cast<const int32_t*>(of(name).data), static_cast<size_t>(of(name).elements())};
  }
  TextBatch batch() const { return {.tokens = ints("ids"), .counts = ints("counts")}; }
  double hidden_bound() const { return 4 * double{of("f32_error").f32()[0]}; }
  // The classifier reads hidden states, and passes their errors on.
  double logits_bound() const { return 4 * double{of("f32_error").f32()[1]} + of("f32_error").f32()[0]; }
};

double largest_difference(const float* a, const float* b, int64_t n) {
  double worst = 0;
  for (int64_t i = 0; i < n; ++i) worst = std::max(worst, std::abs(double{a[i]} - b[i]));
  return worst;
}

// The hidden states [T, C] of a batch.
std::vector<float> encode(const Encoder& encoder, const TextBatch& batch, int threads = 2) {
  const Context context(threads);
  const Dense dense;
  KvCache cache(encoder_kv_shape(encoder.shape(), dense, DType::kF32, 4096));
  const int64_t before = cache.free_tokens();
  std::vector<float> hidden(batch.tokens.size() * static_cast<size_t>(encoder.shape().attention.width));
  encoder.encode(context, dense, cache, batch,
                 f32_view(hidden.data(), {std::ssize(batch.tokens), encoder.shape().attention.width}));
  EXPECT_EQ(cache.free_tokens(), before);
  cache.check_integrity();
  return hidden;
}

TEST(Bert, HiddenStatesEqualPyTorchBatchedAndSingle) {
  const Fixture fixture;
  const auto encoder = open_encoder(kModel);
  const std::vector<float> all = encode(*encoder, fixture.batch());
  const int64_t width = encoder->shape().attention.width;
  const double worst = largest_difference(all.data(), fixture.of("hidden").f32(), std::ssize(all));
  RecordProperty("largest_difference", std::to_string(worst));
  EXPECT_LE(worst, fixture.hidden_bound());
  EXPECT_EQ(all, encode(*encoder, fixture.batch(), 1));
  size_t row = 0;
  for (const int32_t& count : fixture.ints("counts")) {
    const TextBatch one{.tokens = fixture.ints("ids").subspan(row, static_cast<size_t>(count)), .counts = {&count, 1}};
    const std::vector<float> alone = encode(*encoder, one);
    EXPECT_LE(largest_difference(alone.data(), fixture.of("hidden").f32_row(static_cast<int64_t>(row)), count * width),
              fixture.hidden_bound());
    row += static_cast<size_t>(count);
  }
}

TEST(Bert, NamesWithoutPrefixAndOfTheFirstReleaseAreTheSameModel) {
  const TestFolder folder;
  const Safetensors file = Safetensors::open(kModel);
  SafetensorsContent renamed;
  for (const auto& [name, view] : file.tensors()) {
    std::string plain = name.starts_with("bert.") ? name.substr(5) : name;
    for (const auto& [now, old] :
         {std::pair{"LayerNorm.weight", "LayerNorm.gamma"}, {"LayerNorm.bias", "LayerNorm.beta"}})
      if (const size_t at = plain.find(now); at != plain.npos) plain.replace(at, plain.npos, old);
    renamed.tensors[plain] = view;
  }
  write_safetensors(folder / "model.safetensors", renamed);
  fs::copy_file(kModel / "config.json", folder / "config.json");
  const Fixture fixture;
  EXPECT_EQ(encode(*open_encoder(folder.path()), fixture.batch()), encode(*open_encoder(kModel), fixture.batch()));
}

class Embedding : public testing::Test {
 protected:
  std::vector<TextResult> run(const EmbedderOptions& options, TextTask task = TextTask::kEmbed) const {
    return Embedder(context_, *encoder_, tokenizer_, dense_, options).run(fixture_.texts, task);
  }
  void expect_rows(const std::vector<TextResult>& results, const char* name, double bound) const {
    const View want = fixture_.of(name);
    ASSERT_EQ(std::ssize(results), want.rows());
    for (int64_t b = 0; b < want.rows(); ++b) {
      const TextResult& result = results[static_cast<size_t>(b)];
      EXPECT_EQ(result.tokens, fixture_.ints("counts")[static_cast<size_t>(b)]);
      ASSERT_EQ(std::ssize(result.values), want.columns());
      EXPECT_LE(largest_difference(result.values.data(), want.f32_row(b), want.columns()), bound) << "text " << b;
    }
  }

  const Fixture fixture_;
  const Context context_{2};
  const Dense dense_;
  const std::unique_ptr<Encoder> encoder_ = open_encoder(kModel);
  const Tokenizer tokenizer_ = load_tokenizer(kModel);
};

TEST_F(Embedding, TokensAreThoseOfHuggingFace) {
  std::vector<int32_t> ids;
  for (const std::string& text : fixture_.texts)
    for (int32_t id : tokenizer_.encode(text)) ids.push_back(id);
  EXPECT_EQ(ids, std::vector<int32_t>(fixture_.ints("ids").begin(), fixture_.ints("ids").end()));
}

TEST_F(Embedding, PooledVectorsWhateverTheBatch) {
  for (int64_t batch : {1, 50, 1024}) {
    expect_rows(run({.rules = {.pool = Pool::kMean}, .batch = batch}), "mean", fixture_.hidden_bound());
    expect_rows(run({.rules = {.pool = Pool::kCls}, .batch = batch}), "cls", fixture_.hidden_bound());
  }
  for (const TextResult& unit : run({.rules = {.normalise = true}})) {
    double squares = 0;
    for (float v : unit.values) squares += double{v} * v;
    EXPECT_NEAR(squares, 1, 1e-6);
  }
}

TEST_F(Embedding, ScoresOfClasses) {
  EXPECT_EQ(encoder_->classes().labels, (std::vector<std::string>{"low", "middle", "high"}));
  for (int64_t batch : {1, 1024})
    expect_rows(run({.batch = batch}, TextTask::kClassify), "logits", fixture_.logits_bound());
}

TEST_F(Embedding, LongTextsLoseTheirEndButKeepTheLastToken) {
  const std::vector<std::string> texts = {std::string(2000, '!'), "!!!"};
  const Embedder whole(context_, *encoder_, tokenizer_, dense_, {});
  const auto results = whole.run(texts, TextTask::kEmbed);
  EXPECT_EQ(results[0].tokens, 64);
  EXPECT_EQ(results[0].left_out, 2002 - 64);
  EXPECT_EQ(results[1].tokens, 5);
  EXPECT_EQ(results[1].left_out, 0);
  const std::vector<std::string> fits = {std::string(62, '!')};
  EXPECT_EQ(results[0].values, whole.run(fits, TextTask::kEmbed)[0].values);
  EXPECT_THROW(Embedder(context_, *encoder_, tokenizer_, dense_, {.rules = {.max_tokens = 65}}), Error);
}

TEST_F(Embedding, StopsWhenAsked) {
  const Embedder embedder(context_, *encoder_, tokenizer_, dense_, {.batch = 1});
  const auto none_left = [](int64_t done, int64_t total) { return done < total - 3; };
  EXPECT_EQ(embedder.run(fixture_.texts, TextTask::kEmbed, none_left).size(), fixture_.texts.size() - 3);
}

TEST_F(Embedding, WhatMakesNoSenseIsRefused) {
  std::vector<float> hidden(65 * 40);
  KvCache cache(encoder_kv_shape(encoder_->shape(), dense_, DType::kF32, 64));
  const auto refused = [&](const Method& method, std::vector<int32_t> ids, std::vector<int32_t> counts) {
    const View out = f32_view(hidden.data(), {std::ssize(ids), 40});
    EXPECT_THROW(encoder_->encode(context_, method, cache, {ids, counts}, out), Error);
    EXPECT_EQ(cache.free_tokens(), 64);
  };
  refused(dense_, std::vector<int32_t>(65, 5), {65});     // longer than the table of positions
  refused(dense_, {5, 6}, {1});                           // counts disagree
  refused(dense_, {5, 6}, {2, 0});                        // an empty text
  refused(dense_, {5, 100000}, {2});                      // no such token
  refused(dense_, {5, 5, 5, 5, 5}, {1, 1, 1, 1, 1});      // five pages in a cache of four
  refused(Streaming(4, tokens(64), false), {5, 6}, {2});  // reads only what came before
  EXPECT_THROW(open_model(kModel), Error);
}

TEST(Probabilities, OfEachKind) {
  std::vector<float> scores = {0, std::log(3.f)};
  to_probabilities(ClassKind::kOneOf, scores);
  EXPECT_FLOAT_EQ(scores[0], 0.25f);
  EXPECT_FLOAT_EQ(scores[1], 0.75f);
  scores = {0, std::log(3.f)};
  to_probabilities(ClassKind::kEach, scores);
  EXPECT_FLOAT_EQ(scores[0], 0.5f);
  EXPECT_FLOAT_EQ(scores[1], 0.75f);
  scores = {-7};
  to_probabilities(ClassKind::kValue, scores);
  EXPECT_EQ(scores[0], -7);
}

}  // namespace
}  // namespace lowkey
