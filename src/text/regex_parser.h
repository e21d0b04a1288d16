// RegexParser: a regular expression's text into the program that Regex runs.
#pragma once

#include <string_view>

#include "text/regex.h"

namespace lowkey {

class RegexParser {
 public:
  RegexParser(std::string_view pattern, Regex* regex) : pattern_(pattern), regex_(regex) {}
  // Throws kUnsupported.
  void parse();

 private:
  using Item = Regex::Item;
  using Set = Regex::Set;
  using Instruction = Regex::Instruction;

  void parse_alternatives();
  void parse_sequence();
  void parse_repeated();
  void parse_atom();
  void parse_group();
  void parse_class(Set* set);
  Item parse_escape(bool in_class);
  Item parse_category(bool negated);
  Item parse_symbol();
  void add_cases(const Item& item, Set* set) const;
  int parse_number();
  void repeat(size_t begin, int least, int most);

  bool at_end() const noexcept { return at_ == pattern_.size(); }
  char peek() const noexcept { return at_end() ? '\0' : pattern_[at_]; }
  bool accept(std::string_view word) noexcept;
  uint32_t emit(Instruction::Kind kind, size_t a = 0, size_t b = 0);
  void emit_set(Set set);
  size_t size() const noexcept { return regex_->program_.size(); }
  [[noreturn]] void refuse(std::string_view what) const;

  std::string_view pattern_;
  Regex* regex_;
  size_t at_ = 0;
  int depth_ = 0;
  bool any_case_ = false;
};

}  // namespace lowkey
