// Cuts text into the pieces that BPE merges within. The published definitions are regular expressions:
//
//   gpt2    's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//   llama3  (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|
//           \s+(?!\S)|\s+
//   qwen2   as llama3, but \p{N} for \p{N}{1,3}
//
// Here they are matched by hand: linear in the text, no stack, no backtracking limit (docs/decisions/pretokenizer.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/regex.h"
#include "text/tokenizer.h"

namespace lowkey {

// The regular expression that a tokenizer.json gives for it; not for kSplits.
std::string_view pretokenizer_regex(Pretokenizer) noexcept;

// The end of the piece that begins at `at`; needs at < text.size(), and another kind than kSplits. Never 0 bytes. A
// maximal invalid part of UTF-8 counts as one symbol of class kOther, as U+FFFD in its place would.
size_t piece_end(Pretokenizer, std::string_view text, size_t at) noexcept;

// Cuts by one regular expression after the other.
class Splitter {
 public:
  Splitter() = default;
  // Throws kUnsupported.
  explicit Splitter(const std::vector<std::string>& regexes);
  // The pieces, in order; together they are the text. Throws kUnsupported for a text on which it takes too long.
  std::vector<std::string_view> cut(std::string_view text) const;

 private:
  struct Step {
    Pretokenizer known = Pretokenizer::kSplits;  // one of the three cut by hand
    std::vector<Regex> regex;                    // or this one
  };
  void cut(std::string_view text, size_t step, int64_t* budget, std::vector<std::string_view>* pieces) const;

  std::vector<Step> steps_;
};

}  // namespace lowkey
