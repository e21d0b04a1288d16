#include "text/wordpiece.h"

#include <algorithm>

#include "base/error.h"
#include "text/bert_class.h"
#include "text/char_class.h"
#include "text/utf8.h"

namespace lowkey {
namespace {

bool goes_on(char byte) { return (static_cast<uint8_t>(byte) & 0xC0) == 0x80; }  // within a symbol of UTF-8

int64_t count_symbols(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char byte) { return !goes_on(byte); });
}

}  // namespace

WordPiece::WordPiece(const std::vector<std::string>& tokens, const WordPieceRules& rules, const std::string& source)
    : unknown_(rules.unknown), most_symbols_(rules.most_symbols) {
  LK_REQUIRE(unknown_ >= 0 && unknown_ < std::ssize(tokens), kInvalidArgument,
             "[tokenizer] {}: unknown={}, must be 0 <= id < {}", source, unknown_, tokens.size());
  first_.reserve(tokens.size());
  later_.reserve(tokens.size());
  for (size_t id = 0; id < tokens.size(); ++id) {
    const std::string_view token = tokens[id];
    if (token.empty()) continue;
    first_.insert_or_assign(token, static_cast<int32_t>(id));
    if (token.starts_with(rules.prefix))
      later_.insert_or_assign(token.substr(rules.prefix.size()), static_cast<int32_t>(id));
    longest_ = std::max(longest_, token.size());
  }
}

void WordPiece::encode(std::string_view text, std::vector<int32_t>* ids) const {
  size_t begin = 0;  // of the word that `at` is in
  const auto end_word = [&](size_t at, size_t next) {
    if (at > begin) encode_word(text.substr(begin, at - begin), ids);
    begin = next;
  };
  for (size_t at = 0; at < text.size();) {
    const Utf8Symbol symbol = utf8_at(text, at);
    const size_t next = at + symbol.size;
    if (class_of(symbol.value) == CharClass::kSpace) {
      end_word(at, next);
    } else if (is_bert_punctuation(symbol.value)) {
      end_word(at, at);
      end_word(next, next);
    }
    at = next;
  }
  end_word(text.size(), text.size());
}

void WordPiece::encode_word(std::string_view word, std::vector<int32_t>* ids) const {
  if (count_symbols(word) > most_symbols_) return ids->push_back(unknown_);
  const size_t before = ids->size();
  for (size_t at = 0; at < word.size();) {
    const IdByText& pieces = at == 0 ? first_ : later_;
    size_t end = std::min(word.size(), at + longest_);
    auto found = pieces.end();
    for (; end > at; --end) {
      if (end < word.size() && goes_on(word[end])) continue;
      found = pieces.find(word.substr(at, end - at));
      if (found != pieces.end()) break;
    }
    if (found == pieces.end()) {
      ids->resize(before);
      return ids->push_back(unknown_);
    }
    ids->push_back(found->second);
    at = end;
  }
}

}  // namespace lowkey
