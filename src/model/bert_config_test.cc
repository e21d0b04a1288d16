#include "model/bert_config.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace lowkey {
namespace {

constexpr const char* kGood = R"({"model_type": "bert", "architectures": ["BertModel"], "num_hidden_layers": 2,
  "hidden_size": 48, "num_attention_heads": 3, "intermediate_size": 100, "vocab_size": 300, "type_vocab_size": 2,
  "max_position_embeddings": 64, "layer_norm_eps": 1e-12, "hidden_act": "gelu"})";
constexpr const char* kClassifier = R"("architectures": ["BertForSequenceClassification"])";

// The good file with the members of `changes` in place of its own.
BertConfig parse(const std::string& changes) {
  nlohmann::json json = nlohmann::json::parse(kGood);
  json.merge_patch(nlohmann::json::parse("{" + changes + "}"));
  return parse_bert_config(json.dump(), "config.json");
}

TEST(BertConfig, ReadsHuggingFace) {
  const BertConfig c = parse("");
  EXPECT_EQ(c.layers, 2);
  EXPECT_EQ(c.head_dim, 16);
  EXPECT_EQ(c.context, 64);
  EXPECT_FLOAT_EQ(c.norm_epsilon, 1e-12f);
  EXPECT_TRUE(c.classes.labels.empty());
}

TEST(BertConfig, Classes) {
  const std::string classifier = kClassifier;
  EXPECT_EQ(parse(classifier).classes.labels, (std::vector<std::string>{"LABEL_0", "LABEL_1"}));
  EXPECT_EQ(parse(classifier).classes.kind, ClassKind::kOneOf);
  const BertConfig named = parse(classifier + R"(, "id2label": {"1": "good", "0": "bad", "2": "so"})");
  EXPECT_EQ(named.classes.labels, (std::vector<std::string>{"bad", "good", "so"}));
  EXPECT_EQ(parse(classifier + R"(, "num_labels": 1)").classes.kind, ClassKind::kValue);
  EXPECT_EQ(parse(classifier + R"(, "problem_type": "regression")").classes.kind, ClassKind::kValue);
  EXPECT_EQ(parse(classifier + R"(, "problem_type": "multi_label_classification")").classes.kind, ClassKind::kEach);
}

TEST(BertConfig, BadValuesAreRefusedByName) {
  const std::string classifier = std::string(kClassifier) + ", ";
  const std::pair<std::string, const char*> cases[] = {
      {R"("model_type": "gpt2")", "'gpt2'"},
      {R"("num_hidden_layers": 0)", "num_hidden_layers=0"},
      {R"("hidden_size": 99999999999)", "hidden_size=0"},
      {R"("num_attention_heads": 5)", "5 heads"},
      {R"("num_attention_heads": 12)", "4 numbers in a head"},
      {R"("vocab_size": "many")", "vocab_size is a string"},
      {R"("max_position_embeddings": -1)", "max_position_embeddings=-1"},
      {R"("type_vocab_size": 0)", "type_vocab_size=0"},
      {R"("layer_norm_eps": 2)", "layer_norm_eps=2"},
      {R"("hidden_act": "relu")", "hidden_act 'relu'"},
      {R"("position_embedding_type": "relative_key")", "'relative_key'"},
      {R"("is_decoder": true)", "is_decoder"},
      {R"("architectures": 3)", "architectures is a number"},
      {classifier + R"("num_labels": 0)", "0 classes"},
      {classifier + R"("id2label": {"0": "a", "2": "b"})", "id2label has no 1"},
      {classifier + R"("id2label": {"0": 7})", "0 is a number"},
      {classifier + R"("problem_type": "ranking")", "'ranking'"},
  };
  for (const auto& [changes, expected] : cases) {
    try {
      parse(changes);
      ADD_FAILURE() << changes << " was accepted";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(expected), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find("config.json"), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace lowkey
