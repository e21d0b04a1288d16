#include "text/gguf_spec.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/printable.h"
#include "text/end_tokens.h"
#include "text/pretokenizer_names.h"
#include "text/sentencepiece.h"

namespace lowkey {
namespace {

// Values of token_type that change how a token is matched.
constexpr int64_t kControl = 3, kUserDefined = 4, kByte = 6, kLargestType = 6;

const NamedPretokenizer& find_pre(const GgufTokenizerFields& fields) {
  const std::string_view name = fields.pre.empty() ? "default" : std::string_view(fields.pre);
  std::string names;
  for (const NamedPretokenizer& known : named_pretokenizers()) {
    if (known.name == name) return known;
    names.append(names.empty() ? "" : ", ").append(known.name);
  }
  throw Error(ErrorKind::kUnsupported, fmt::format("[tokenizer] {}: tokenizer.ggml.pre={}, must be one of {}",
                                                   fields.source, printable(name), names));
}

int32_t checked_id(const GgufTokenizerFields& fields, const char* field, int64_t id) {
  LK_REQUIRE(id >= -1 && id < std::ssize(fields.tokens), kCorruptFile,
             "[tokenizer] {}: tokenizer.ggml.{}_token_id={}, must be 0 <= id < {}", fields.source, field, id,
             fields.tokens.size());
  return static_cast<int32_t>(id);
}

void read_types(const GgufTokenizerFields& fields, TokenizerSpec* spec) {
  const auto& types = fields.token_type;
  LK_REQUIRE(types.empty() || types.size() == fields.tokens.size(), kCorruptFile,
             "[tokenizer] {}: {} values of tokenizer.ggml.token_type, must be {}, one for each token", fields.source,
             types.size(), fields.tokens.size());
  for (size_t id = 0; id < types.size(); ++id) {
    LK_REQUIRE(types[id] >= 0 && types[id] <= kLargestType, kCorruptFile,
               "[tokenizer] {}: tokenizer.ggml.token_type[{}]={}, must be 0 to {}", fields.source, id, types[id],
               kLargestType);
    if (types[id] == kControl) spec->special.push_back(static_cast<int32_t>(id));
    if (types[id] == kUserDefined) spec->added.push_back(static_cast<int32_t>(id));
  }
}

void make_bytelevel(GgufTokenizerFields& fields, TokenizerSpec* spec) {
  const NamedPretokenizer& pre = find_pre(fields);
  spec->pretokenizer = pre.kind;
  spec->splits.assign(pre.splits.begin(), pre.splits.end());
  spec->ignore_merges = pre.ignore_merges;
  spec->nfc = pre.nfc;
  spec->add_prefix_space = fields.add_space_prefix.value_or(false);
  spec->add_bos = fields.add_bos.value_or(pre.add_bos && spec->bos != -1);
  spec->add_eos = fields.add_eos.value_or(false);
  spec->merges = std::move(fields.merges);
}

// In files of Phi-3 nothing but the name says that its tokens swallow the white space after them.
void read_phi3(const GgufTokenizerFields& fields, TokenizerSpec* spec) {
  std::string name = fields.name;
  std::transform(name.begin(), name.end(), name.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; });
  if (name.find("phi-3") == name.npos && name.find("phi3") == name.npos) return;
  constexpr std::array<std::string_view, 3> kPlain = {"<unk>", "<s>", "<|endoftext|>"};
  for (const auto* ids : {&spec->special, &spec->added})
    for (int32_t id : *ids)
      if (std::find(kPlain.begin(), kPlain.end(), spec->tokens[id]) == kPlain.end()) spec->takes_right.push_back(id);
}

void make_sentencepiece(const GgufTokenizerFields& fields, TokenizerSpec* spec) {
  SentencePieceRules rules;
  rules.scores.assign(fields.scores.begin(), fields.scores.end());
  rules.unknown = checked_id(fields, "unknown", fields.unknown);
  const bool space = fields.add_space_prefix.value_or(true);
  rules.prefix = space ? SentencePieceRules::Prefix::kAlways : SentencePieceRules::Prefix::kNever;
  spec->sentencepiece = std::move(rules);
  spec->add_bos = fields.add_bos.value_or(spec->bos != -1);
  spec->add_eos = fields.add_eos.value_or(false);
  read_phi3(fields, spec);
}

// Files do not say whether there is byte fallback; llama.cpp adds eos where none is said.
void make_unigram(GgufTokenizerFields& fields, TokenizerSpec* spec) {
  SentencePieceRules rules;
  rules.unigram = true;
  rules.scores.assign(fields.scores.begin(), fields.scores.end());
  rules.unknown = checked_id(fields, "unknown", fields.unknown == -1 ? 2 : fields.unknown);  // T5's, as llama.cpp
  if (spec->eos == -1) spec->eos = checked_id(fields, "eos", 1);
  rules.byte_fallback = std::count(fields.token_type.begin(), fields.token_type.end(), kByte) > 0;
  const bool space = fields.add_space_prefix.value_or(true);
  rules.prefix = space ? SentencePieceRules::Prefix::kAlways : SentencePieceRules::Prefix::kNever;
  rules.strip_spaces = fields.remove_extra_whitespaces;
  rules.charsmap = std::move(fields.precompiled_charsmap);
  spec->sentencepiece = std::move(rules);
  spec->add_bos = fields.add_bos.value_or(false);
  spec->add_eos = fields.add_eos.value_or(spec->eos != -1);
}

// In these files pieces that begin a word have the mark of a space, where BERT marks those that do not.
void make_wordpiece(const GgufTokenizerFields& fields, TokenizerSpec* spec) {
  WordPieceRules rules;
  rules.unknown = checked_id(fields, "unknown", fields.unknown);
  LK_REQUIRE(rules.unknown != -1, kCorruptFile, "[tokenizer] {}: no tokenizer.ggml.unknown_token_id, must be there",
             fields.source);
  std::vector<bool> control(spec->tokens.size());
  for (int32_t id : spec->special) control[id] = true;
  for (size_t id = 0; id < spec->tokens.size(); ++id) {
    std::string& token = spec->tokens[id];
    if (token.starts_with(kSpaceMark)) {
      token.erase(0, kSpaceMark.size());
    } else if (!control[id]) {
      token.insert(0, rules.prefix);
    }
  }
  spec->bos = checked_id(fields, "cls", fields.cls == -1 ? fields.bos : fields.cls);
  spec->eos = checked_id(fields, "seperator", fields.separator == -1 ? fields.eos : fields.separator);
  spec->add_bos = fields.add_bos.value_or(spec->bos != -1);
  spec->add_eos = fields.add_eos.value_or(spec->eos != -1);
  spec->wordpiece = std::move(rules);
}

}  // namespace

bool is_known_tokenizer(std::string_view model) noexcept {
  return model == "gpt2" || model == "llama" || model == "t5" || model == "bert";
}

TokenizerSpec make_gguf_spec(GgufTokenizerFields fields) {
  LK_REQUIRE(is_known_tokenizer(fields.model), kUnsupported,
             "[tokenizer] {}: tokenizer.ggml.model={}, must be gpt2 (byte-level BPE), llama (SentencePiece), t5 (its "
             "unigram kind) or bert (WordPiece)",
             fields.source, printable(fields.model));
  LK_REQUIRE(!fields.tokens.empty() && fields.tokens.size() < INT32_MAX, kCorruptFile,
             "[tokenizer] {}: {} values of tokenizer.ggml.tokens, must be 1 to 2^31 - 2", fields.source,
             fields.tokens.size());
  TokenizerSpec spec;
  spec.source = fields.source;
  read_types(fields, &spec);
  spec.bos = checked_id(fields, "bos", fields.bos);
  spec.eos = checked_id(fields, "eos", fields.eos);
  for (auto [field, id] : {std::pair{"eot", fields.eot}, std::pair{"eom", fields.eom}})
    if (int32_t end = checked_id(fields, field, id); end != -1) spec.end_ids.push_back(end);
  spec.tokens = fields.tokens;
  if (fields.model == "gpt2") make_bytelevel(fields, &spec);
  if (fields.model == "llama") make_sentencepiece(fields, &spec);
  if (fields.model == "t5") make_unigram(fields, &spec);
  if (fields.model == "bert") make_wordpiece(fields, &spec);
  spec.chat_template = std::move(fields.chat_template);
  spec.end_ids = find_end_ids(spec);
  return spec;
}

}  // namespace lowkey
