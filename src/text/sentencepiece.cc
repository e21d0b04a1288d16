#include "text/sentencepiece.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>

#include "base/error.h"
#include "text/char_class.h"
#include "text/utf8.h"

namespace lowkey {
namespace {

using IdByText = std::unordered_map<std::string_view, int32_t>;

std::string byte_token(int byte) { return fmt::format("<0x{:02X}>", byte); }

std::optional<char> byte_of(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
  const auto digit = [](char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1; };
  const int high = digit(token[3]), low = digit(token[4]);
  if (high < 0 || low < 0) return std::nullopt;
  return static_cast<char>(high << 4 | low);
}

// Pieces that symbols can join into: not those matched whole, nor bytes, nor the name of what has no piece.
IdByText index_pieces(const TokenizerSpec& spec) {
  std::vector<bool> apart(spec.tokens.size());
  for (const auto* ids : {&spec.special, &spec.added})
    for (int32_t id : *ids) apart[id] = true;
  const SentencePieceRules& rules = *spec.sentencepiece;
  if (rules.unigram && rules.unknown >= 0 && rules.unknown < std::ssize(apart)) apart[rules.unknown] = true;
  IdByText pieces;
  pieces.reserve(spec.tokens.size());
  for (size_t id = 0; id < spec.tokens.size(); ++id) {
    const std::string& token = spec.tokens[id];
    if (token.empty() || apart[id] || (rules.byte_fallback && byte_of(token))) continue;
    pieces.emplace(token, static_cast<int32_t>(id));
  }
  return pieces;
}

// Any two neighbours that are a piece together may join, the piece of the highest score first: so every cut of a piece
// into two is a merge. Pieces of one score have one rank, for of those the leftmost comes first.
std::vector<Bpe::Merge> derive_merges(const IdByText& pieces, const std::vector<double>& scores) {
  std::vector<double> ranked = scores;
  std::sort(ranked.begin(), ranked.end(), std::greater<>());
  ranked.erase(std::unique(ranked.begin(), ranked.end()), ranked.end());
  std::vector<Bpe::Merge> merges;
  for (const auto& [piece, id] : pieces) {
    const auto rank = std::lower_bound(ranked.begin(), ranked.end(), scores[id], std::greater<>()) - ranked.begin();
    for (size_t at = utf8_at(piece, 0).size; at < piece.size(); at += utf8_at(piece, at).size) {
      const auto left = pieces.find(piece.substr(0, at)), right = pieces.find(piece.substr(at));
      if (left != pieces.end() && right != pieces.end())
        merges.push_back({left->second, right->second, id, static_cast<uint32_t>(rank)});
    }
  }
  return merges;
}

void check_scores(const TokenizerSpec& spec) {
  const auto& scores = spec.sentencepiece->scores;
  LK_REQUIRE(scores.size() == spec.tokens.size(), kInvalidArgument,
             "[tokenizer] {}: {} scores, must be {}, one for each token", spec.source, scores.size(),
             spec.tokens.size());
  const auto bad = std::find_if(scores.begin(), scores.end(), [](double score) { return !std::isfinite(score); });
  LK_REQUIRE(bad == scores.end(), kInvalidArgument, "[tokenizer] {}: the score of token {} is {}, must be finite",
             spec.source, bad - scores.begin(), *bad);
}

std::string strip_spaces(std::string_view text) {
  std::string stripped;
  for (char byte : text)
    if (byte != ' ' || (!stripped.empty() && stripped.back() != ' ')) stripped.push_back(byte);
  if (stripped.ends_with(' ')) stripped.pop_back();
  return stripped;
}

void strip_right(std::string* text) {
  size_t end = 0;  // of the last symbol that is no space
  for (size_t at = 0; at < text->size();) {
    const Utf8Symbol symbol = utf8_at(*text, at);
    at += symbol.size;
    if (symbol.value == kInvalidSymbol || !is_space(symbol.value)) end = at;
  }
  text->resize(end);
}

// A mark before each word that has none, and nothing else between words.
std::string mark_words(std::string_view text) {
  std::string marked;
  bool within = false;
  for (size_t at = 0; at < text.size();) {
    const Utf8Symbol symbol = utf8_at(text, at);
    const bool space = symbol.value != kInvalidSymbol && is_space(symbol.value);
    if (!space && !within && !text.substr(at).starts_with(kSpaceMark)) marked.append(kSpaceMark);
    if (!space) marked.append(text.substr(at, symbol.size));
    within = !space;
    at += symbol.size;
  }
  return marked;
}

}  // namespace

SentencePiece::SentencePiece(const TokenizerSpec& spec, std::vector<Bpe::Merge> merges)
    : rules_(*spec.sentencepiece), charsmap_(rules_.charsmap, spec.source) {
  const IdByText pieces = index_pieces(spec);
  if (rules_.unigram || (merges.empty() && !rules_.scores.empty())) check_scores(spec);
  if (rules_.unigram) {
    unigram_ = Unigram(Unigram::Pieces(pieces.begin(), pieces.end()), rules_.scores, rules_.narrow);
  } else {
    if (merges.empty() && !rules_.scores.empty()) merges = derive_merges(pieces, rules_.scores);
    bpe_ = Bpe({}, merges);
  }
  rules_.scores.clear(), rules_.charsmap.clear();
  for (const auto& [piece, id] : pieces)
    if (const Utf8Symbol symbol = utf8_at(piece, 0); symbol.size == piece.size() && symbol.value != kInvalidSymbol)
      symbols_.emplace(symbol.value, id);
  if (rules_.byte_fallback) {
    find_byte_tokens(spec);
    return;
  }
  LK_REQUIRE(rules_.unknown >= 0 && rules_.unknown < std::ssize(spec.tokens), kInvalidArgument,
             "[tokenizer] {}: unknown={}, must be 0 <= id < {} where no token stands for a byte", spec.source,
             rules_.unknown, spec.tokens.size());
}

void SentencePiece::find_byte_tokens(const TokenizerSpec& spec) {
  IdByText ids;
  for (size_t id = 0; id < spec.tokens.size(); ++id) ids.emplace(spec.tokens[id], static_cast<int32_t>(id));
  for (int byte = 0; byte < 256; ++byte) {
    const auto found = ids.find(byte_token(byte));
    LK_REQUIRE(found != ids.end(), kInvalidArgument, "[tokenizer] {}: no token {}, must have one for each byte",
               spec.source, byte_token(byte));
    byte_ids_[byte] = found->second;
  }
}

std::string SentencePiece::rewritten(std::string_view text) const {
  std::string out = rules_.graphemes ? charsmap_.rewrite_graphemes(text) : charsmap_.rewrite(text);
  if (rules_.strip_spaces) out = strip_spaces(out);
  if (rules_.strip_right) strip_right(&out);
  if (rules_.squeeze)
    out.erase(std::unique(out.begin(), out.end(), [](char a, char b) { return a == ' ' && b == ' '; }), out.end());
  return out;
}

std::string SentencePiece::normalize(std::string_view text, bool first) const {
  return rules_.late ? rewritten(text) : prepare(rewritten(text), first);
}

std::string SentencePiece::prepare(std::string_view text, bool first) const {
  using Prefix = SentencePieceRules::Prefix;
  if (rules_.words) return mark_words(text);
  std::string marked;
  marked.reserve(text.size() + text.size() / 4 + kSpaceMark.size());
  const bool marks = text.starts_with(' ') || text.starts_with(kSpaceMark);
  const bool wanted = rules_.prefix == Prefix::kAlways || (rules_.prefix == Prefix::kFirst && first);
  if (wanted && !text.empty() && !(rules_.late && marks)) marked = kSpaceMark;
  for (char byte : text) byte == ' ' ? marked.append(kSpaceMark) : marked.append(1, byte);
  return marked;
}

void SentencePiece::append_symbol(std::string_view bytes, char32_t value, Bpe::Scratch* scratch) const {
  const auto found = value == kInvalidSymbol ? symbols_.end() : symbols_.find(value);
  if (found != symbols_.end()) {
    scratch->symbols.push_back({found->second});
  } else if (rules_.byte_fallback) {
    for (char byte : bytes) scratch->symbols.push_back({byte_ids_[static_cast<uint8_t>(byte)]});
  } else {
    scratch->symbols.push_back({rules_.unknown});
  }
}

void SentencePiece::join_word(std::string_view word, Bpe::Scratch* scratch, std::vector<int32_t>* ids) const {
  scratch->symbols.clear();
  for (size_t at = 0; at < word.size();) {
    const Utf8Symbol symbol = utf8_at(word, at);
    append_symbol(word.substr(at, symbol.size), symbol.value, scratch);
    at += symbol.size;
  }
  bpe_.join(scratch, ids);
}

void SentencePiece::cut_word(std::string_view word, Unigram::Scratch* scratch, std::vector<int32_t>* ids) const {
  unigram_.cut(word, scratch);
  for (const Unigram::Cut& cut : scratch->cuts) {
    if (cut.id >= 0 || !rules_.byte_fallback) {
      ids->push_back(cut.id >= 0 ? cut.id : rules_.unknown);
    } else {
      for (char byte : word.substr(cut.begin, cut.end - cut.begin))
        ids->push_back(byte_ids_[static_cast<uint8_t>(byte)]);
    }
  }
}

void SentencePiece::encode_word(std::string_view word, Scratch* scratch, std::vector<int32_t>* ids) const {
  const auto begin = std::ssize(*ids);
  rules_.unigram ? cut_word(word, &scratch->unigram, ids) : join_word(word, &scratch->bpe, ids);
  if (rules_.byte_fallback) return;
  const auto twice = [&](int32_t a, int32_t b) { return a == b && a == rules_.unknown; };  // one stands for a run
  ids->erase(std::unique(ids->begin() + begin, ids->end(), twice), ids->end());
}

void SentencePiece::encode(std::string_view text, Scratch* scratch, std::vector<int32_t>* ids) const {
  if (!rules_.split) return encode_word(text, scratch, ids);
  for (size_t at = 0, end; at < text.size(); at = end) {
    end = std::min(text.find(kSpaceMark, at + 1), text.size());
    encode_word(text.substr(at, end - at), scratch, ids);
  }
}

std::string SentencePiece::decoded(std::string_view token) const {
  if (rules_.byte_fallback)
    if (const auto byte = byte_of(token)) return std::string(1, *byte);
  std::string text;
  for (size_t at = 0; at < token.size();) {
    const bool space = token.substr(at).starts_with(kSpaceMark);
    text.append(space ? " " : token.substr(at, 1));
    at += space ? kSpaceMark.size() : 1;
  }
  return text;
}

}  // namespace lowkey
