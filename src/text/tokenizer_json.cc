// parse_tokenizer_json: the parts of Hugging Face's tokenizer.json that a byte-level BPE tokenizer uses, and the
// vocabulary of other kinds. What would change the ids and is not known here is refused, never skipped.
#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/json.h"
#include "text/added_tokens.h"
#include "text/end_tokens.h"
#include "text/json_field.h"
#include "text/pretokenizer.h"
#include "text/sentencepiece_json.h"
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

// A vocabulary with scores: [["<unk>", 0.0], ["▁the", -3.2], ...], by id.
void read_unigram(const JsonField& model, Vocabulary* table, TokenizerSpec* spec) {
  const JsonField vocabulary = model["vocab"];
  spec->sentencepiece.emplace().unigram = true;
  table->grow(vocabulary.array().size());
  for (size_t i = 0; i < vocabulary.size(); ++i) {
    const nlohmann::json& entry = vocabulary.array()[i];
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number())
      vocabulary[i].corrupt("must be [\"piece\", score]");
    table->place(i, entry[0].get_ref<const std::string&>(), "model.vocab", false);
    spec->sentencepiece->scores.push_back(entry[1].get<double>());
  }
  const int64_t unknown = model["unk_id"].integer(-1);
  if (unknown < -1 || unknown >= std::ssize(spec->tokens)) model["unk_id"].corrupt("must be an id of the vocabulary");
  spec->sentencepiece->unknown = static_cast<int32_t>(unknown);
}

// Returns whether it is WordPiece.
bool read_model(const JsonField& model, Vocabulary* table, TokenizerSpec* spec) {
  const std::string type = model["type"].text("BPE");
  if (type == "Unigram") return read_unigram(model, table, spec), false;
  if (type != "BPE" && type != "WordPiece") model["type"].unsupported("only BPE, Unigram and WordPiece are supported");
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
    const std::string& content = token["content"].text();
    auto id_field = token.object().find("id");
    if (id_field == token.object().end()) token["id"].corrupt("must be a whole number");
    int32_t id = table->place(*id_field, content, "added_tokens", true);
    read_flags(token, id, spec);
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

// The regular expression of one step of a pre-tokenizer that is not ByteLevel.
std::string read_step(const JsonField& step) {
  const std::string& type = step["type"].text();
  if (type == "Digits") return step["individual_digits"].boolean(false) ? "\\p{N}" : "\\p{N}+";
  if (type == "Punctuation") {
    const JsonField behavior = step["behavior"];
    const std::string word = behavior.text("Isolated");
    if (word != "Isolated" && word != "Contiguous") behavior.unsupported("only Isolated and Contiguous are supported");
    return word == "Contiguous" ? "\\p{Punctuation}+" : "\\p{Punctuation}";
  }
  if (type != "Split") step["type"].unsupported("only Split, Digits and Punctuation are supported before ByteLevel");
  // The expressions that invert and remove go with cover every text, so nothing is removed.
  const bool inverted = step["invert"].boolean(false), removed = step["behavior"].text("Isolated") == "Removed";
  if (inverted != removed) step["invert"].unsupported("only true with Removed and false without are supported");
  if (!removed && step["behavior"].text("Isolated") != "Isolated")
    step["behavior"].unsupported("only Isolated is supported");
  const JsonField regex = step["pattern"]["Regex"];
  if (removed && !regex.text().ends_with("\\s+"))
    regex.unsupported("must end in \\s+ where what is between is removed");
  try {
    static_cast<void>(Regex(regex.text()));
  } catch (const Error& error) {
    regex.unsupported(error.what());
  }
  return regex.text();
}

void read_pretokenizer(const JsonField& pretokenizer, TokenizerSpec* spec) {
  const bool sequence = pretokenizer["type"].text() == "Sequence";
  const JsonField parts = pretokenizer["pretokenizers"];
  const size_t steps = sequence ? parts.size() : 1;
  bool bytes = false;
  for (size_t i = 0; i < steps; ++i) {
    const JsonField part = sequence ? parts[i] : pretokenizer;
    if (part["type"].text() != "ByteLevel") {
      // These see ByteLevel's alphabet, in which some bytes are letters and numbers; of ASCII's digits it is the same.
      const bool same = part["pattern"]["Regex"].text("") == "[0-9][0-9][0-9]";
      if (bytes && !same) part["type"].unsupported("after ByteLevel only a Split at [0-9][0-9][0-9] is supported");
      spec->splits.push_back(read_step(part));
      continue;
    }
    bytes = true;
    const bool prefix = part["add_prefix_space"].boolean(true);
    if (prefix && i > 0) part["add_prefix_space"].unsupported("only false is supported after others");
    spec->add_prefix_space = spec->add_prefix_space || prefix;
    if (part["use_regex"].boolean(true)) spec->splits.emplace_back(pretokenizer_regex(Pretokenizer::kGpt2));
  }
  if (!bytes) pretokenizer["type"].unsupported("only with ByteLevel is it supported");
  spec->pretokenizer = Pretokenizer::kSplits;
  for (Pretokenizer kind : {Pretokenizer::kGpt2, Pretokenizer::kLlama3, Pretokenizer::kQwen2})
    if (spec->splits.size() == 1 && spec->splits[0] == pretokenizer_regex(kind)) spec->pretokenizer = kind;
  if (spec->pretokenizer != Pretokenizer::kSplits) spec->splits.clear();
}

// A template may put one token, bos, before the text and one, eos, after it.
void read_template(const JsonField& processor, TokenizerSpec* spec) {
  const JsonField single = processor["single"];
  const size_t n = single.size();
  size_t text = 0;
  while (text < n && single[text]["Sequence"].missing()) ++text;
  if (text > 1 || n < text + 1 || n > text + 2) single.unsupported("only [bos, Sequence, eos] is supported");
  const auto token = [&](size_t i) {
    const JsonField name = single[i]["SpecialToken"]["id"];
    const int32_t id = find_token(*spec, name.text());
    if (id == -1) name.corrupt("must be in the vocabulary");
    return id;
  };
  if (text == 1) spec->bos = token(0), spec->add_bos = true;
  if (n == text + 2) spec->eos = token(text + 1), spec->add_eos = true;
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

// Around the vocabulary of BPE.
void read_rules(const JsonField& root, TokenizerSpec* spec) {
  read_post_processor(root["post_processor"], spec);
  if (is_sentencepiece(root)) return read_sentencepiece(root, spec);
  read_normalizer(root["normalizer"], spec);
  read_pretokenizer(root["pre_tokenizer"], spec);
  JsonField decoder = root["decoder"]["type"];
  if (decoder.text() != "ByteLevel") decoder.unsupported("only ByteLevel is supported");
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
  if (spec.sentencepiece) spec.sentencepiece->scores.resize(spec.tokens.size());  // added ones are never pieces
  if (wordpiece) {
    read_wordpiece(root, &spec);
  } else {
    read_rules(root, &spec);
    if (!config_json.empty()) {
      const std::string config_source = "tokenizer_config.json beside " + source;
      const nlohmann::json config = parse_json(config_json, "[tokenizer] " + config_source);
      read_bos_and_eos(JsonField(config, config_source), &spec);
    }
  }
  spec.end_ids = find_end_ids(spec);
  return spec;
}

}  // namespace lowkey
