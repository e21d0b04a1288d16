#include "model/gguf_metadata.h"

#include <algorithm>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/printable.h"
#include "model/tokenizer_loader.h"

namespace lowkey {
namespace {

namespace fs = std::filesystem;

constexpr uint32_t kQuantisationVersion = 2;  // of the block layouts in base/dtype.h

// general.file_type: what most weights are stored as.
uint32_t file_type(DType weights) {
  switch (weights) {
    case DType::kF16:
      return 1;
    case DType::kQ4_0:
      return 2;
    case DType::kQ8_0:
      return 7;
    case DType::kBF16:
      return 32;
    default:
      return 0;
  }
}

// llama.cpp's word for the way text is cut into pieces. Its "smaug-bpe" is "llama-bpe" without ignore_merges.
std::string pretokenizer_name(const TokenizerSpec& spec) {
  switch (spec.pretokenizer) {
    case Pretokenizer::kLlama3:
      return spec.ignore_merges ? "llama-bpe" : "smaug-bpe";
    case Pretokenizer::kQwen2:
      return "qwen2";
    case Pretokenizer::kGpt2:
      break;
  }
  return "gpt-2";
}

// tokenizer.ggml.token_type of each id.
enum TokenType : int32_t { kNormal = 1, kControl = 3, kUserDefined = 4, kUnused = 5 };

void set_id(GgufWriter& writer, const std::string& key, int32_t id) {
  if (id >= 0) writer.set(fmt::format("tokenizer.ggml.{}", key), static_cast<uint32_t>(id));
}

}  // namespace

void set_hyperparameters(GgufWriter& writer, const LlamaConfig& c) {
  const auto set = [&](const char* key, int64_t value) {
    writer.set(fmt::format("llama.{}", key), static_cast<uint32_t>(value));
  };
  set("block_count", c.layers);
  set("context_length", c.context);
  set("embedding_length", c.width);
  set("feed_forward_length", c.ffn);
  set("vocab_size", c.vocabulary);
  set("attention.head_count", c.heads);
  set("attention.head_count_kv", c.kv_heads);
  set("attention.key_length", c.head_dim);
  set("attention.value_length", c.head_dim);
  set("rope.dimension_count", c.head_dim);
  writer.set("llama.attention.layer_norm_rms_epsilon", c.norm_epsilon);
  writer.set("llama.rope.freq_base", static_cast<float>(c.rope_base));
  if (c.rope_scaling != RopeScaling::kLinear) return;
  writer.set("llama.rope.scaling.type", "linear");
  writer.set("llama.rope.scaling.factor", static_cast<float>(c.rope_factor));
}

void set_tokenizer(GgufWriter& writer, const TokenizerSpec& spec, int vocabulary) {
  const auto size = static_cast<size_t>(vocabulary);
  LK_REQUIRE(spec.tokens.size() <= size, kCorruptFile, "[tokenizer] {}: tokens = {}, must be <= vocab_size = {}",
             printable(spec.source, 300), spec.tokens.size(), vocabulary);
  std::vector<std::string> tokens = spec.tokens;
  std::vector<int32_t> types(size, kNormal);
  const auto mark = [&](const std::vector<int32_t>& ids, TokenType type) {
    for (int32_t id : ids) {
      LK_REQUIRE(id >= 0 && id < vocabulary, kCorruptFile, "[tokenizer] {}: token id = {}, must be 0 to {}",
                 printable(spec.source, 300), id, vocabulary - 1);
      types[static_cast<size_t>(id)] = type;
    }
  };
  mark(spec.special, kControl);
  mark(spec.added, kUserDefined);
  tokens.resize(size);
  for (size_t id = 0; id < size; ++id)
    if (tokens[id].empty()) tokens[id] = fmt::format("[PAD{}]", id), types[id] = kUnused;

  writer.set("tokenizer.ggml.model", "gpt2");
  writer.set("tokenizer.ggml.pre", pretokenizer_name(spec));
  writer.set("tokenizer.ggml.tokens", tokens);
  writer.set("tokenizer.ggml.token_type", types);
  writer.set("tokenizer.ggml.merges", spec.merges);
  set_id(writer, "bos_token_id", spec.bos);
  set_id(writer, "eos_token_id", spec.eos);
  const auto turn = std::find_if(spec.end_ids.begin(), spec.end_ids.end(), [&](int32_t id) { return id != spec.eos; });
  if (turn != spec.end_ids.end()) set_id(writer, "eot_token_id", *turn);
  writer.set("tokenizer.ggml.add_bos_token", spec.add_bos);
  if (spec.add_prefix_space) writer.set("tokenizer.ggml.add_space_prefix", true);
}

void set_metadata(GgufWriter& writer, const LlamaConfig& config, const fs::path& folder, DType weights) {
  writer.set("general.architecture", "llama");
  writer.set("general.type", "model");
  writer.set("general.name", fs::weakly_canonical(folder).filename().string());
  writer.set("general.file_type", file_type(weights));
  writer.set("general.quantization_version", kQuantisationVersion);
  set_hyperparameters(writer, config);
  set_tokenizer(writer, load_tokenizer(folder).spec(), config.vocabulary);
}

}  // namespace lowkey
