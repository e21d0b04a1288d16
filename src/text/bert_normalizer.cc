#include "text/bert_normalizer.h"

#include <algorithm>

#include "text/bert_class.h"
#include "text/char_class.h"
#include "text/normalize.h"
#include "text/utf8.h"

namespace lowkey {
namespace {

constexpr char32_t kReplacementSymbol = 0xFFFD, kCapitalIWithDot = 0x130, kDotAbove = 0x307;

std::u32string symbols_of(std::string_view text) {
  std::u32string symbols;
  symbols.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const Utf8Symbol symbol = utf8_at(text, at);
    symbols.push_back(symbol.value == kInvalidSymbol ? kReplacementSymbol : symbol.value);
    at += symbol.size;
  }
  return symbols;
}

void clean(std::u32string* symbols) {
  std::erase_if(*symbols, [](char32_t s) { return s == 0 || s == kReplacementSymbol || is_bert_control(s); });
  for (char32_t& s : *symbols)
    if (class_of(s) == CharClass::kSpace) s = ' ';
}

std::u32string set_chinese_apart(const std::u32string& symbols) {
  std::u32string apart;
  apart.reserve(symbols.size());
  for (char32_t s : symbols) {
    if (is_bert_chinese(s)) {
      apart.append({U' ', s, U' '});
    } else {
      apart.push_back(s);
    }
  }
  return apart;
}

std::string lowered(const std::u32string& symbols) {
  std::string text;
  for (char32_t s : symbols) {
    append_utf8(s == kCapitalIWithDot ? U'i' : bert_lower(s), &text);
    if (s == kCapitalIWithDot) append_utf8(kDotAbove, &text);
  }
  return text;
}

}  // namespace

std::string bert_normalize(std::string_view text, const WordPieceRules& rules) {
  std::u32string symbols = symbols_of(text);
  if (rules.clean) clean(&symbols);
  if (rules.chinese) symbols = set_chinese_apart(symbols);
  if (rules.accents) {
    symbols = decompose(symbols);
    std::erase_if(symbols, is_bert_accent);
  }
  if (rules.lowercase) return lowered(symbols);
  std::string normal;
  for (char32_t s : symbols) append_utf8(s, &normal);
  return normal;
}

}  // namespace lowkey
