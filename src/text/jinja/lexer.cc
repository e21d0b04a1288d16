#include "text/jinja/lexer.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/printable.h"
#include "text/utf8.h"

namespace lowkey::jinja {
namespace {

constexpr std::array<std::string_view, 6> kLongSigns = {"==", "!=", ">=", "<=", "//", "**"};
constexpr std::string_view kShortSigns = "+-/*%~[](){}><=.:|,;";

bool is_letter(char c) noexcept { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
bool is_space(char c) noexcept { return c == ' ' || (c >= '\t' && c <= '\r'); }

class Lexer {
 public:
  Lexer(std::string_view text, const std::string& source) : source_(source) {
    for (size_t at = 0; at < text.size(); ++at)  // \r\n and \r are line feeds
      if (text[at] != '\r') {
        text_.push_back(text[at]);
      } else if (at + 1 == text.size() || text[at + 1] != '\n') {
        text_.push_back('\n');
      }
    if (text_.ends_with('\n')) text_.pop_back();
  }

  std::vector<Token> run() {
    while (at_ < text_.size()) read_text();
    push(Token::kEnd, "");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const {
    throw Error(ErrorKind::kCorruptFile, fmt::format("[chat] {}: line {}: {}", source_, line_, what));
  }
  void push(Token::Kind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }
  bool sees(std::string_view word) const noexcept { return std::string_view(text_).substr(at_).starts_with(word); }
  void advance(size_t to) {
    line_ += static_cast<int>(
        std::count(text_.begin() + static_cast<ptrdiff_t>(at_), text_.begin() + static_cast<ptrdiff_t>(to), '\n'));
    at_ = to;
  }

  // Plain text up to the next tag, and the tag.
  void read_text() {
    size_t tag = text_.find('{', at_);
    while (tag != text_.npos &&
           (tag + 1 == text_.size() || std::string_view("{%#").find(text_[tag + 1]) == std::string_view::npos))
      tag = text_.find('{', tag + 1);
    if (tag == text_.npos) return push_text(text_.size());
    const char kind = text_[tag + 1], sign = tag + 2 < text_.size() ? text_[tag + 2] : ' ';
    size_t end = tag;
    if (sign == '-') {
      while (end > at_ && is_space(text_[end - 1])) --end;
    } else if (kind != '{' && sign != '+') {  // lstrip_blocks: the tag's own indentation
      size_t begin = tag;
      while (begin > at_ && (text_[begin - 1] == ' ' || text_[begin - 1] == '\t')) --begin;
      if (begin == 0 || text_[begin - 1] == '\n') end = begin;
    }
    push_text(end);
    advance(tag + 2 + ((sign == '-' || (sign == '+' && kind != '{')) ? 1 : 0));
    if (kind == '#') return skip_comment();
    if (kind == '%' && read_raw()) return;
    push(kind == '{' ? Token::kBeginOutput : Token::kBeginBlock, "");
    read_expression(kind == '{' ? "}}" : "%}", kind == '{' ? Token::kEndOutput : Token::kEndBlock);
  }

  void push_text(size_t end) {
    if (end > at_) push(Token::kText, text_.substr(at_, end - at_));
    advance(end);
  }

  // After a tag's end: `sign` before it says what becomes of the white space that follows.
  void finish_tag(char sign, bool trims) {
    if (sign == '-') {
      size_t end = at_;
      while (end < text_.size() && is_space(text_[end])) ++end;
      advance(end);
    } else if (trims && sign != '+' && sees("\n")) {
      advance(at_ + 1);
    }
  }

  void skip_comment() {
    const size_t end = text_.find("#}", at_);
    if (end == text_.npos) refuse("a comment without an end");
    const char sign = end > at_ ? text_[end - 1] : ' ';
    advance(end + 2);
    finish_tag(sign, true);
  }

  // {% raw %}...{% endraw %}
  bool read_raw() {
    size_t at = skip_spaces(at_);
    if (text_.compare(at, 3, "raw") != 0 || is_letter(at + 3 < text_.size() ? text_[at + 3] : ' ')) return false;
    at = skip_spaces(at + 3);
    const size_t begin = text_.find("%}", at), last = text_.find("endraw", at);
    const size_t tag = last == text_.npos ? last : text_.rfind("{%", last), end = text_.find("%}", last);
    if (begin == text_.npos || tag == text_.npos || end == text_.npos || tag < begin) refuse("raw without endraw");
    advance(begin + 2);
    push_text(tag);
    advance(end + 2);
    finish_tag(text_[end - 1], true);
    return true;
  }

  size_t skip_spaces(size_t at) const noexcept {
    while (at < text_.size() && (is_space(text_[at]) || text_[at] == '-')) ++at;
    return at;
  }

  void read_expression(std::string_view close, Token::Kind kind) {
    std::string open;  // brackets not yet closed
    while (true) {
      if (at_ >= text_.size()) refuse(fmt::format("a tag without its {}", close));
      const char c = text_[at_];
      if (is_space(c)) {
        advance(at_ + 1);
        continue;
      }
      if (open.empty()) {
        const bool sign = (c == '-' || c == '+') && std::string_view(text_).substr(at_ + 1).starts_with(close);
        if (sign || sees(close)) {
          advance(at_ + close.size() + (sign ? 1 : 0));
          push(kind, "");
          return finish_tag(sign ? c : ' ', kind == Token::kEndBlock);
        }
      }
      read_word(&open);
    }
  }

  void read_word(std::string* open) {
    const char c = text_[at_];
    if (c == '\'' || c == '"') return read_string(c);
    if (is_letter(c)) {
      size_t end = at_;
      while (end < text_.size() && (is_letter(text_[end]) || is_digit(text_[end]))) ++end;
      push(Token::kName, text_.substr(at_, end - at_));
      return advance(end);
    }
    if (is_digit(c)) return read_number();
    std::string_view sign = std::string_view(text_).substr(at_, 2);
    if (std::find(kLongSigns.begin(), kLongSigns.end(), sign) == kLongSigns.end()) sign = sign.substr(0, 1);
    if (sign.size() == 1 && kShortSigns.find(sign[0]) == kShortSigns.npos)
      refuse(fmt::format("unexpected \"{}\"", printable(sign)));
    if (std::string_view("([{").find(sign[0]) != std::string_view::npos) open->push_back(sign[0]);
    if (std::string_view(")]}").find(sign[0]) != std::string_view::npos && !open->empty()) open->pop_back();
    push(Token::kSign, std::string(sign));
    advance(at_ + sign.size());
  }

  void read_number() {
    size_t end = at_;
    std::string digits;
    bool real = false;
    for (; end < text_.size(); ++end) {
      const char c = text_[end];
      const bool point = c == '.' && !real && end + 1 < text_.size() && is_digit(text_[end + 1]);
      const bool power = (c == 'e' || c == 'E') && end + 1 < text_.size() && is_digit(text_[end + 1]);
      if (!is_digit(c) && c != '_' && !point && !power) break;
      real = real || point || power;
      if (c != '_') digits.push_back(c);
    }
    if (digits.size() > 18) refuse("a number too long");
    push(real ? Token::kReal : Token::kInteger, digits);
    advance(end);
  }

  void read_string(char quote) {
    std::string value;
    size_t at = at_ + 1;
    for (; at < text_.size() && text_[at] != quote; ++at) {
      if (text_[at] != '\\' || at + 1 == text_.size()) {
        value.push_back(text_[at]);
      } else {
        at = read_escape(at + 1, &value);
      }
    }
    if (at >= text_.size()) refuse("a string without an end");
    push(Token::kString, std::move(value));
    advance(at + 1);
  }

  // The place of the escape's last byte.
  size_t read_escape(size_t at, std::string* value) const {
    constexpr std::string_view kNames = "nrtbfav0\\'\"\n", kValues{"\n\r\t\b\f\a\v\0\\'\"", 11};
    const char c = text_[at];
    if (c == '\n') return at;
    if (const size_t found = kNames.find(c); found < kValues.size()) {
      value->push_back(kValues[found]);
      return at;
    }
    const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    char32_t scalar = 0;
    for (size_t i = 1; i <= digits; ++i) {
      const size_t digit = at + i < text_.size() ? std::string_view("0123456789abcdef").find(text_[at + i] | 0x20) : 16;
      if (digit >= 16) refuse("a string with a broken \\x, \\u or \\U");
      scalar = scalar << 4 | static_cast<char32_t>(digit);
    }
    if (digits == 0) {
      value->append({'\\', c});
      return at;
    }
    if (scalar > 0x10FFFF || (scalar >= 0xD800 && scalar < 0xE000)) refuse("a string with a \\u that is no character");
    append_utf8(scalar, value);
    return at + digits;
  }

  std::string text_;
  const std::string& source_;
  size_t at_ = 0;
  int line_ = 1;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> cut_into_tokens(std::string_view text, const std::string& source) {
  return Lexer(text, source).run();
}

}  // namespace lowkey::jinja
