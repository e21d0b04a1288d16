#include "text/sentencepiece_json.h"

#include "text/added_tokens.h"
#include "text/sentencepiece.h"

namespace lowkey {
namespace {

using Prefix = SentencePieceRules::Prefix;

// What the normaliser has done by the time spaces are looked at.
struct Normalized {
  bool prefix = false, marked = false;
};

// Prepend "▁" and Replace " " by "▁", or one of them.
void read_normalizer(const JsonField& normalizer, Normalized* done) {
  if (normalizer.missing()) return;
  const std::string& type = normalizer["type"].text();
  if (type == "Sequence") {
    const JsonField parts = normalizer["normalizers"];
    for (size_t i = 0; i < parts.size(); ++i) read_normalizer(parts[i], done);
  } else if (type == "Prepend") {
    if (normalizer["prepend"].text() != kSpaceMark) normalizer["prepend"].unsupported("only \"▁\" is supported");
    done->prefix = true;
  } else if (type == "Replace") {
    const JsonField from = normalizer["pattern"]["String"], to = normalizer["content"];
    if (from.text() != " ") from.unsupported("only \" \" is supported");
    if (to.text() != kSpaceMark) to.unsupported("only \"▁\" is supported");
    done->marked = true;
  } else {
    normalizer["type"].unsupported("only Prepend, Replace and Sequence are supported");
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

// A cut at spaces cuts nothing where all spaces are marked: Gemma has one.
void require_idle(const JsonField& cutter) {
  const JsonField type = cutter["type"];
  if (type.text() != "Split" || cutter["pattern"]["String"].text() != " ")
    type.unsupported("only Metaspace, or Split at \" \" after Replace, is supported");
}

}  // namespace

bool is_sentencepiece(const JsonField& root) {
  const JsonField cutter = root["pre_tokenizer"];
  return root["model"]["byte_fallback"].boolean(false) || (!cutter.missing() && cutter["type"].text() == "Metaspace");
}

void read_sentencepiece(const JsonField& root, TokenizerSpec* spec) {
  const JsonField model = root["model"], cutter = root["pre_tokenizer"];
  SentencePieceRules rules;
  rules.byte_fallback = model["byte_fallback"].boolean(false);
  const JsonField unknown = model["unk_token"];
  if (!unknown.missing()) rules.unknown = find_token(*spec, unknown.text());
  if (!rules.byte_fallback && !model["fuse_unk"].boolean(false))
    model["fuse_unk"].unsupported("only true is supported without byte_fallback");
  if (spec->ignore_merges) model["ignore_merges"].unsupported("only false is supported for SentencePiece");

  Normalized done;
  read_normalizer(root["normalizer"], &done);
  rules.prefix = done.prefix ? Prefix::kAlways : Prefix::kNever;
  if (!cutter.missing() && cutter["type"].text() == "Metaspace") {
    if (done.prefix || done.marked) root["normalizer"].unsupported("must be null with Metaspace");
    read_metaspace(cutter, &rules);
  } else {
    if (!done.marked) root["normalizer"].unsupported("must replace \" \" by \"▁\"");
    if (!cutter.missing()) require_idle(cutter);
  }
  spec->sentencepiece = std::move(rules);
}

}  // namespace lowkey
