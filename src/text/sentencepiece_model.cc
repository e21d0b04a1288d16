#include "text/sentencepiece_model.h"

#include <algorithm>

#include "base/json.h"
#include "text/added_tokens.h"
#include "text/end_tokens.h"
#include "text/json_field.h"
#include "text/protobuf_reader.h"
#include "text/sentencepiece.h"

namespace lowkey {
namespace {

using Field = ProtobufReader::Field;

// SentencePiece's kinds of pieces.
enum Kind : uint64_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };
constexpr uint64_t kUnigramModel = 1, kBpeModel = 2;

// What the trainer and the normaliser say, with SentencePiece's defaults.
struct Settings {
  uint64_t model_type = 1;
  uint64_t unknown = 0, bos = 1, eos = 2;
  bool byte_fallback = false, space_after = false;
  bool space_before = true, strip_spaces = true, mark_spaces = true;
  std::string_view charsmap;
};

void read_piece(std::string_view bytes, TokenizerSpec* spec) {
  ProtobufReader reader(bytes, spec->source);
  std::string piece;
  float score = 0;
  uint64_t kind = kNormal;
  for (Field field; reader.next(&field);) {
    if (field.number == 1) piece = field.bytes;
    if (field.number == 2) score = field.real();
    if (field.number == 3) kind = field.value;
  }
  const auto id = static_cast<int32_t>(spec->tokens.size());
  LK_REQUIRE(kind >= kNormal && kind <= kByte, kCorruptFile,
             "[tokenizer] {}: the kind of piece {} is {}, must be 1 to 6", spec->source, id, kind);
  LK_REQUIRE(kind != kUnused, kUnsupported, "[tokenizer] {}: piece {} is marked as unused, must be none", spec->source,
             id);
  if (kind == kControl || kind == kUnknown) spec->special.push_back(id);
  if (kind == kUserDefined) spec->added.push_back(id), spec->late.push_back(id);
  spec->tokens.push_back(std::move(piece));
  spec->sentencepiece->scores.push_back(score);
}

void read_trainer(std::string_view bytes, const std::string& source, Settings* settings) {
  ProtobufReader reader(bytes, source);
  for (Field field; reader.next(&field);) {
    if (field.number == 3) settings->model_type = field.value;
    if (field.number == 24) settings->space_after = field.value != 0;
    if (field.number == 35) settings->byte_fallback = field.value != 0;
    if (field.number == 40) settings->unknown = field.value;
    if (field.number == 41) settings->bos = field.value;
    if (field.number == 42) settings->eos = field.value;
  }
}

void read_normalizer(std::string_view bytes, const std::string& source, Settings* settings) {
  ProtobufReader reader(bytes, source);
  for (Field field; reader.next(&field);) {
    if (field.number == 2) settings->charsmap = field.bytes;
    if (field.number == 3) settings->space_before = field.value != 0;
    if (field.number == 4) settings->strip_spaces = field.value != 0;
    if (field.number == 5) settings->mark_spaces = field.value != 0;
  }
}

void apply(const Settings& s, TokenizerSpec* spec) {
  const auto require = [&](bool holds, std::string_view what) {
    LK_REQUIRE(holds, kUnsupported, "[tokenizer] {}: a SentencePiece model {}", spec->source, what);
  };
  require(s.model_type == kUnigramModel || s.model_type == kBpeModel,
          fmt::format("of type {}, must be 1 (unigram) or 2 (BPE)", s.model_type));
  require(!s.space_after, "with spaces after words (treat_whitespace_as_suffix), must have them before");
  require(s.mark_spaces, "without escape_whitespaces, must have it");
  const auto id = [&](uint64_t value) { return value < spec->tokens.size() ? static_cast<int32_t>(value) : -1; };
  spec->bos = id(s.bos), spec->eos = id(s.eos);
  SentencePieceRules& rules = *spec->sentencepiece;
  rules.unknown = id(s.unknown);
  rules.unigram = rules.narrow = s.model_type == kUnigramModel;
  rules.byte_fallback = s.byte_fallback;
  rules.charsmap = s.charsmap;
  rules.late_as_written = true;
  rules.strip_spaces = s.strip_spaces;
  rules.prefix = s.space_before ? SentencePieceRules::Prefix::kAlways : SentencePieceRules::Prefix::kNever;
  spec->add_bos = spec->bos != -1;
}

void read_config(const JsonField& config, TokenizerSpec* spec) {
  using Prefix = SentencePieceRules::Prefix;
  read_added_decoder(config["added_tokens_decoder"], spec);
  Prefix& prefix = spec->sentencepiece->prefix;
  if (!config["add_prefix_space"].boolean(true)) prefix = Prefix::kNever;
  if (!config["legacy"].boolean(true) && prefix == Prefix::kAlways) prefix = Prefix::kFirst;
  read_bos_and_eos(config, spec);
}

}  // namespace

TokenizerSpec parse_sentencepiece(std::string_view bytes, std::string_view config_json, const std::string& source) {
  TokenizerSpec spec;
  spec.source = source;
  spec.sentencepiece.emplace();
  Settings settings;
  ProtobufReader reader(bytes, source);
  for (Field field; reader.next(&field);) {
    if (field.number == 1) read_piece(field.bytes, &spec);
    if (field.number == 2) read_trainer(field.bytes, source, &settings);
    if (field.number == 3) read_normalizer(field.bytes, source, &settings);
  }
  apply(settings, &spec);
  if (!config_json.empty()) {
    const std::string config_source = "tokenizer_config.json beside " + source;
    const nlohmann::json config = parse_json(config_json, "[tokenizer] " + config_source);
    read_config(JsonField(config, config_source), &spec);
  }
  spec.end_ids = find_end_ids(spec);
  return spec;
}

}  // namespace lowkey
