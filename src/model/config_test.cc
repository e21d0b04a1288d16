#include "model/config.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <numbers>

#include "base/error.h"
#include "model/family.h"
#include "model/feed_forward.h"

namespace lowkey {
namespace {

constexpr const char* kGood = R"({"model_type": "llama", "num_hidden_layers": 2, "hidden_size": 96,
  "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 48, "intermediate_size": 128, "vocab_size": 300,
  "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "tie_word_embeddings": true, "rope_theta": 10000.0})";

// The good file with the members of `changes` in place of its own.
ModelConfig parse(const std::string& changes) {
  nlohmann::json json = nlohmann::json::parse(kGood);
  json.merge_patch(nlohmann::json::parse("{" + changes + "}"));
  return parse_config(json.dump(), "config.json");
}

TEST(ModelConfig, ReadsHuggingFace) {
  const ModelConfig c = parse("");
  EXPECT_EQ(c.layers, 2);
  EXPECT_EQ(c.head_dim, 48);
  EXPECT_EQ(c.kv_heads, 2);
  EXPECT_TRUE(c.tied);
  EXPECT_EQ(c.rope.layout, RopeLayout::kHalf);
}

TEST(ModelConfig, BadValuesAreRefusedByName) {
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
      {R"("rope_scaling": {"rope_type": "dynamic", "factor": 2})",
       "'dynamic', must be linear, llama3, yarn or longrope"},
      {R"("rope_scaling": {"type": "yarn", "beta_fast": 1, "beta_slow": 2})", "beta_slow=2 beta_fast=1"},
      {R"("rope_scaling": {"type": "yarn", "factor": 2, "attention_factor": -1})", "attention factor=-1"},
      {R"("rope_scaling": {"rope_type": "linear", "factor": 0})", "factor=0"},
      {R"("rope_scaling": {"rope_type": "llama3", "low_freq_factor": 4, "high_freq_factor": 1})", "low_freq_factor=4"},
      {R"("rope_scaling": 3)", "rope_scaling is a number"},
      {R"("model_type": "mamba")",
       "'mamba', must be one of: llama, mistral, mixtral, qwen2, qwen3, qwen3_moe, phi3, gpt_neox"},
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

// The whole text of a config.json of a family.
ModelConfig parse_family(const std::string& type, const std::string& rest) {
  return parse_config(R"({"model_type": ")" + type + R"(", "num_hidden_layers": 6, "hidden_size": 96,
    "num_attention_heads": 4, "intermediate_size": 128, "vocab_size": 300, "max_position_embeddings": 2048, )" +
                          rest + "}",
                      "config.json");
}

TEST(ModelConfig, WindowsAreThoseOfTheFamily) {
  const auto windows = [](const std::string& type, const std::string& rest) {
    return parse_family(type, rest).windows;
  };
  using Windows = std::vector<int64_t>;
  EXPECT_EQ(windows("mistral", R"("sliding_window": 512)"), Windows(6, 512));
  EXPECT_EQ(windows("mistral", R"("sliding_window": null)"), Windows());
  EXPECT_EQ(windows("mistral", R"("sliding_window": 4096)"), Windows());  // longer than any context
  EXPECT_EQ(windows("gemma2", R"("sliding_window": 512)"), (Windows{512, 0, 512, 0, 512, 0}));
  EXPECT_EQ(windows("gemma3_text", R"("sliding_window": 512)"), (Windows{512, 512, 512, 512, 512, 0}));
  EXPECT_EQ(windows("gemma3_text", R"("sliding_window": 4096)"), (Windows{4096, 4096, 4096, 4096, 4096, 0}));
  EXPECT_EQ(windows("qwen2", R"("sliding_window": 512)"), Windows());  // unless it says that it is used
  EXPECT_EQ(windows("qwen2", R"("sliding_window": 512, "use_sliding_window": true, "max_window_layers": 4)"),
            (Windows{0, 0, 0, 0, 512, 512}));
  EXPECT_EQ(windows("gemma2", R"("sliding_window": 512, "layer_types": ["full_attention", "full_attention",
    "sliding_attention", "full_attention", "full_attention", "full_attention"])"),
            (Windows{0, 0, 512, 0, 0, 0}));
  EXPECT_THROW(windows("gemma2", R"("sliding_window": 512, "layer_types": ["full_attention"])"), Error);
  EXPECT_THROW(windows("mistral", R"("sliding_window": -3)"), Error);
}

TEST(ModelConfig, Gpt2HasNamesOfItsOwn) {
  const ModelConfig c = parse_config(R"({"model_type": "gpt2", "n_layer": 3, "n_embd": 96, "n_head": 4, "n_inner": null,
    "n_positions": 512, "vocab_size": 300, "layer_norm_epsilon": 1e-4, "activation_function": "gelu_new"})",
                                     "config.json");
  EXPECT_EQ(std::tie(c.layers, c.width, c.heads, c.kv_heads, c.ffn, c.context), std::tuple(3, 96, 4, 4, 384, 512));
  EXPECT_EQ(c.norm_epsilon, 1e-4f);
  EXPECT_TRUE(c.tied);
}

TEST(ModelConfig, LongropeIsChecked) {
  const auto rope = [](const std::string& lists) {
    return parse_family("phi3", R"("original_max_position_embeddings": 128, "rope_scaling": {"type": "longrope", )" +
                                    lists + "}")
        .rope;
  };
  const std::string ones = "[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]", twos = "[2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2]";
  const RopeConfig r = rope("\"short_factor\": " + ones + ", \"long_factor\": " + twos);
  EXPECT_FLOAT_EQ(r.amplitude, std::sqrt(1 + std::log(2048. / 128) / std::log(128.)));
  const auto plain = inverse_frequencies(r, RopeReach::kShort), slow = inverse_frequencies(r);
  for (size_t i = 0; i < plain.size(); ++i) EXPECT_FLOAT_EQ(slow[i], plain[i] / 2);
  for (const char* bad : {"\"long_factor\": [1, 2]", "\"long_factor\": 3", "\"short_factor\": [\"a\"]"})
    EXPECT_THROW(rope(bad), Error) << bad;
}

TEST(Route, TakesTheHighestAndWeighsThemByTheirSoftmax) {
  float scores[] = {1, 3, 2, 3, /**/ -500, -501, -502, 900};
  Route routes[4];
  route(f32_view(scores, {2, 4}), 2, /*sum_to_one=*/true, routes);
  EXPECT_EQ(routes[0].expert, 1);  // ties go to the lower number
  EXPECT_EQ(routes[1].expert, 3);
  EXPECT_EQ(routes[0].weight, 0.5f);
  EXPECT_EQ(routes[1].weight, 0.5f);
  EXPECT_EQ(routes[2].expert, 3);
  EXPECT_EQ(routes[3].expert, 0);
  EXPECT_EQ(routes[2].weight, 1.f);
  EXPECT_EQ(routes[3].weight, 0.f);
  route(f32_view(scores, {1, 4}), 2, /*sum_to_one=*/false, routes);
  EXPECT_EQ(routes[0].expert, 1);
  EXPECT_FLOAT_EQ(routes[0].weight, 1 / (2 + std::exp(-1.f) + std::exp(-2.f)));
  EXPECT_EQ(routes[1].weight, routes[0].weight);
}

TEST(ModelConfig, Qwen3MoeSaysWhichLayersHaveExperts) {
  const auto parse_moe = [](const std::string& more) {
    return parse_family("qwen3_moe",
                        R"("num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32)" + more);
  };
  const auto mixtures = [&](const std::string& more) {
    std::string layers;
    for (int i = 0; i < 6; ++i) layers += parse_moe(more).mixture(i) ? 'x' : '-';
    return layers;
  };
  EXPECT_EQ(mixtures(""), "xxxxxx");
  EXPECT_EQ(mixtures(R"(, "decoder_sparse_step": 2)"), "-x-x-x");
  EXPECT_EQ(mixtures(R"(, "decoder_sparse_step": 2, "mlp_only_layers": [0, 5])"), "-x-x--");
  EXPECT_FALSE(parse_moe("").routes_sum_to_one);  // as transformers reads a file that does not say
  EXPECT_TRUE(parse_moe(R"(, "norm_topk_prob": true)").routes_sum_to_one);
  EXPECT_THROW(parse_moe(R"(, "decoder_sparse_step": 0)"), Error);
  EXPECT_THROW(parse_moe(R"(, "mlp_only_layers": 3)"), Error);
  EXPECT_THROW(parse_moe(R"(, "num_experts_per_tok": 5)"), Error);

  std::vector<std::string> shapes;
  for (const TensorSpec& spec : tensors_of(parse_moe(R"(, "mlp_only_layers": [0])")))
    if (spec.name.starts_with("blk.0.ffn_up") || spec.name.starts_with("blk.1.ffn_up"))
      shapes.push_back(fmt::format("{} {}", spec.name, fmt::join(spec.shape, "x")));
  EXPECT_EQ(shapes, (std::vector<std::string>{"blk.0.ffn_up.weight 128x96", "blk.1.ffn_up_exps.weight 4x32x96"}));
}

TEST(ModelConfig, WhatIsNoSoundJsonIsRefused) {
  for (const std::string& text : {std::string("{"), std::string(100000, '['), std::string("[]"), std::string()})
    EXPECT_THROW(parse_config(text, "config.json"), Error);
}

TEST(InverseFrequencies, LinearDividesEveryFrequency) {
  const auto plain = inverse_frequencies(parse("").rope);
  const auto scaled = inverse_frequencies(parse(R"("rope_scaling": {"type": "linear", "factor": 4})").rope);
  ASSERT_EQ(plain.size(), 24u);
  EXPECT_EQ(plain[0], 1.0f);
  for (size_t i = 0; i < plain.size(); ++i) EXPECT_FLOAT_EQ(scaled[i], plain[i] / 4);
}

// The numbers are those of transformers 5 (modeling_rope_utils, in f32) for 16 dimensions and base 10000.
TEST(InverseFrequencies, YarnIsThatOfTransformers) {
  struct Case {
    const char* scaling;  // beside type and factor
    double amplitude;
    std::vector<float> expected;
  };
  const std::vector<float> usual = {1, 0.23717082, 0.05, 0.0079056947, 0.0025, 0.00079056947, 0.00025, 7.9056947e-05};
  const Case cases[] = {
      {R"("factor": 4, "original_max_position_embeddings": 64)", 1.138629436111989, usual},
      {R"("factor": 4, "original_max_position_embeddings": 64, "attention_factor": 0.75)", 0.75, usual},
      {R"("factor": 4, "original_max_position_embeddings": 64, "truncate": false)",
       1.138629436111989,
       {1, 0.19858353, 0.02559525, 0.0079056947, 0.0025, 0.00079056947, 0.00025, 7.9056947e-05}},
      {R"("factor": 10, "original_max_position_embeddings": 64, "beta_fast": 8, "beta_slow": 0.5)",
       1.2302585092994045,
       {1, 0.22135943, 0.04, 0.0031622779, 0.001, 0.00031622779, 0.0001, 3.1622778e-05}},
      {R"("factor": 40, "original_max_position_embeddings": 64, "mscale": 1.0, "mscale_all_dim": 0.5)",
       1.1557219901962608,
       {1, 0.21345372, 0.035, 0.00079056947, 0.00025, 7.9056947e-05, 2.5e-05, 7.9056945e-06}},
      {R"("factor": null, "original_max_position_embeddings": 256)",
       1.2079441541679836,
       {1, 0.24705294, 0.05625, 0.01087033, 0.00125, 0.00039528473, 0.000125, 3.9528473e-05}},
      {R"("factor": 4)",
       1.138629436111989,
       {1, 0.31622776, 0.1, 0.025693506, 0.00625, 0.0013834966, 0.00025, 7.9056947e-05}},
  };
  for (const Case& c : cases) {
    const RopeConfig rope =
        parse(R"("head_dim": 16, "rope_scaling": {"type": "yarn", )" + std::string(c.scaling) + "}").rope;
    EXPECT_FLOAT_EQ(rope.amplitude, static_cast<float>(c.amplitude)) << c.scaling;
    const auto f = inverse_frequencies(rope);
    ASSERT_EQ(f.size(), c.expected.size());
    for (size_t i = 0; i < f.size(); ++i)  // a power, a factor and a blend of two, each rounded to f32 there
      EXPECT_NEAR(f[i], c.expected[i], 8 * std::numeric_limits<float>::epsilon() * c.expected[i]) << c.scaling << i;
  }
}

TEST(ModelConfig, YarnReachesItsFactorTimesTheOriginalContext) {
  const std::string yarn = R"("rope_scaling": {"type": "yarn", "factor": 4, "original_max_position_embeddings": )";
  EXPECT_EQ(parse(yarn + "2048}").context, 8192);
  EXPECT_EQ(parse(yarn + "64}").context, 2048);
}

TEST(InverseFrequencies, Llama3KeepsHighAndDividesLowFrequencies) {
  const auto plain = inverse_frequencies(parse("").rope);
  const auto scaled = inverse_frequencies(
      parse(R"("rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4,
               "original_max_position_embeddings": 64})")
          .rope);
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
