#include "model/config.h"

#include <cmath>
#include <numbers>

#include "base/error.h"
#include "base/printable.h"
#include "model/config_fields.h"

namespace lowkey {
namespace {

// config.json writes the scaling as rope_scaling (with a top-level rope_theta) or, since Transformers 5, both
// inside rope_parameters.
void parse_rope(const ConfigFields& fields, LlamaConfig& c) {
  c.rope_base = fields.number("rope_theta", 10000.0);
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const auto rope = fields.object(key);
    if (!rope) continue;
    c.rope_base = rope->number("rope_theta", c.rope_base);
    std::string kind = rope->word("rope_type");
    if (kind.empty()) kind = rope->word("type");
    if (kind.empty() || kind == "default") continue;
    LK_REQUIRE(kind == "linear" || kind == "llama3", kUnsupported,
               "[config] {}: {} of type '{}', must be linear or llama3", fields.source(), key, printable(kind));
    c.rope_scaling = kind == "linear" ? RopeScaling::kLinear : RopeScaling::kLlama3;
    c.rope_factor = rope->number("factor", 1.0);
    c.rope_low = rope->number("low_freq_factor", 1.0);
    c.rope_high = rope->number("high_freq_factor", 4.0);
    c.rope_original_context = rope->integer("original_max_position_embeddings", 8192);
  }
}

}  // namespace

LlamaConfig parse_llama_config(std::string_view config_json, const std::string& source) {
  const ConfigFields fields(config_json, source);
  const std::string family = fields.word("model_type");
  LK_REQUIRE(family == "llama", kUnsupported, "[config] {}: model_type '{}', must be one of: llama", source,
             printable(family));
  LK_REQUIRE(!fields.flag("attention_bias") && !fields.flag("mlp_bias"), kUnsupported,
             "[config] {}: attention_bias or mlp_bias is true, must be false", source);
  const std::string activation = fields.word("hidden_act");
  LK_REQUIRE(activation.empty() || activation == "silu", kUnsupported, "[config] {}: hidden_act '{}', must be silu",
             source, activation);
  LlamaConfig c;
  c.layers = fields.small_integer("num_hidden_layers", 0);
  c.width = fields.small_integer("hidden_size", 0);
  c.heads = fields.small_integer("num_attention_heads", 0);
  c.kv_heads = fields.small_integer("num_key_value_heads", c.heads);
  c.head_dim = fields.small_integer("head_dim", c.heads > 0 ? c.width / c.heads : 0);
  c.ffn = fields.small_integer("intermediate_size", 0);
  c.vocabulary = fields.small_integer("vocab_size", 0);
  c.context = fields.integer("max_position_embeddings", 2048);
  c.norm_epsilon = static_cast<float>(fields.number("rms_norm_eps", 1e-6));
  c.tied = fields.flag("tie_word_embeddings");
  parse_rope(fields, c);
  check(c, source);
  return c;
}

LlamaConfig llama_config(const Gguf& file) {
  const std::string& source = file.path();
  const std::string family = file.text("general.architecture", "");
  LK_REQUIRE(family == "llama", kUnsupported, "[config] {}: general.architecture '{}', must be one of: llama", source,
             printable(family));
  LlamaConfig c;
  c.layers = narrow(file.integer("llama.block_count", 0));
  c.width = narrow(file.integer("llama.embedding_length", 0));
  c.heads = narrow(file.integer("llama.attention.head_count", 0));
  c.kv_heads = narrow(file.integer("llama.attention.head_count_kv", c.heads));
  c.head_dim = narrow(file.integer("llama.attention.key_length", c.heads > 0 ? c.width / c.heads : 0));
  const int64_t value_length = file.integer("llama.attention.value_length", c.head_dim);
  LK_REQUIRE(value_length == c.head_dim, kUnsupported, "[config] {}: value_length={}, must equal key_length={}", source,
             value_length, c.head_dim);
  const int64_t rotated = file.integer("llama.rope.dimension_count", c.head_dim);
  LK_REQUIRE(rotated == c.head_dim, kUnsupported, "[config] {}: rope.dimension_count={}, must equal key_length={}",
             source, rotated, c.head_dim);
  c.ffn = narrow(file.integer("llama.feed_forward_length", 0));
  c.context = file.integer("llama.context_length", 0);
  c.norm_epsilon = static_cast<float>(file.number("llama.attention.layer_norm_rms_epsilon", 0));
  c.rope_base = file.number("llama.rope.freq_base", 10000.0);
  c.rope_layout = RopeLayout::kInterleaved;
  const std::string scaling = file.text("llama.rope.scaling.type", "none");
  LK_REQUIRE(scaling == "none" || scaling == "linear", kUnsupported,
             "[config] {}: rope.scaling.type '{}', must be none or linear", source, printable(scaling));
  if (scaling == "linear") {
    c.rope_scaling = RopeScaling::kLinear;
    c.rope_factor = file.number("llama.rope.scaling.factor", 1.0);
  }
  c.tied = file.find("output.weight") == nullptr;
  const View* table = file.find("token_embd.weight");
  LK_REQUIRE(table != nullptr && table->rank == 2, kCorruptFile,
             "[config] {}: token_embd.weight is missing or not a matrix", source);
  c.vocabulary = narrow(table->dim(0));
  if (const auto* tokens = file.texts("tokenizer.ggml.tokens"))
    LK_REQUIRE(static_cast<int64_t>(tokens->size()) <= table->dim(0), kCorruptFile,
               "[config] {}: tokenizer.ggml.tokens has {}, must be <= {}, the rows of token_embd.weight", source,
               tokens->size(), table->dim(0));
  check(c, source);
  return c;
}

void check(const LlamaConfig& c, const std::string& source) {
  const auto in_range = [&](const char* field, int64_t value, int64_t most) {
    LK_REQUIRE(value >= 1 && value <= most, kCorruptFile, "[config] {}: {}={}, must be 1 to {}", source, field, value,
               most);
  };
  in_range("layers", c.layers, 4096);
  in_range("width", c.width, 1 << 20);
  in_range("heads", c.heads, 1 << 14);
  in_range("kv_heads", c.kv_heads, c.heads);
  in_range("head_dim", c.head_dim, 4096);
  in_range("ffn", c.ffn, 1 << 24);
  in_range("vocabulary", c.vocabulary, 1 << 24);
  in_range("context", c.context, int64_t{1} << 30);
  LK_REQUIRE(c.heads % c.kv_heads == 0, kCorruptFile, "[config] {}: heads={}, must be a multiple of kv_heads={}",
             source, c.heads, c.kv_heads);
  LK_REQUIRE(c.head_dim % 8 == 0, kUnsupported, "[config] {}: head_dim={}, must be a multiple of 8", source,
             c.head_dim);
  LK_REQUIRE(std::isfinite(c.norm_epsilon) && c.norm_epsilon >= 0 && c.norm_epsilon < 1, kCorruptFile,
             "[config] {}: norm epsilon={}, must be 0 to 1", source, c.norm_epsilon);
  LK_REQUIRE(std::isfinite(c.rope_base) && c.rope_base >= 1, kCorruptFile, "[config] {}: rope base={}, must be >= 1",
             source, c.rope_base);
  LK_REQUIRE(std::isfinite(c.rope_factor) && c.rope_factor > 0, kCorruptFile,
             "[config] {}: rope factor={}, must be > 0", source, c.rope_factor);
  if (c.rope_scaling != RopeScaling::kLlama3) return;
  LK_REQUIRE(c.rope_low > 0 && c.rope_high > c.rope_low && std::isfinite(c.rope_high), kCorruptFile,
             "[config] {}: low_freq_factor={} high_freq_factor={}, must be 0 < low < high", source, c.rope_low,
             c.rope_high);
  in_range("original_max_position_embeddings", c.rope_original_context, int64_t{1} << 30);
}

std::vector<float> inverse_frequencies(const LlamaConfig& c, const float* factors) {
  std::vector<float> result(static_cast<size_t>(c.head_dim / 2));
  for (size_t i = 0; i < result.size(); ++i) {
    double f = std::pow(c.rope_base, -2.0 * static_cast<double>(i) / c.head_dim);
    if (factors != nullptr) f /= factors[i];
    if (c.rope_scaling == RopeScaling::kLinear) f /= c.rope_factor;
    if (c.rope_scaling == RopeScaling::kLlama3) {
      // Turns over the original context: many keep their frequency, few are slowed, between is blended.
      const double turns = static_cast<double>(c.rope_original_context) * f / (2 * std::numbers::pi);
      const double keep = std::clamp((turns - c.rope_low) / (c.rope_high - c.rope_low), 0.0, 1.0);
      f = keep * f + (1 - keep) * f / c.rope_factor;
    }
    result[i] = static_cast<float>(f);
  }
  return result;
}

}  // namespace lowkey
