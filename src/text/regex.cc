#include "text/regex.h"

#include <algorithm>

#include "base/error.h"
#include "text/bert_class.h"
#include "text/char_class.h"
#include "text/regex_parser.h"
#include "text/utf8.h"

namespace lowkey {

bool Regex::Item::has(char32_t symbol) const noexcept {
  bool found = first <= symbol && symbol <= last;
  if (categories != 0) found = found || (categories >> static_cast<int>(category_of(symbol)) & 1) != 0;
  if (space) found = found || is_space(symbol);
  if (punctuation) found = found || is_bert_punctuation(symbol);
  return found != negated;
}

bool Regex::Set::has(char32_t symbol) const noexcept {
  return std::any_of(items.begin(), items.end(), [&](const Item& item) { return item.has(symbol); }) != negated;
}

Regex::Regex(std::string_view pattern) {
  RegexParser(pattern, this).parse();
  for (Set& set : sets_)
    for (char32_t c = 0; c < set.ascii.size(); ++c) set.ascii[c] = set.has(c);
}

size_t Regex::match(std::string_view text, size_t at, int64_t* steps) const { return run(text, at, 0, steps); }

size_t Regex::run(std::string_view text, size_t at, uint32_t from, int64_t* steps) const {
  std::vector<std::pair<uint32_t, size_t>> ways;  // still to be tried, the last one first
  uint32_t next = from;
  const auto fail = [&] {
    if (ways.empty()) return false;
    std::tie(next, at) = ways.back();
    ways.pop_back();
    return true;
  };
  while (true) {
    LK_REQUIRE(--*steps >= 0, kUnsupported, "[tokenizer] the regular expression takes too long at byte {} of a text",
               at);
    const Instruction& now = program_[next];
    bool fits = true;
    switch (now.kind) {
      case Instruction::kSet: {
        if (at == text.size()) {
          fits = false;
          break;
        }
        const auto byte = static_cast<uint8_t>(text[at]);
        const Utf8Symbol symbol = byte < 0x80 ? Utf8Symbol{byte, 1, false} : utf8_at(text, at);
        fits = byte < 0x80 ? sets_[now.a].ascii[byte] : sets_[now.a].has(symbol.value);
        if (fits) at += symbol.size, ++next;
        break;
      }
      case Instruction::kSplit:
        ways.emplace_back(now.b, at);
        next = now.a;
        break;
      case Instruction::kJump:
        next = now.a;
        break;
      case Instruction::kLook:
      case Instruction::kNotLook:
        fits = (run(text, at, next + 1, steps) != kNone) == (now.kind == Instruction::kLook);
        next = now.a;
        break;
      case Instruction::kEndOfText:
        fits = at == text.size();
        ++next;
        break;
      case Instruction::kLookEnd:
      case Instruction::kMatch:
        return at;
    }
    if (!fits && !fail()) return kNone;
  }
}

}  // namespace lowkey
