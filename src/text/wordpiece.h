// WordPiece (Schuster & Nakajima 2012), as BERT uses it: a normalised text is cut at white space and around every mark
// of punctuation; each word is cut from the left into the longest pieces that the vocabulary has. Pieces after the
// first stand there with a prefix, "##". A word that cannot be cut to its end, or is too long, becomes one unknown id.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/tokenizer.h"

namespace lowkey {

class WordPiece {
 public:
  // `tokens` [V] must outlive it; of equal ones the last counts. Throws kInvalidArgument for an unknown id that is
  // none.
  WordPiece(const std::vector<std::string>& tokens, const WordPieceRules& rules, const std::string& source);

  // `text` is valid UTF-8.
  void encode(std::string_view text, std::vector<int32_t>* ids) const;

 private:
  using IdByText = std::unordered_map<std::string_view, int32_t>;
  void encode_word(std::string_view word, std::vector<int32_t>* ids) const;

  IdByText first_, later_;  // pieces that begin a word; those that go on in one, without their prefix
  size_t longest_ = 1;      // bytes of the longest of them
  int32_t unknown_;
  int64_t most_symbols_;
};

}  // namespace lowkey
