// SpecialTokens: finds the tokens that are matched whole in a text, before any other rule cuts it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace lowkey {

class SpecialTokens {
 public:
  struct Entry {
    std::string text;
    int32_t id = -1;
    bool control = false;
    bool takes_left = false, takes_right = false;  // the white space beside it
    bool whole_word = false;                       // not within a word
  };
  // Where control tokens may be matched.
  struct Allowed {
    bool control = true;
    std::span<const TextRange> never;  // ascending; a match touches none of these bytes

    bool operator()(size_t begin, size_t end) const noexcept;
  };
  struct Match {
    size_t begin = 0, end = 0;
    int32_t id = -1;  // -1: nothing found
  };

  // Entries without text are never matched.
  explicit SpecialTokens(std::vector<Entry> entries);

  // The leftmost match at or after `from`, of those the longest. Linear in the text times the longest token.
  Match find(std::string_view text, size_t from, const Allowed& allowed) const noexcept;

 private:
  const Entry* match_at(std::string_view text, size_t at, const Allowed& allowed) const noexcept;

  std::vector<Entry> entries_;         // ascending by text
  std::array<uint32_t, 257> begin_{};  // entries_[begin_[b] .. begin_[b + 1]) start with byte b
};

}  // namespace lowkey
