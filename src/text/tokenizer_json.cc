// parse_tokenizer_json: the parts of Hugging Face's tokenizer.json that a byte-level BPE tokenizer uses, and the
// vocabulary of a WordPiece tokenizer. What would change the ids and is not known here is refused, never skipped.
#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/json.h"
#include "text/end_tokens.h"
#include "text/json_field.h"
#include "text/pretokenizer.h"
#include "text/tokenizer.h"
#include "text/wordpiece_spec.h"

namespace lowkey {
namespace {

// Fills spec->tokens; ids may come in any order and leave holes.
class Vocabulary {
 public:
  explicit Vocabulary(TokenizerSpec* spec) : spec_(spec) {}

  // To be told of `more` entries before they are placed: ids are bounded by what the file holds, so that one large id
  // cannot ask for gigabytes.
  void grow(size_t more) { most_ += static_cast<int64_t>(2 * more); }

  // `again`: the token may have been placed before, under the same id.
  int32_t place(const nlohmann::json& id, const std::string& token, const char* field, bool again) {
    auto complain = [&](std::string_view rule) {
      throw Error(
          ErrorKind::kCorruptFile,
          fmt::format("[tokenizer] {}: {} id of {}={}, {}", spec_->source, field,
                      nlohmann::json(token.substr(0, 40)).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace),
                      id.is_structured() ? id.type_name() : id.dump(), rule));
    };
    if (!id.is_number_integer()) complain("must be a whole number");
    int64_t value = id.get<int64_t>();
    if (value < 0 || value >= most_) complain(fmt::format("must be 0 <= id < {}", most_));
    size_t at = static_cast<size_t>(value);
    if (at >= spec_->tokens.size()) {
      spec_->tokens.resize(at + 1);
      taken_.resize(at + 1);
    }
    if (taken_[at] && !(again && spec_->tokens[at] == token)) complain("is the id of another token too");
    taken_[at] = true;
    spec_->tokens[at] = token;
    return static_cast<int32_t>(at);
  }

 private:
  int64_t most_ = 1024;
  TokenizerSpec* spec_;
  std::vector<bool> taken_;
};

void require_default(const JsonField& field) {
  if (!field.missing() && !(field.is_text() && field.text().empty())) field.unsupported("only null is supported");
}

void read_merges(const JsonField& model, TokenizerSpec* spec) {
  require_default(model["dropout"]);
  require_default(model["continuing_subword_prefix"]);
  require_default(model["end_of_word_suffix"]);
  if (model["byte_fallback"].boolean(false)) model["byte_fallback"].unsupported("only false is supported");
  spec->ignore_merges = model["ignore_merges"].boolean(false);

  JsonField merges = model["merges"];
  spec->merges.reserve(merges.array().size());
  for (size_t i = 0; i < merges.array().size(); ++i) {
    const nlohmann::json& merge = merges.array()[i];
    bool pair = merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string();
    if (!pair && !merge.is_string()) merges[i].corrupt("must be \"left right\" or [\"left\", \"right\"]");
    if (pair) {
      spec->merges.push_back(merge[0].get_ref<const std::string&>() + ' ' + merge[1].get_ref<const std::string&>());
    } else {
      spec->merges.push_back(merge.get<std::string>());
    }
  }
}

// Returns whether it is WordPiece.
bool read_model(const JsonField& model, Vocabulary* table, TokenizerSpec* spec) {
  const std::string type = model["type"].text("BPE");
  if (type != "BPE" && type != "WordPiece") model["type"].unsupported("only BPE and WordPiece are supported");
  const nlohmann::json& vocabulary = model["vocab"].object();
  table->grow(vocabulary.size());
  for (const auto& [token, id] : vocabulary.items()) table->place(id, token, "model.vocab", false);
  if (type == "BPE") read_merges(model, spec);
  return type == "WordPiece";
}

void read_added_tokens(const JsonField& added, Vocabulary* table, TokenizerSpec* spec) {
  table->grow(added.size());
  for (size_t i = 0; i < added.size(); ++i) {
    JsonField token = added[i];
    for (const char* flag : {"single_word", "lstrip", "rstrip"})
      if (token[flag].boolean(false)) token[flag].unsupported("only false is supported");
    const std::string& content = token["content"].text();
    auto id_field = token.object().find("id");
    if (id_field == token.object().end()) token["id"].corrupt("must be a whole number");
    int32_t id = table->place(*id_field, content, "added_tokens", true);
    (token["special"].boolean(false) ? spec->special : spec->added).push_back(id);
    if (token["normalized"].boolean(true)) spec->late.push_back(id);
  }
}

void read_normalizer(const JsonField& normalizer, TokenizerSpec* spec) {
  if (normalizer.missing()) return;
  const std::string& type = normalizer["type"].text();
  if (type == "NFC") {
    spec->nfc = true;
  } else if (type == "Sequence") {
    JsonField parts = normalizer["normalizers"];
    for (size_t i = 0; i < parts.size(); ++i) read_normalizer(parts[i], spec);
  } else {
    normalizer["type"].unsupported("only NFC is supported");
  }
}

Pretokenizer read_split(const JsonField& split) {
  if (split["type"].text() != "Split") split["type"].unsupported("only Split is supported before ByteLevel");
  if (split["behavior"].text("Isolated") != "Isolated") split["behavior"].unsupported("only Isolated is supported");
  if (split["invert"].boolean(false)) split["invert"].unsupported("only false is supported");
  JsonField regex = split["pattern"]["Regex"];
  for (Pretokenizer kind : {Pretokenizer::kGpt2, Pretokenizer::kLlama3, Pretokenizer::kQwen2})
    if (regex.text() == pretokenizer_regex(kind)) return kind;
  regex.unsupported("only the regular expressions of GPT-2, Llama-3 and Qwen2 are supported");
}

void read_pretokenizer(const JsonField& pretokenizer, TokenizerSpec* spec) {
  const std::string& type = pretokenizer["type"].text();
  bool sequence = type == "Sequence";
  if (!sequence && type != "ByteLevel") pretokenizer["type"].unsupported("only Sequence and ByteLevel are supported");
  JsonField parts = pretokenizer["pretokenizers"];
  if (sequence && parts.size() != 2 && parts.size() != 1) parts.unsupported("only [Split, ByteLevel] is supported");

  JsonField bytes = sequence ? parts[parts.size() - 1] : pretokenizer;
  if (bytes["type"].text() != "ByteLevel") bytes["type"].unsupported("only ByteLevel is supported");
  bool split = sequence && parts.size() == 2;
  if (bytes["use_regex"].boolean(true) == split)
    bytes["use_regex"].unsupported(split ? "only false is supported after Split" : "only true is supported");
  spec->pretokenizer = split ? read_split(parts[0]) : Pretokenizer::kGpt2;
  spec->add_prefix_space = bytes["add_prefix_space"].boolean(true);
  if (split && spec->add_prefix_space) bytes["add_prefix_space"].unsupported("only false is supported after Split");
}

// A template may put one token, bos, before the text.
void read_template(const JsonField& processor, TokenizerSpec* spec) {
  JsonField single = processor["single"];
  size_t n = single.size();
  bool with_bos = n == 2 && !single[0]["SpecialToken"].missing();
  if ((n != 1 && !with_bos) || single[n - 1]["Sequence"].missing())
    single.unsupported("only [SpecialToken, Sequence] is supported");
  if (!with_bos) return;
  JsonField name = single[0]["SpecialToken"]["id"];
  auto found = std::find(spec->tokens.begin(), spec->tokens.end(), name.text());
  if (found == spec->tokens.end() || name.text().empty()) name.corrupt("must be in the vocabulary");
  spec->bos = static_cast<int32_t>(found - spec->tokens.begin());
  spec->add_bos = true;
}

void read_post_processor(const JsonField& processor, TokenizerSpec* spec) {
  if (processor.missing()) return;
  const std::string& type = processor["type"].text();
  if (type == "ByteLevel") return;  // moves offsets only
  if (type == "TemplateProcessing") return read_template(processor, spec);
  if (type != "Sequence")
    processor["type"].unsupported("only ByteLevel, TemplateProcessing and Sequence are supported");
  JsonField parts = processor["processors"];
  for (size_t i = 0; i < parts.size(); ++i) read_post_processor(parts[i], spec);
}

// "bos_token": "<s>" or {"content": "<s>", ...} or null.
int32_t named_token(const JsonField& field, const TokenizerSpec& spec, int32_t otherwise) {
  if (field.missing()) return otherwise;
  JsonField name = field.is_text() ? field : field["content"];
  auto found = std::find(spec.tokens.begin(), spec.tokens.end(), name.text());
  if (found == spec.tokens.end() || name.text().empty()) name.corrupt("must be in the vocabulary");
  return static_cast<int32_t>(found - spec.tokens.begin());
}

// Around the vocabulary of byte-level BPE.
void read_rules(const JsonField& root, TokenizerSpec* spec) {
  read_normalizer(root["normalizer"], spec);
  read_pretokenizer(root["pre_tokenizer"], spec);
  read_post_processor(root["post_processor"], spec);
  JsonField decoder = root["decoder"]["type"];
  if (decoder.text() != "ByteLevel") decoder.unsupported("only ByteLevel is supported");
}

void read_config(const JsonField& config, TokenizerSpec* spec) {
  spec->bos = named_token(config["bos_token"], *spec, spec->bos);
  spec->eos = named_token(config["eos_token"], *spec, spec->eos);
  spec->add_bos = config["add_bos_token"].boolean(spec->add_bos);
  if (spec->add_bos && spec->bos == -1) config["bos_token"].corrupt("must be there when add_bos_token is true");
}

}  // namespace

TokenizerSpec parse_tokenizer_json(std::string_view json, std::string_view config_json, const std::string& source) {
  const nlohmann::json document = parse_json(json, "[tokenizer] " + source);
  const JsonField root(document, source);
  TokenizerSpec spec;
  spec.source = source;
  Vocabulary table(&spec);
  const bool wordpiece = read_model(root["model"], &table, &spec);
  read_added_tokens(root["added_tokens"], &table, &spec);
  if (wordpiece) {
    read_wordpiece(root, &spec);
  } else {
    read_rules(root, &spec);
    if (!config_json.empty()) {
      const std::string config_source = "tokenizer_config.json beside " + source;
      const nlohmann::json config = parse_json(config_json, "[tokenizer] " + config_source);
      read_config(JsonField(config, config_source), &spec);
    }
  }
  spec.end_ids = find_end_ids(spec);
  return spec;
}

}  // namespace lowkey
