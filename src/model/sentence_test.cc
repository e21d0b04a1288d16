#include "model/sentence.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "formats/test_folder.h"

namespace lowkey {
namespace {

constexpr const char* kModules = R"([
  {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
  {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
  {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}])";

class SentenceFiles : public testing::Test {
 protected:
  SentenceRules read(const std::string& pooling, const std::string& modules = kModules,
                     const std::string& transformer = R"({"max_seq_length": 256, "do_lower_case": false})") const {
    folder_.write("m/modules.json", modules);
    folder_.write("m/1_Pooling/config.json", pooling);
    folder_.write("m/sentence_bert_config.json", transformer);
    return read_sentence_rules(folder_ / "m");
  }
  const TestFolder folder_;
};

TEST_F(SentenceFiles, AreRead) {
  const SentenceRules mean = read(R"({"word_embedding_dimension": 384, "pooling_mode_mean_tokens": true})");
  EXPECT_EQ(mean.pool, Pool::kMean);
  EXPECT_TRUE(mean.normalise);
  EXPECT_EQ(mean.max_tokens, 256);
  EXPECT_EQ(read(R"({"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false})").pool, Pool::kCls);
  EXPECT_EQ(read(R"({"pooling_mode": "cls"})").pool, Pool::kCls);
  EXPECT_FALSE(read("{}", "[]").normalise);
  const SentenceRules none = read_sentence_rules(folder_ / "elsewhere");
  EXPECT_EQ(none.pool, Pool::kMean);
  EXPECT_FALSE(none.normalise);
  EXPECT_EQ(none.max_tokens, 0);
}

TEST_F(SentenceFiles, WhatIsNotKnownIsRefused) {
  const std::string good = R"({"pooling_mode": "mean"})";
  for (const char* pooling : {"{}", R"({"pooling_mode": "max"})", R"({"pooling_mode_lasttoken": true})", "[]",
                              R"({"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true})"})
    EXPECT_THROW(read(pooling), Error) << pooling;
  for (const char* modules : {"{}", R"([{"type": "sentence_transformers.models.Dense", "path": "2_Dense"}])", "[1]",
                              R"([{"type": "a.Pooling", "path": "../m"}])", R"([{"type": "a.Pooling", "path": ".."}])"})
    EXPECT_THROW(read(good, modules), Error) << modules;
  for (const char* transformer : {R"({"do_lower_case": true})", R"({"max_seq_length": -1})", "3"})
    EXPECT_THROW(read(good, kModules, transformer), Error) << transformer;
}

TEST(Pool, MeanFirstAndLength) {
  float hidden[] = {3, 0, 1, 0, 2, 12, 0, 0}, out[4];
  const int32_t tokens[] = {1, 2, 3, 4}, counts[] = {3, 1};
  const TextBatch batch{.tokens = tokens, .counts = counts};
  const View h = f32_view(hidden, {4, 2}), o = f32_view(out, {2, 2});
  pool(batch, h, {.pool = Pool::kMean}, o);
  EXPECT_EQ(out[0], 2.f);
  EXPECT_EQ(out[1], 4.f);
  pool(batch, h, {.pool = Pool::kCls}, o);
  EXPECT_EQ(out[0], 3.f);
  EXPECT_EQ(out[1], 0.f);
  pool(batch, h, {.pool = Pool::kMean, .normalise = true}, o);
  EXPECT_FLOAT_EQ(out[0], 1 / std::sqrt(5.f));
  EXPECT_FLOAT_EQ(out[1], 2 / std::sqrt(5.f));
  EXPECT_EQ(out[2], 0.f);  // no direction, and no NaN
  EXPECT_THROW(pool(batch, h, {}, f32_view(out, {1, 2})), Error);
  EXPECT_THROW(pool(batch, f32_view(hidden, {2, 2}), {}, o), Error);
}

}  // namespace
}  // namespace lowkey
