#include "text/sentencepiece_json.h"

#include "text/added_tokens.h"
#include "text/base64.h"
#include "text/sentencepiece.h"

namespace lowkey {
namespace {

using Prefix = SentencePieceRules::Prefix;

// What the normaliser has done by the time spaces are looked at.
struct Normalized {
  bool prefix = false, marked = false;
};

void read_replace(const JsonField& step, SentencePieceRules* rules, Normalized* done) {
  const JsonField from = step["pattern"]["String"], many = step["pattern"]["Regex"], to = step["content"];
  const bool squeezes = !many.missing();
  if (squeezes && many.text() != " {2,}") many.unsupported("only \" {2,}\" is supported");
  if (!squeezes && from.text() != " ") from.unsupported("only \" \" is supported");
  if (to.text() != kSpaceMark && !(squeezes && to.text() == " ")) to.unsupported("only \"▁\" is supported");
  if (squeezes && done->marked) many.unsupported("must come before the Replace of \" \"");
  squeezes ? rules->squeeze = true : done->marked = true;
}

// Characters rewritten, white space taken off, spaces marked, in this order or some of it.
void read_normalizer(const JsonField& normalizer, SentencePieceRules* rules, Normalized* done) {
  if (normalizer.missing()) return;
  const std::string& type = normalizer["type"].text();
  if (type == "Sequence") {
    const JsonField parts = normalizer["normalizers"];
    for (size_t i = 0; i < parts.size(); ++i) read_normalizer(parts[i], rules, done);
  } else if (type == "Prepend") {
    if (normalizer["prepend"].text() != kSpaceMark) normalizer["prepend"].unsupported("only \"▁\" is supported");
    done->prefix = true;
  } else if (type == "Replace") {
    read_replace(normalizer, rules, done);
  } else if (type == "Precompiled") {
    const bool late = done->prefix || done->marked || rules->strip_right || rules->squeeze || rules->graphemes;
    if (late) normalizer["type"].unsupported("must come before other normalizers");
    const JsonField map = normalizer["precompiled_charsmap"];
    auto bytes = decode_base64(map.text(""));
    if (!bytes && !map.text("").empty()) map.corrupt("must be BASE64");
    rules->charsmap = std::move(bytes).value_or("");
    rules->graphemes = true;
  } else if (type == "Strip") {
    if (normalizer["strip_left"].boolean(true)) normalizer["strip_left"].unsupported("only false is supported");
    if (rules->squeeze || done->marked) normalizer["type"].unsupported("must come before Replace");
    rules->strip_right = normalizer["strip_right"].boolean(true);
  } else {
    normalizer["type"].unsupported("only Precompiled, Strip, Prepend, Replace and Sequence are supported");
  }
}

void read_metaspace(const JsonField& cutter, SentencePieceRules* rules) {
  if (cutter["replacement"].text() != kSpaceMark) cutter["replacement"].unsupported("only \"▁\" is supported");
  const JsonField scheme = cutter["prepend_scheme"];
  const bool prefix = cutter["add_prefix_space"].boolean(true);
  const std::string word = scheme.text(prefix ? "always" : "never");
  if (word != "always" && word != "first" && word != "never") scheme.unsupported("must be always, first or never");
  rules->prefix = word == "always" ? Prefix::kAlways : word == "first" ? Prefix::kFirst : Prefix::kNever;
  rules->split = cutter["split"].boolean(true);
  rules->late = true;
}

// WordPiece's words in Metaspace's spelling: T5, XLM-R.
void read_words(const JsonField& parts, SentencePieceRules* rules) {
  if (parts.size() != 2 || parts[0]["type"].text() != "WhitespaceSplit" || parts[1]["type"].text() != "Metaspace")
    parts.unsupported("only [WhitespaceSplit, Metaspace] is supported");
  read_metaspace(parts[1], rules);
  if (rules->prefix != Prefix::kAlways || !rules->split)
    parts[1].unsupported("must prepend always and split after WhitespaceSplit");
  rules->words = true;
}

// A cut at spaces cuts nothing where all spaces are marked: Gemma has one.
void require_idle(const JsonField& cutter) {
  const JsonField type = cutter["type"];
  if (type.text() != "Split" || cutter["pattern"]["String"].text() != " ")
    type.unsupported("only Metaspace, or Split at \" \" after Replace, is supported");
}

}  // namespace

bool is_sentencepiece(const JsonField& root) {
  const JsonField cutter = root["pre_tokenizer"];
  return root["model"]["type"].text("BPE") == "Unigram" || root["model"]["byte_fallback"].boolean(false) ||
         (!cutter.missing() && cutter["type"].text() == "Metaspace");
}

void read_sentencepiece(const JsonField& root, TokenizerSpec* spec) {
  const JsonField model = root["model"], cutter = root["pre_tokenizer"];
  SentencePieceRules rules = spec->sentencepiece.value_or(SentencePieceRules());
  rules.byte_fallback = model["byte_fallback"].boolean(false);
  const JsonField unknown = model["unk_token"];
  if (!unknown.missing()) rules.unknown = find_token(*spec, unknown.text());
  if (!rules.byte_fallback && !rules.unigram && !model["fuse_unk"].boolean(false))
    model["fuse_unk"].unsupported("only true is supported without byte_fallback");
  if (spec->ignore_merges) model["ignore_merges"].unsupported("only false is supported for SentencePiece");

  Normalized done;
  read_normalizer(root["normalizer"], &rules, &done);
  rules.prefix = done.prefix ? Prefix::kAlways : Prefix::kNever;
  const std::string kind = cutter.missing() ? "" : cutter["type"].text();
  if (kind == "Metaspace" || kind == "Sequence") {
    if (done.prefix || done.marked) root["normalizer"].unsupported("must not mark spaces with Metaspace");
    kind == "Sequence" ? read_words(cutter["pretokenizers"], &rules) : read_metaspace(cutter, &rules);
  } else {
    if (!done.marked) root["normalizer"].unsupported("must replace \" \" by \"▁\"");
    if (!cutter.missing()) require_idle(cutter);
  }
  spec->sentencepiece = std::move(rules);
}

}  // namespace lowkey
