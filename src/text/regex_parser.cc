#include "text/regex_parser.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/printable.h"
#include "text/char_class.h"
#include "text/utf8.h"

namespace lowkey {
namespace {

constexpr size_t kMostInstructions = 4096;
constexpr int kMostDepth = 32, kUnbounded = -1;

constexpr std::array<std::string_view, 30> kCategories = {"Cn", "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd",
                                                          "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm",
                                                          "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co"};

// "Lu", or "L" for all that begin so; 0: no such category.
uint32_t category_mask(std::string_view name) noexcept {
  uint32_t mask = 0;
  for (size_t i = 0; i < kCategories.size(); ++i)
    if (!name.empty() && name.size() <= 2 && kCategories[i].starts_with(name)) mask |= uint32_t{1} << i;
  return mask;
}

constexpr uint32_t bit(Category category) { return uint32_t{1} << static_cast<int>(category); }

}  // namespace

void RegexParser::refuse(std::string_view what) const {
  throw Error(ErrorKind::kUnsupported, fmt::format("[tokenizer] the regular expression \"{}\": {} at byte {}",
                                                   printable(pattern_, 60), what, at_));
}

bool RegexParser::accept(std::string_view word) noexcept {
  if (!pattern_.substr(at_).starts_with(word)) return false;
  at_ += word.size();
  return true;
}

uint32_t RegexParser::emit(Instruction::Kind kind, size_t a, size_t b) {
  if (size() >= kMostInstructions) refuse("too long");
  regex_->program_.push_back({kind, static_cast<uint32_t>(a), static_cast<uint32_t>(b)});
  return static_cast<uint32_t>(size() - 1);
}

void RegexParser::emit_set(Set set) {
  emit(Instruction::kSet, regex_->sets_.size());
  regex_->sets_.push_back(std::move(set));
}

void RegexParser::parse() {
  parse_alternatives();
  if (!at_end()) refuse("a ) too many");
  emit(Instruction::kMatch);
}

// a|b: split to a, and after it jump over b. The split goes before what is already there, so targets move.
void RegexParser::parse_alternatives() {
  if (++depth_ > kMostDepth) refuse("nested too deep");
  std::vector<uint32_t> jumps;
  while (true) {
    const uint32_t split = emit(Instruction::kSplit);
    parse_sequence();
    if (!accept("|")) {
      regex_->program_[split] = {Instruction::kJump, split + 1, 0};
      break;
    }
    jumps.push_back(emit(Instruction::kJump));
    regex_->program_[split].a = split + 1;
    regex_->program_[split].b = static_cast<uint32_t>(size());
  }
  for (uint32_t jump : jumps) regex_->program_[jump].a = static_cast<uint32_t>(size());
  --depth_;
}

void RegexParser::parse_sequence() {
  while (!at_end() && peek() != '|' && peek() != ')') parse_repeated();
}

void RegexParser::parse_repeated() {
  const size_t begin = size();
  parse_atom();
  int least = 1, most = 1;
  if (accept("*")) {
    least = 0, most = kUnbounded;
  } else if (accept("+")) {
    most = kUnbounded;
  } else if (accept("?")) {
    least = 0;
  } else if (accept("{")) {
    least = peek() == ',' ? 0 : parse_number();
    most = least;
    if (accept(",")) most = peek() == '}' ? kUnbounded : parse_number();
    if (!accept("}")) refuse("a { without its }");
  } else {
    return;
  }
  if (peek() == '?' || peek() == '+') refuse("a lazy or possessive repetition");
  repeat(begin, least, most);
}

int RegexParser::parse_number() {
  int number = 0;
  const size_t begin = at_;
  while (peek() >= '0' && peek() <= '9' && number < 1000) number = 10 * number + (pattern_[at_++] - '0');
  if (at_ == begin || number >= 1000) refuse("a count that is no number below 1000");
  return number;
}

// The instructions from `begin` on become `least` to `most` of themselves.
void RegexParser::repeat(size_t begin, int least, int most) {
  auto& program = regex_->program_;
  const std::vector<Instruction> once(program.begin() + static_cast<ptrdiff_t>(begin), program.end());
  program.resize(begin);
  const auto copy = [&] {
    const auto shift = static_cast<uint32_t>(size() - begin);
    for (Instruction i : once) {
      const bool two = i.kind == Instruction::kSplit, moves = two || i.kind == Instruction::kJump ||
                                                              i.kind == Instruction::kLook ||
                                                              i.kind == Instruction::kNotLook;
      emit(i.kind, moves ? i.a + shift : i.a, two ? i.b + shift : i.b);
    }
  };
  for (int i = 0; i < least; ++i) copy();
  if (most == kUnbounded) {
    const uint32_t split = emit(Instruction::kSplit);
    copy();
    emit(Instruction::kJump, split);
    program[split].a = split + 1;
    program[split].b = static_cast<uint32_t>(size());
    return;
  }
  if (most < least) refuse("a repetition of fewer than its least");
  std::vector<uint32_t> splits;
  for (int i = least; i < most; ++i) {
    splits.push_back(emit(Instruction::kSplit));
    copy();
  }
  for (uint32_t split : splits) program[split].a = split + 1, program[split].b = static_cast<uint32_t>(size());
}

void RegexParser::parse_atom() {
  if (accept("(")) return parse_group();
  if (accept("[")) {
    Set set;
    parse_class(&set);
    return emit_set(std::move(set));
  }
  if (accept("$")) return static_cast<void>(emit(Instruction::kEndOfText));
  if (accept(".")) return emit_set({{{'\n', '\n'}}, true});
  const char c = peek();
  if (c == '*' || c == '+' || c == '?' || c == '{' || c == '^') refuse(fmt::format("a {} that repeats nothing", c));
  Set set;
  const Item item = c == '\\' ? parse_escape(false) : parse_symbol();
  set.items.push_back(item);
  add_cases(item, &set);
  emit_set(std::move(set));
}

// Within (?i:...): the same letters in the other case.
void RegexParser::add_cases(const Item& item, Set* set) const {
  const auto within = [&](char32_t first, char32_t last) { return item.first >= first && item.last <= last; };
  const bool letters = within('a', 'z') || within('A', 'Z');
  if (!any_case_ || !letters || item.last < item.first) return;
  set->items.push_back({item.first ^ 0x20, item.last ^ 0x20});
  const auto has = [&](char32_t small) { return (item.first | 0x20) <= small && small <= (item.last | 0x20); };
  if (has('s')) set->items.push_back({0x17F, 0x17F});    // the long s
  if (has('k')) set->items.push_back({0x212A, 0x212A});  // Kelvin
}

void RegexParser::parse_group() {
  const bool any_case = any_case_;
  if (accept("?!") || accept("?=")) {
    const bool negated = pattern_[at_ - 1] == '!';
    const uint32_t look = emit(negated ? Instruction::kNotLook : Instruction::kLook);
    parse_alternatives();
    emit(Instruction::kLookEnd);
    regex_->program_[look].a = static_cast<uint32_t>(size());
  } else {
    if (accept("?i:")) {
      any_case_ = true;
    } else if (!accept("?:") && peek() == '?') {
      refuse("a kind of group");
    }
    parse_alternatives();
  }
  any_case_ = any_case;
  if (!accept(")")) refuse("a ( without its )");
}

void RegexParser::parse_class(Set* set) {
  set->negated = accept("^");
  for (bool first = true; first || peek() != ']'; first = false) {
    if (at_end()) refuse("a [ without its ]");
    if (pattern_.substr(at_).starts_with("&&") || peek() == '[') refuse("a class within a class");
    Item item = peek() == '\\' ? parse_escape(true) : parse_symbol();
    const bool symbol = item.first == item.last && item.categories == 0 && !item.space && !item.punctuation;
    if (symbol && peek() == '-' && at_ + 1 < pattern_.size() && pattern_[at_ + 1] != ']') {
      ++at_;
      const Item end = peek() == '\\' ? parse_escape(true) : parse_symbol();
      if (end.first != end.last || end.last < item.first) refuse("a range without order");
      item.last = end.last;
    }
    set->items.push_back(item);
    add_cases(item, set);
  }
  ++at_;
}

RegexParser::Item RegexParser::parse_symbol() {
  const Utf8Symbol symbol = utf8_at(pattern_, at_);
  if (symbol.value == kInvalidSymbol) refuse("invalid UTF-8");
  at_ += symbol.size;
  return {symbol.value, symbol.value};
}

// At a backslash.
RegexParser::Item RegexParser::parse_escape(bool in_class) {
  ++at_;
  const char c = peek();
  if (at_end()) refuse("a backslash before nothing");
  ++at_;
  constexpr std::string_view kNames = "nrtfv0", kValues{"\n\r\t\f\v\0", 6};
  if (const size_t named = kNames.find(c); named != kNames.npos) {
    const auto value = static_cast<char32_t>(kValues[named]);
    return {value, value};
  }
  Item item;
  switch (c) {
    case 's':
    case 'S':
      item.space = true, item.negated = c == 'S';
      return item;
    case 'd':
    case 'D':
      item.categories = bit(Category::kNd), item.negated = c == 'D';
      return item;
    case 'w':
    case 'W':
      item.categories =
          category_mask("L") | category_mask("M") | bit(Category::kNd) | bit(Category::kNl) | bit(Category::kPc);
      item.negated = c == 'W';
      return item;
    case 'p':
    case 'P':
      return parse_category(c == 'P');
    default:
      break;
  }
  const bool letter = ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || (c >= '0' && c <= '9');
  if (letter || (c == 'b' && in_class)) refuse(fmt::format("\\{}", c));
  --at_;
  return parse_symbol();
}

RegexParser::Item RegexParser::parse_category(bool negated) {
  if (!accept("{")) refuse("\\p without {");
  const size_t end = pattern_.find('}', at_);
  if (end == pattern_.npos) refuse("\\p{ without }");
  std::string_view name = pattern_.substr(at_, end - at_);
  if (name.starts_with('^')) negated = !negated, name.remove_prefix(1);
  Item item;
  item.negated = negated;
  item.categories = category_mask(name);
  item.punctuation = name == "Punctuation";  // no property of Unicode's
  if (item.categories == 0 && !item.punctuation) refuse(fmt::format("the property {}", printable(name)));
  at_ = end + 1;
  return item;
}

}  // namespace lowkey
