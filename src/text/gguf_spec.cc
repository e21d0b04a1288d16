#include "text/gguf_spec.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/printable.h"
#include "text/end_tokens.h"

namespace lowkey {
namespace {

// Values of token_type that change how a token is matched.
constexpr int64_t kControl = 3, kUserDefined = 4, kLargestType = 6;

struct KnownPre {
  std::string_view name;
  Pretokenizer pretokenizer;
  bool ignore_merges;
};

// Names that llama.cpp's converter writes for the three pre-tokenizers known here.
constexpr std::array<KnownPre, 18> kKnown = {{
    {"gpt-2", Pretokenizer::kGpt2, false},
    {"default", Pretokenizer::kGpt2, false},
    {"phi-2", Pretokenizer::kGpt2, false},
    {"jina-es", Pretokenizer::kGpt2, false},
    {"jina-de", Pretokenizer::kGpt2, false},
    {"gigachat", Pretokenizer::kGpt2, false},
    {"mellum", Pretokenizer::kGpt2, false},
    {"modern-bert", Pretokenizer::kGpt2, false},
    {"llama-bpe", Pretokenizer::kLlama3, true},
    {"llama3", Pretokenizer::kLlama3, true},
    {"llama-v3", Pretokenizer::kLlama3, true},
    {"falcon3", Pretokenizer::kLlama3, true},
    {"falcon-h1", Pretokenizer::kLlama3, true},
    {"pixtral", Pretokenizer::kLlama3, true},
    {"lfm2", Pretokenizer::kLlama3, true},
    {"smaug-bpe", Pretokenizer::kLlama3, false},
    {"qwen2", Pretokenizer::kQwen2, false},
    {"deepseek-r1-qwen", Pretokenizer::kQwen2, false},
}};

const KnownPre& find_pre(const GgufTokenizerFields& fields) {
  std::string_view name = fields.pre.empty() ? "default" : std::string_view(fields.pre);
  auto found = std::find_if(kKnown.begin(), kKnown.end(), [&](const KnownPre& known) { return known.name == name; });
  if (found != kKnown.end()) return *found;
  std::string names;
  for (const KnownPre& known : kKnown) names.append(names.empty() ? "" : ", ").append(known.name);
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

}  // namespace

TokenizerSpec make_gguf_spec(GgufTokenizerFields fields) {
  LK_REQUIRE(fields.model == "gpt2", kUnsupported,
             "[tokenizer] {}: tokenizer.ggml.model={}, must be gpt2 (byte-level BPE)", fields.source,
             printable(fields.model));
  LK_REQUIRE(!fields.tokens.empty() && fields.tokens.size() < INT32_MAX, kCorruptFile,
             "[tokenizer] {}: {} values of tokenizer.ggml.tokens, must be 1 to 2^31 - 2", fields.source,
             fields.tokens.size());
  const KnownPre& pre = find_pre(fields);
  TokenizerSpec spec;
  spec.source = fields.source;
  spec.pretokenizer = pre.pretokenizer;
  spec.ignore_merges = pre.ignore_merges;
  spec.nfc = pre.pretokenizer == Pretokenizer::kQwen2;
  spec.add_prefix_space = fields.add_space_prefix;
  read_types(fields, &spec);
  spec.bos = checked_id(fields, "bos", fields.bos);
  spec.eos = checked_id(fields, "eos", fields.eos);
  spec.add_bos = fields.add_bos.value_or(pre.pretokenizer == Pretokenizer::kLlama3 && spec.bos != -1);
  for (auto [field, id] : {std::pair{"eot", fields.eot}, std::pair{"eom", fields.eom}})
    if (int32_t end = checked_id(fields, field, id); end != -1) spec.end_ids.push_back(end);
  spec.tokens = std::move(fields.tokens);
  spec.merges = std::move(fields.merges);
  spec.end_ids = find_end_ids(spec);
  return spec;
}

}  // namespace lowkey
