#include "model/gguf_metadata.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/printable.h"
#include "model/family.h"
#include "model/tokenizer_loader.h"
#include "text/pretokenizer_names.h"

namespace lowkey {
namespace {

namespace fs = std::filesystem;

constexpr uint32_t kQuantisationVersion = 2;  // of the block layouts in base/dtype.h

// general.file_type: what most weights are stored as.
uint32_t file_type(DType weights) {
  constexpr std::pair<DType, uint32_t> kTypes[] = {{DType::kF16, 1},   {DType::kQ4_0, 2},  {DType::kQ4_1, 3},
                                                   {DType::kQ8_0, 7},  {DType::kQ5_0, 8},  {DType::kQ5_1, 9},
                                                   {DType::kQ2_K, 10}, {DType::kQ3_K, 11}, {DType::kQ4_K, 14},
                                                   {DType::kQ5_K, 16}, {DType::kQ6_K, 18}, {DType::kBF16, 32}};
  for (const auto& [type, number] : kTypes)
    if (type == weights) return number;
  return 0;
}

// llama.cpp's word for the way text is cut into pieces. Throws kUnsupported when it has none.
std::string pretokenizer_name(const TokenizerSpec& spec) {
  std::string_view found;
  for (const NamedPretokenizer& known : named_pretokenizers()) {
    const bool same = known.kind == spec.pretokenizer && known.ignore_merges == spec.ignore_merges &&
                      std::equal(known.splits.begin(), known.splits.end(), spec.splits.begin(), spec.splits.end());
    if (same && known.nfc == spec.nfc) return std::string(known.name);
    if (same && found.empty()) found = known.name;
  }
  if (!found.empty()) return std::string(found);
  throw Error(ErrorKind::kUnsupported,
              fmt::format("[tokenizer] {}: its pre-tokenizer has no name in GGUF, must be one of the known ones",
                          printable(spec.source, 300)));
}

// tokenizer.ggml.token_type of each id.
enum TokenType : int32_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

bool is_byte_token(std::string_view token) { return token.size() == 6 && token.starts_with("<0x") && token[5] == '>'; }

// [V]. Where merges say what joins, the earlier merge makes the piece of the higher score, as SentencePiece's trainer
// has it.
std::vector<float> scores(const TokenizerSpec& spec, size_t size) {
  std::vector<float> scores(spec.sentencepiece->scores.begin(), spec.sentencepiece->scores.end());
  scores.resize(size);
  if (spec.merges.empty()) return scores;
  std::unordered_map<std::string, float> by_piece;
  for (size_t i = 0; i < spec.merges.size(); ++i) {
    std::string piece = spec.merges[i];
    piece.erase(piece.find(' '), 1);
    by_piece.emplace(std::move(piece), -static_cast<float>(i));
  }
  const float worst = -static_cast<float>(spec.merges.size());
  for (size_t id = 0; id < spec.tokens.size(); ++id) {
    const auto found = by_piece.find(spec.tokens[id]);
    scores[id] = found == by_piece.end() ? worst : found->second;
  }
  return scores;
}

void set_sentencepiece(GgufWriter& writer, const TokenizerSpec& spec, std::vector<int32_t>* types) {
  for (size_t id = 0; id < spec.tokens.size(); ++id)
    if ((*types)[id] == kNormal && spec.sentencepiece->byte_fallback && is_byte_token(spec.tokens[id]))
      (*types)[id] = kByte;
  if (const int32_t unknown = spec.sentencepiece->unknown; unknown >= 0) (*types)[unknown] = kUnknown;
  writer.set("tokenizer.ggml.model", spec.sentencepiece->unigram ? "t5" : "llama");
  writer.set("tokenizer.ggml.pre", "default");
  writer.set("tokenizer.ggml.scores", scores(spec, types->size()));
  const bool space = spec.sentencepiece->prefix != SentencePieceRules::Prefix::kNever;
  writer.set("tokenizer.ggml.add_space_prefix", space);
  writer.set("tokenizer.ggml.add_eos_token", spec.add_eos);
  if (!spec.sentencepiece->unigram) return;
  const SentencePieceRules& rules = *spec.sentencepiece;
  writer.set("tokenizer.ggml.remove_extra_whitespaces", rules.strip_spaces || rules.squeeze || rules.words);
  if (rules.charsmap.empty()) return;
  writer.set("tokenizer.ggml.precompiled_charsmap", std::vector<int8_t>(rules.charsmap.begin(), rules.charsmap.end()));
}

void set_id(GgufWriter& writer, const std::string& key, int32_t id) {
  if (id >= 0) writer.set(fmt::format("tokenizer.ggml.{}", key), static_cast<uint32_t>(id));
}

}  // namespace

namespace {

void set_form(GgufWriter& writer, const std::string& family, const ModelConfig& c) {
  if (c.norm == NormKind::kRms) writer.set(family + "attention.layer_norm_rms_epsilon", c.norm_epsilon);
  if (c.norm == NormKind::kLayer) writer.set(family + "attention.layer_norm_epsilon", c.norm_epsilon);
  if (!c.gated) writer.set(family + "use_parallel_residual", c.parallel);
  if (c.experts > 0) {
    writer.set(family + "expert_count", static_cast<uint32_t>(c.experts));
    writer.set(family + "expert_used_count", static_cast<uint32_t>(c.experts_used));
    if (c.expert_ffn > 0) writer.set(family + "expert_feed_forward_length", static_cast<uint32_t>(c.expert_ffn));
    if (!c.routes_sum_to_one) writer.set(family + "expert_weights_norm", false);
  }
  if (!c.windows.empty())
    writer.set(family + "attention.sliding_window",
               static_cast<uint32_t>(*std::max_element(c.windows.begin(), c.windows.end())));
  if (std::count(c.windows.begin(), c.windows.end(), 0) > 0) {
    std::vector<int32_t> windowed;
    for (int64_t window : c.windows) windowed.push_back(window > 0);
    writer.set(family + "attention.sliding_window_pattern", windowed);
  }
  const std::pair<const char*, float> numbers[] = {{"attention.scale", c.attention_scale},
                                                   {"attn_logit_softcapping", c.attention_cap},
                                                   {"final_logit_softcapping", c.logit_cap}};
  for (const auto& [key, value] : numbers)
    if (value > 0) writer.set(family + key, value);
}

void set_rope(GgufWriter& writer, const std::string& family, const RopeConfig& rope) {
  if (rope.dims == 0) return;
  writer.set(family + "rope.dimension_count", static_cast<uint32_t>(rope.dims));
  writer.set(family + "rope.freq_base", static_cast<float>(rope.base));
  if (rope.window_base > 0) writer.set(family + "rope.freq_base_swa", static_cast<float>(rope.window_base));
  if (rope.scaling == RopeScaling::kLinear) {
    writer.set(family + "rope.scaling.type", "linear");
    writer.set(family + "rope.scaling.factor", static_cast<float>(rope.factor));
  }
  if (rope.scaling == RopeScaling::kYarn) {
    LK_REQUIRE(rope.truncate, kUnsupported, "[convert] truncate is false, must be true: GGUF has no key for it");
    writer.set(family + "rope.scaling.type", "yarn");
    writer.set(family + "rope.scaling.factor", static_cast<float>(rope.factor));
    writer.set(family + "rope.scaling.original_context_length", static_cast<uint32_t>(rope.original_context));
    writer.set(family + "rope.scaling.yarn_beta_fast", static_cast<float>(rope.high));
    writer.set(family + "rope.scaling.yarn_beta_slow", static_cast<float>(rope.low));
    const double beyond = rope.amplitude / yarn_amplitude(rope.factor);
    if (std::abs(beyond - 1) > 1e-6) writer.set(family + "rope.scaling.attn_factor", static_cast<float>(beyond));
  }
  if (rope.scaling == RopeScaling::kLongRope) {
    writer.set(family + "rope.scaling.original_context_length", static_cast<uint32_t>(rope.original_context));
    writer.set(family + "rope.scaling.attn_factor", rope.amplitude);
  }
}

}  // namespace

void set_hyperparameters(GgufWriter& writer, const ModelConfig& c) {
  const std::string family = std::string(c.family->architecture) + ".";
  const auto set = [&](const char* key, int64_t value) { writer.set(family + key, static_cast<uint32_t>(value)); };
  set("block_count", c.layers);
  set("context_length", c.context);
  set("embedding_length", c.width);
  set("feed_forward_length", c.ffn);
  set("vocab_size", c.vocabulary);
  set("attention.head_count", c.heads);
  set("attention.head_count_kv", c.kv_heads);
  set("attention.key_length", c.head_dim);
  set("attention.value_length", c.head_dim);
  set_form(writer, family, c);
  set_rope(writer, family, c.rope);
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

  if (spec.sentencepiece) {
    set_sentencepiece(writer, spec, &types);
    set_id(writer, "unknown_token_id", spec.sentencepiece->unknown);
  } else {
    writer.set("tokenizer.ggml.model", "gpt2");
    writer.set("tokenizer.ggml.pre", pretokenizer_name(spec));
    writer.set("tokenizer.ggml.merges", spec.merges);
    if (spec.add_prefix_space) writer.set("tokenizer.ggml.add_space_prefix", true);
  }
  writer.set("tokenizer.ggml.tokens", tokens);
  writer.set("tokenizer.ggml.token_type", types);
  if (!spec.chat_template.empty()) writer.set("tokenizer.chat_template", spec.chat_template);
  set_id(writer, "bos_token_id", spec.bos);
  set_id(writer, "eos_token_id", spec.eos);
  const auto turn = std::find_if(spec.end_ids.begin(), spec.end_ids.end(), [&](int32_t id) { return id != spec.eos; });
  if (turn != spec.end_ids.end()) set_id(writer, "eot_token_id", *turn);
  writer.set("tokenizer.ggml.add_bos_token", spec.add_bos);
}

void set_metadata(GgufWriter& writer, const ModelConfig& config, const fs::path& folder, DType weights) {
  writer.set("general.architecture", std::string(config.family->architecture));
  writer.set("general.type", "model");
  writer.set("general.name", fs::weakly_canonical(folder).filename().string());
  writer.set("general.file_type", file_type(weights));
  writer.set("general.quantization_version", kQuantisationVersion);
  set_hyperparameters(writer, config);
  set_tokenizer(writer, load_tokenizer(folder).spec(), config.vocabulary);
}

}  // namespace lowkey
