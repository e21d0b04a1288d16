#include "model/config.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>

#include "base/error.h"

namespace lowkey {
namespace {

constexpr const char* kGood = R"({"model_type": "llama", "num_hidden_layers": 2, "hidden_size": 96,
  "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 48, "intermediate_size": 128, "vocab_size": 300,
  "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "tie_word_embeddings": true, "rope_theta": 10000.0})";

// The good file with the members of `changes` in place of its own.
LlamaConfig parse(const std::string& changes) {
  nlohmann::json json = nlohmann::json::parse(kGood);
  json.merge_patch(nlohmann::json::parse("{" + changes + "}"));
  return parse_llama_config(json.dump(), "config.json");
}

TEST(LlamaConfig, ReadsHuggingFace) {
  const LlamaConfig c = parse("");
  EXPECT_EQ(c.layers, 2);
  EXPECT_EQ(c.head_dim, 48);
  EXPECT_EQ(c.kv_heads, 2);
  EXPECT_TRUE(c.tied);
  EXPECT_EQ(c.rope_layout, RopeLayout::kHalf);
}

TEST(LlamaConfig, BadValuesAreRefusedByName) {
  const std::pair<const char*, const char*> cases[] = {
      {R"("num_hidden_layers": 0)", "layers=0"},
      {R"("num_hidden_layers": 99999999999)", "layers=0"},
      {R"("num_attention_heads": -4)", "heads=-4"},
      {R"("num_key_value_heads": 3)", "kv_heads=3"},
      {R"("head_dim": 47)", "head_dim=47"},
      {R"("vocab_size": "many")", "vocab_size is a string"},
      {R"("rms_norm_eps": 2)", "epsilon=2"},
      {R"("rope_theta": 0)", "rope base=0"},
      {R"("hidden_act": "relu")", "hidden_act 'relu'"},
      {R"("attention_bias": true)", "attention_bias"},
      {R"("rope_scaling": {"rope_type": "yarn", "factor": 2})", "'yarn'"},
      {R"("rope_scaling": {"rope_type": "linear", "factor": 0})", "factor=0"},
      {R"("rope_scaling": {"rope_type": "llama3", "low_freq_factor": 4, "high_freq_factor": 1})", "low_freq_factor=4"},
      {R"("rope_scaling": 3)", "rope_scaling is a number"},
      {R"("model_type": "gpt2")", "'gpt2'"},
  };
  for (const auto& [tail, expected] : cases) {
    try {
      parse(tail);
      ADD_FAILURE() << tail << " was accepted";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(expected), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find("config.json"), std::string::npos) << error.what();
    }
  }
}

TEST(LlamaConfig, WhatIsNoSoundJsonIsRefused) {
  for (const std::string& text : {std::string("{"), std::string(100000, '['), std::string("[]"), std::string()})
    EXPECT_THROW(parse_llama_config(text, "config.json"), Error);
}

TEST(InverseFrequencies, LinearDividesEveryFrequency) {
  const auto plain = inverse_frequencies(parse(""), nullptr);
  const auto scaled = inverse_frequencies(parse(R"("rope_scaling": {"type": "linear", "factor": 4})"), nullptr);
  ASSERT_EQ(plain.size(), 24u);
  EXPECT_EQ(plain[0], 1.0f);
  for (size_t i = 0; i < plain.size(); ++i) EXPECT_FLOAT_EQ(scaled[i], plain[i] / 4);
}

TEST(InverseFrequencies, Llama3KeepsHighAndDividesLowFrequencies) {
  const auto plain = inverse_frequencies(parse(""), nullptr);
  const auto scaled = inverse_frequencies(
      parse(R"("rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4,
               "original_max_position_embeddings": 64})"),
      nullptr);
  for (size_t i = 0; i < plain.size(); ++i) {
    const double wavelength = 2 * std::numbers::pi / plain[i];
    if (wavelength < 64.0 / 4) {
      EXPECT_FLOAT_EQ(scaled[i], plain[i]);
    } else if (wavelength > 64.0) {
      EXPECT_FLOAT_EQ(scaled[i], plain[i] / 8);
    } else {
      EXPECT_LT(scaled[i], plain[i]);
      EXPECT_GT(scaled[i], plain[i] / 8);
    }
  }
}

}  // namespace
}  // namespace lowkey
