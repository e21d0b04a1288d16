// Regex: the regular expressions by which vocabularies cut text, over Unicode characters: classes and categories,
// groups, alternatives, repetition, looking ahead. Matches as Perl's do: the first alternative that fits, as much as
// repetition can have. No recursion; the steps of a match are bounded. Why not a library:
// docs/decisions/pretokenizer.md.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lowkey {

class Regex {
 public:
  static constexpr size_t kNone = SIZE_MAX;

  // Throws kUnsupported naming what is not known here.
  explicit Regex(std::string_view pattern);

  // The end of the match that begins exactly at `at`, or kNone. A maximal invalid part of UTF-8 is one character that
  // is in no category. Takes its steps from *steps; throws kUnsupported when they are used up.
  size_t match(std::string_view text, size_t at, int64_t* steps) const;

 private:
  friend class RegexParser;
  // One of these holds: a character in the range, of a category of the mask (bit 1 << Category), a space, ...
  struct Item {
    char32_t first = 1, last = 0;
    uint32_t categories = 0;
    bool space = false;
    bool punctuation = false;  // as Hugging Face's Punctuation has it: of an older Unicode, and ASCII's signs too
    bool negated = false;
    bool has(char32_t symbol) const noexcept;
  };
  struct Set {
    std::vector<Item> items;
    bool negated = false;
    std::array<bool, 128> ascii{};  // has() of these, computed once
    bool has(char32_t symbol) const noexcept;
  };
  struct Instruction {
    enum Kind : uint8_t { kSet, kSplit, kJump, kLook, kNotLook, kLookEnd, kEndOfText, kMatch };
    Kind kind = kMatch;
    uint32_t a = 0;  // the set; the first way; where to; what follows a look
    uint32_t b = 0;  // the second way
  };
  size_t run(std::string_view text, size_t at, uint32_t from, int64_t* steps) const;

  std::vector<Set> sets_;
  std::vector<Instruction> program_;
};

}  // namespace lowkey
