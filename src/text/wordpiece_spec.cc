#include "text/wordpiece_spec.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "base/json.h"
#include "text/end_tokens.h"

namespace lowkey {
namespace {

// -1 when there is none.
int32_t id_of(const std::vector<std::string>& tokens, std::string_view token) {
  const auto found = std::find(tokens.begin(), tokens.end(), token);
  return found == tokens.end() || token.empty() ? -1 : static_cast<int32_t>(found - tokens.begin());
}

int32_t required_id(const JsonField& name, const TokenizerSpec& spec) {
  const int32_t id = id_of(spec.tokens, name.text());
  if (id == -1) name.corrupt("must be in the vocabulary");
  return id;
}

void read_normalizer(const JsonField& normalizer, WordPieceRules* rules) {
  if (normalizer.missing()) {
    rules->clean = rules->chinese = rules->accents = rules->lowercase = false;
    return;
  }
  if (normalizer["type"].text() != "BertNormalizer") normalizer["type"].unsupported("must be BertNormalizer");
  rules->clean = normalizer["clean_text"].boolean(true);
  rules->chinese = normalizer["handle_chinese_chars"].boolean(true);
  rules->lowercase = normalizer["lowercase"].boolean(true);
  rules->accents = normalizer["strip_accents"].boolean(rules->lowercase);
}

void surround(int32_t first, int32_t last, TokenizerSpec* spec) {
  spec->bos = first, spec->eos = last;
  spec->add_bos = spec->add_eos = true;
}

// [CLS] text [SEP], said in one of two ways, or nothing.
void read_post_processor(const JsonField& processor, TokenizerSpec* spec) {
  if (processor.missing()) return;
  const std::string& type = processor["type"].text();
  if (type == "BertProcessing") {
    const JsonField first = processor["cls"], last = processor["sep"];
    if (first.size() != 2 || last.size() != 2) processor.corrupt("must have cls and sep of two values");
    return surround(required_id(first[0], *spec), required_id(last[0], *spec), spec);
  }
  if (type != "TemplateProcessing") processor["type"].unsupported("must be TemplateProcessing or BertProcessing");
  const JsonField single = processor["single"];
  const auto special = [&](size_t i) { return single[i]["SpecialToken"]["id"]; };
  if (single.size() != 3 || single[1]["Sequence"].missing() || special(0).missing() || special(2).missing())
    single.unsupported("must be [SpecialToken, Sequence, SpecialToken]");
  surround(required_id(special(0), *spec), required_id(special(2), *spec), spec);
}

}  // namespace

void read_wordpiece(const JsonField& root, TokenizerSpec* spec) {
  const JsonField model = root["model"];
  WordPieceRules rules;
  rules.prefix = model["continuing_subword_prefix"].text("##");
  rules.most_symbols = model["max_input_chars_per_word"].integer(100);
  rules.unknown = required_id(model["unk_token"], *spec);
  read_normalizer(root["normalizer"], &rules);
  const JsonField cutter = root["pre_tokenizer"]["type"];
  if (cutter.text() != "BertPreTokenizer") cutter.unsupported("must be BertPreTokenizer");
  read_post_processor(root["post_processor"], spec);
  const JsonField decoder = root["decoder"]["type"];
  if (decoder.text("WordPiece") != "WordPiece") decoder.unsupported("must be WordPiece");
  spec->wordpiece = std::move(rules);
}

TokenizerSpec parse_wordpiece_vocabulary(std::string_view text, std::string_view config_json,
                                         const std::string& source) {
  TokenizerSpec spec;
  spec.source = source;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    const size_t last = line.find_last_not_of(" \t\r");
    spec.tokens.emplace_back(line.substr(0, last == line.npos ? 0 : last + 1));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  const std::string config_source = "tokenizer_config.json beside " + source;
  const nlohmann::json document =
      config_json.empty() ? nlohmann::json::object() : parse_json(config_json, "[tokenizer] " + config_source);
  const JsonField config(document, config_source);
  // A name in the config is "[CLS]" or {"content": "[CLS]", ...}.
  const auto find = [&](const char* key, const std::string& otherwise) {
    const JsonField field = config[key].missing() || config[key].is_text() ? config[key] : config[key]["content"];
    const int32_t id = id_of(spec.tokens, field.text(otherwise));
    if (id != -1) spec.special.push_back(id);
    return id;
  };
  WordPieceRules rules;
  rules.lowercase = config["do_lower_case"].boolean(true);
  rules.accents = config["strip_accents"].boolean(rules.lowercase);
  rules.chinese = config["tokenize_chinese_chars"].boolean(true);
  rules.unknown = find("unk_token", "[UNK]");
  const int32_t first = find("cls_token", "[CLS]"), last = find("sep_token", "[SEP]");
  find("pad_token", "[PAD]"), find("mask_token", "[MASK]");
  LK_REQUIRE(rules.unknown != -1 && first != -1 && last != -1, kCorruptFile,
             "[tokenizer] {}: lines for [UNK]={}, [CLS]={}, [SEP]={} (-1: none), must have all three", source,
             rules.unknown, first, last);
  surround(first, last, &spec);
  spec.wordpiece = std::move(rules);
  spec.end_ids = find_end_ids(spec);
  return spec;
}

}  // namespace lowkey
