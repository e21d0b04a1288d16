// The engine on a tiny random model: however a request is cut into steps, the tokens are the same.
#include "engine/engine.h"

#include <gtest/gtest.h>

#include "attention/dense.h"
#include "base/error.h"
#include "model/tokenizer_loader.h"

namespace lowkey {
namespace {

constexpr const char* kModel = LOWKEY_SOURCE_DIR "/tests/data/tiny-llama3";

class EngineTest : public testing::Test {
 protected:
  EngineTest() : model_(open_model(kModel)), tokenizer_(load_tokenizer(kModel)) {}

  Engine make(EngineOptions options = {}) { return Engine(context_, *model_, tokenizer_, dense_, options); }

  // A prompt of n tokens that a seed determines.
  std::vector<int32_t> prompt(int n, uint32_t seed = 1) const {
    std::minstd_rand random(seed);
    std::vector<int32_t> ids(static_cast<size_t>(n));
    for (int32_t& id : ids) id = static_cast<int32_t>(random() % static_cast<uint32_t>(model_->shape().vocabulary));
    return ids;
  }

  Context context_{2};
  std::unique_ptr<Model> model_;
  Tokenizer tokenizer_;
  Dense dense_;
};

TEST_F(EngineTest, ChunkedReadingGivesTheSameTokens) {
  const Request request{.prompt = prompt(150), .max_tokens = 24, .ignore_end = true};
  Engine whole = make({.chunk = 512, .kv_type = DType::kF32});
  const std::vector<int32_t> expected = whole.generate(request).tokens;
  ASSERT_EQ(expected.size(), 24u);
  for (int chunk : {1, 7, 64, 149}) {
    Engine engine = make({.chunk = chunk, .kv_type = DType::kF32});
    EXPECT_EQ(engine.generate(request).tokens, expected) << "chunk " << chunk;
  }
}

TEST_F(EngineTest, ARequestThatBeginsLikeTheLastReadsOnlyWhatIsNew) {
  Engine engine = make({.kv_type = DType::kF32});
  Request request{.prompt = prompt(100), .max_tokens = 5, .ignore_end = true};
  const Result first = engine.generate(request);
  EXPECT_EQ(first.reused_tokens, 0);
  const Result again = engine.generate(request);
  EXPECT_EQ(again.reused_tokens, 99);  // the last token's logits are computed anew
  EXPECT_EQ(again.tokens, first.tokens);

  request.prompt.insert(request.prompt.end(), first.tokens.begin(), first.tokens.end());
  request.prompt.push_back(3);
  const Result longer = engine.generate(request);
  EXPECT_GE(longer.reused_tokens, 100);
  Engine fresh = make({.kv_type = DType::kF32});
  EXPECT_EQ(fresh.generate(request).tokens, longer.tokens);
  engine.cache().check_integrity();
}

TEST_F(EngineTest, ItCanBeCancelledBeforeEveryStepAndGoesOnWorking) {
  const Request request{.prompt = prompt(40), .max_tokens = 6, .ignore_end = true};
  Engine engine = make({.chunk = 10});
  const std::vector<int32_t> expected = engine.generate(request).tokens;
  for (int stop_at = 0; stop_at < 10; ++stop_at) {
    int asked = 0;
    Engine cut = make({.chunk = 10});
    const Result result = cut.generate(request, {.cancelled = [&] { return asked++ == stop_at; }});
    EXPECT_EQ(result.finish_reason, stop_at < 9 ? FinishReason::kCancelled : FinishReason::kLength) << stop_at;
    EXPECT_TRUE(std::equal(result.tokens.begin(), result.tokens.end(), expected.begin()));
    cut.cache().check_integrity();
    EXPECT_EQ(cut.generate(request).tokens, expected);
  }
}

TEST_F(EngineTest, TheContextEndsGenerationAndALongPromptIsRefused) {
  Engine engine = make({.context = 50});
  const Result result = engine.generate({.prompt = prompt(48), .max_tokens = 100, .ignore_end = true});
  EXPECT_EQ(result.finish_reason, FinishReason::kContext);
  EXPECT_EQ(result.tokens.size(), 3u);  // two more fit, and the third needs no room
  EXPECT_THROW(engine.generate({.prompt = prompt(51)}), Error);
  EXPECT_THROW(engine.generate({.prompt = {}}), Error);
  EXPECT_THROW(engine.generate({.prompt = {model_->shape().vocabulary}}), Error);
  EXPECT_THROW(engine.generate({.prompt = {-1}}), Error);
  EXPECT_THROW(engine.generate({.prompt = {1}, .max_tokens = -1}), Error);
  EXPECT_EQ(engine.generate({.prompt = prompt(48), .max_tokens = 100, .ignore_end = true}).tokens, result.tokens);
}

TEST_F(EngineTest, NoTokensAreGeneratedWhenNoneAreWanted) {
  Engine engine = make();
  EXPECT_TRUE(engine.generate({.prompt = prompt(3), .max_tokens = 0}).tokens.empty());
}

TEST_F(EngineTest, StopStringsEndTheText) {
  Engine engine = make();
  const Request request{.prompt = prompt(30), .max_tokens = 40, .ignore_end = true};
  const std::string whole = engine.generate(request).text;
  ASSERT_GT(whole.size(), 8u);
  Request stopping = request;
  stopping.stop = {whole.substr(5, 3)};
  const Result result = engine.generate(stopping);
  EXPECT_EQ(result.finish_reason, FinishReason::kStop);
  EXPECT_EQ(result.text, whole.substr(0, whole.find(stopping.stop[0])));
}

TEST_F(EngineTest, TokensArriveOneByOneAndTheirTextsMakeTheWhole) {
  Engine engine = make();
  std::string text;
  std::vector<int32_t> ids;
  const Result result = engine.generate({.prompt = prompt(30), .max_tokens = 40, .ignore_end = true},
                                        {.on_token = [&](int32_t id, const std::string& piece) {
                                          if (ids.size() < 40) ids.push_back(id);
                                          text += piece;
                                        }});
  EXPECT_EQ(text, result.text);
  EXPECT_EQ(ids, result.tokens);
}

TEST_F(EngineTest, DecodingReadsTheWholeCache) {
  Engine engine = make({.kv_type = DType::kF16});
  const Result result = engine.generate({.prompt = prompt(30), .max_tokens = 3, .ignore_end = true});
  ASSERT_EQ(result.decode_steps, 2);
  EXPECT_EQ(result.attention_bytes, (31 + 32) * engine.cache().bytes_per_token());
}

}  // namespace
}  // namespace lowkey
