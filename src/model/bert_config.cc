#include "model/bert_config.h"

#include <cmath>

#include "base/error.h"
#include "base/printable.h"
#include "model/config_fields.h"

namespace lowkey {
namespace {

constexpr int kMostClasses = 65536;

void check(const BertConfig& c, const std::string& source) {
  const auto in_range = [&](const char* field, int64_t value, int64_t most) {
    LK_REQUIRE(value >= 1 && value <= most, kCorruptFile, "[config] {}: {}={}, must be 1 to {}", source, field, value,
               most);
  };
  in_range("num_hidden_layers", c.layers, 4096);
  in_range("hidden_size", c.width, 1 << 20);
  in_range("num_attention_heads", c.heads, 1 << 14);
  in_range("intermediate_size", c.ffn, 1 << 24);
  in_range("vocab_size", c.vocabulary, 1 << 24);
  in_range("max_position_embeddings", c.context, 1 << 24);
  in_range("type_vocab_size", c.types, 1024);
  LK_REQUIRE(c.width % c.heads == 0, kCorruptFile, "[config] {}: hidden_size={}, must be a multiple of {} heads",
             source, c.width, c.heads);
  LK_REQUIRE(c.width / c.heads % 8 == 0, kUnsupported, "[config] {}: {} numbers in a head, must be a multiple of 8",
             source, c.width / c.heads);
  LK_REQUIRE(std::isfinite(c.norm_epsilon) && c.norm_epsilon >= 0 && c.norm_epsilon < 1, kCorruptFile,
             "[config] {}: layer_norm_eps={}, must be 0 to 1", source, c.norm_epsilon);
}

// Words that must be one of a few where they are given at all.
void require_word(const ConfigFields& fields, const char* key, std::string_view wanted) {
  const std::string word = fields.word(key);
  LK_REQUIRE(word.empty() || word == wanted, kUnsupported, "[config] {}: {} '{}', must be {}", fields.source(), key,
             printable(word), wanted);
}

bool is_classifier(const ConfigFields& fields) {
  const nlohmann::json* architectures = fields.find("architectures");
  if (architectures == nullptr) return false;
  LK_REQUIRE(architectures->is_array(), kCorruptFile, "[config] {}: architectures is a {}, must be an array",
             fields.source(), architectures->type_name());
  for (const auto& name : *architectures)
    if (name.is_string() && name.get<std::string>() == "BertForSequenceClassification") return true;
  return false;
}

// id2label: {"0": "NEGATIVE", ...}; without it num_labels (2 by default) of "LABEL_0" and so on.
Classes read_classes(const ConfigFields& fields) {
  Classes classes;
  const auto names = fields.object("id2label");
  const int64_t size = names ? names->size() : fields.integer("num_labels", 2);
  LK_REQUIRE(size >= 1 && size <= kMostClasses, kCorruptFile, "[config] {}: {} classes, must be 1 to {}",
             fields.source(), size, kMostClasses);
  for (int64_t i = 0; i < size; ++i) {
    const std::string id = std::to_string(i);
    classes.labels.push_back(names ? names->word(id.c_str()) : "LABEL_" + id);
    LK_REQUIRE(!classes.labels.back().empty(), kCorruptFile, "[config] {}: id2label has no {}, must name 0 to {}",
               fields.source(), i, size - 1);
  }
  const std::string kind = fields.word("problem_type");
  LK_REQUIRE(kind.empty() || kind == "single_label_classification" || kind == "multi_label_classification" ||
                 kind == "regression",
             kUnsupported, "[config] {}: problem_type '{}', must be one of Hugging Face's three", fields.source(),
             printable(kind));
  classes.kind = kind == "multi_label_classification"                  ? ClassKind::kEach
                 : kind == "regression" || (kind.empty() && size == 1) ? ClassKind::kValue
                                                                       : ClassKind::kOneOf;
  return classes;
}

}  // namespace

BertConfig parse_bert_config(std::string_view config_json, const std::string& source) {
  const ConfigFields fields(config_json, source);
  const std::string family = fields.word("model_type");
  LK_REQUIRE(family == "bert", kUnsupported, "[config] {}: model_type '{}', must be bert", source, printable(family));
  require_word(fields, "hidden_act", "gelu");
  require_word(fields, "position_embedding_type", "absolute");
  LK_REQUIRE(!fields.flag("is_decoder") && !fields.flag("add_cross_attention"), kUnsupported,
             "[config] {}: is_decoder or add_cross_attention is true, must be false", source);
  BertConfig c;
  c.layers = fields.small_integer("num_hidden_layers", 0);
  c.width = fields.small_integer("hidden_size", 0);
  c.heads = fields.small_integer("num_attention_heads", 0);
  c.ffn = fields.small_integer("intermediate_size", 0);
  c.vocabulary = fields.small_integer("vocab_size", 0);
  c.context = fields.integer("max_position_embeddings", 512);
  c.types = fields.small_integer("type_vocab_size", 2);
  c.norm_epsilon = static_cast<float>(fields.number("layer_norm_eps", 1e-12));
  check(c, source);
  c.head_dim = c.width / c.heads;
  if (is_classifier(fields)) c.classes = read_classes(fields);
  return c;
}

}  // namespace lowkey
