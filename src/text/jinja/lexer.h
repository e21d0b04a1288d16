// The first step of a template: Jinja's text into words, with the white space rules that Hugging Face sets for chat
// templates (trim_blocks, lstrip_blocks, no newline kept at the end).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lowkey::jinja {

struct Token {
  enum Kind { kText, kBeginOutput, kEndOutput, kBeginBlock, kEndBlock, kName, kString, kInteger, kReal, kSign, kEnd };
  Kind kind = kEnd;
  std::string text;  // of kString and kText what it stands for
  int line = 0;

  bool is(Kind k, std::string_view t) const noexcept { return kind == k && text == t; }
};

// Ends with kEnd. `source` names the template in errors. Throws kCorruptFile.
std::vector<Token> cut_into_tokens(std::string_view text, const std::string& source);

}  // namespace lowkey::jinja
