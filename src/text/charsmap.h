// Charsmap: SentencePiece's table of how characters are rewritten before a text is cut (precompiled_charsmap; mostly
// NFKC and some of its own). A length in 4 bytes, the double array of a trie (darts-clone) of so many bytes, and what
// its keys become, each ended by a zero.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lowkey {

class Charsmap {
 public:
  Charsmap() = default;  // rewrites nothing
  // Throws kCorruptFile; `source` names the file.
  Charsmap(std::string_view bytes, const std::string& source);

  // The longest key at each place, as SentencePiece. What is invalid stays as it is.
  std::string rewrite(std::string_view text) const;
  // As Hugging Face tokenizers: a grapheme of at most 5 bytes that begins with a key becomes what the shortest such key
  // does; of others each symbol does the same.
  std::string rewrite_graphemes(std::string_view text) const;

 private:
  struct Match {
    size_t size;  // of the key
    std::string_view becomes;
  };
  std::optional<Match> find(std::string_view text, bool longest) const noexcept;
  void append(std::string_view part, std::string* to) const;

  std::vector<uint32_t> units_;
  std::string strings_;
};

}  // namespace lowkey
