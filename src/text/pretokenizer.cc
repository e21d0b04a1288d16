#include "text/pretokenizer.h"

#include "text/char_class.h"
#include "text/utf8.h"

namespace lowkey {
namespace {

constexpr std::string_view kGpt2Regex =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
constexpr std::string_view kLlama3Regex =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
constexpr std::string_view kQwen2Regex =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

struct Symbol {
  char32_t value;
  uint32_t size;  // 0: the end of the text
  CharClass kind;

  bool is(CharClass other) const noexcept { return size > 0 && kind == other; }
  bool is_newline() const noexcept { return size > 0 && (value == '\r' || value == '\n'); }
};

Symbol symbol_at(std::string_view text, size_t at) noexcept {
  if (at >= text.size()) return {0, 0, CharClass::kOther};
  Utf8Symbol symbol = utf8_at(text, at);
  return {symbol.value, symbol.size, class_of(symbol.value)};
}

size_t run_end(std::string_view text, size_t at, CharClass kind, size_t most = SIZE_MAX) noexcept {
  for (Symbol s = symbol_at(text, at); most > 0 && s.is(kind); s = symbol_at(text, at), --most) at += s.size;
  return at;
}

// 's 't 're 've 'm 'll 'd: its bytes, 0 when there is none. Of the letters that fold to these, only the long s (U+017F)
// is not ASCII.
size_t contraction(std::string_view text, size_t at, bool any_case) noexcept {
  if (text[at] != '\'') return 0;
  auto letter = [&](size_t offset) -> char {
    if (at + offset >= text.size()) return 0;
    char c = text[at + offset];
    return any_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  };
  char first = letter(1), second = letter(2);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
  if ((first == 'r' || first == 'v') && second == 'e') return 3;
  if (first == 'l' && second == 'l') return 3;
  if (any_case && text.substr(at + 1, 2) == "\xC5\xBF") return 3;
  return 0;
}

// \s*[\r\n]+|\s+(?!\S)|\s+ (the first only when `newlines`): a run ends with its last newline; else its last space is
// left for the word that follows.
size_t space_end(std::string_view text, size_t at, bool newlines) noexcept {
  size_t end = at, last = at, after_newline = at;
  for (Symbol s = symbol_at(text, at); s.is(CharClass::kSpace); s = symbol_at(text, end)) {
    last = end;
    end += s.size;
    if (s.is_newline()) after_newline = end;
  }
  if (newlines && after_newline > at) return after_newline;
  return end == text.size() || last == at ? end : last;
}

size_t gpt2_end(std::string_view text, size_t at) noexcept {
  if (size_t size = contraction(text, at, false)) return at + size;
  size_t body = text[at] == ' ' ? at + 1 : at;
  Symbol first = symbol_at(text, body);
  if (first.size == 0 || first.kind == CharClass::kSpace) return space_end(text, at, false);
  return run_end(text, body, first.kind);
}

size_t llama3_end(std::string_view text, size_t at, size_t most_digits) noexcept {
  if (size_t size = contraction(text, at, true)) return at + size;
  Symbol first = symbol_at(text, at);
  if (first.kind == CharClass::kLetter) return run_end(text, at, CharClass::kLetter);
  if (first.kind == CharClass::kNumber) return run_end(text, at, CharClass::kNumber, most_digits);
  if (!first.is_newline() && symbol_at(text, at + first.size).is(CharClass::kLetter))
    return run_end(text, at + first.size, CharClass::kLetter);

  size_t body = first.value == ' ' ? at + 1 : at;
  size_t end = run_end(text, body, CharClass::kOther);
  if (end == body) return space_end(text, at, true);
  while (symbol_at(text, end).is_newline()) ++end;
  return end;
}

}  // namespace

std::string_view pretokenizer_regex(Pretokenizer kind) noexcept {
  switch (kind) {
    case Pretokenizer::kGpt2:
      return kGpt2Regex;
    case Pretokenizer::kLlama3:
      return kLlama3Regex;
    case Pretokenizer::kQwen2:
      return kQwen2Regex;
    case Pretokenizer::kSplits:
      break;
  }
  return {};
}

size_t piece_end(Pretokenizer kind, std::string_view text, size_t at) noexcept {
  switch (kind) {
    case Pretokenizer::kGpt2:
      return gpt2_end(text, at);
    case Pretokenizer::kLlama3:
      return llama3_end(text, at, 3);
    case Pretokenizer::kQwen2:
      return llama3_end(text, at, 1);
    case Pretokenizer::kSplits:
      break;
  }
  return text.size();
}

Splitter::Splitter(const std::vector<std::string>& regexes) {
  for (const std::string& text : regexes) {
    Step step;
    for (Pretokenizer known : {Pretokenizer::kGpt2, Pretokenizer::kLlama3, Pretokenizer::kQwen2})
      if (text == pretokenizer_regex(known)) step.known = known;
    if (step.known == Pretokenizer::kSplits) step.regex.emplace_back(text);
    steps_.push_back(std::move(step));
  }
}

std::vector<std::string_view> Splitter::cut(std::string_view text) const {
  constexpr int64_t kStepsPerByte = 400;  // the most that known expressions take is about 40
  int64_t budget = kStepsPerByte * static_cast<int64_t>(text.size() + 1000);
  std::vector<std::string_view> pieces;
  cut(text, 0, &budget, &pieces);
  return pieces;
}

void Splitter::cut(std::string_view text, size_t step, int64_t* budget, std::vector<std::string_view>* pieces) const {
  if (text.empty()) return;
  if (step == steps_.size()) return pieces->push_back(text);
  const Step& now = steps_[step];
  size_t done = 0;  // what is before it is cut
  for (size_t at = 0; at < text.size();) {
    const size_t end = now.regex.empty() ? piece_end(now.known, text, at) : now.regex[0].match(text, at, budget);
    if (end == Regex::kNone || end == at) {  // between matches
      at += utf8_at(text, at).size;
      continue;
    }
    cut(text.substr(done, at - done), step + 1, budget, pieces);
    cut(text.substr(at, end - at), step + 1, budget, pieces);
    done = at = end;
  }
  cut(text.substr(done), step + 1, budget, pieces);
}

}  // namespace lowkey
