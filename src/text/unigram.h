// Unigram: cuts a text into the pieces whose scores, logarithms of probabilities, have the highest sum (Kudo 2018), by
// Viterbi over the ends of symbols. A symbol that is no piece may stand alone, for less than any piece.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace lowkey {

class Unigram {
 public:
  using Pieces = std::vector<std::pair<std::string_view, int32_t>>;  // text, not empty, and id; no text twice
  struct Cut {
    int32_t id;  // -1: a symbol that is no piece
    uint32_t begin, end;
  };
  // Kept by the caller so that texts share the memory: 24 bytes a byte of the longest.
  struct Scratch {
    struct Best {
      double score;
      int32_t id;
      uint32_t begin;
      bool reached;
    };
    std::vector<Best> best;  // way to each byte
    std::vector<Cut> cuts;
  };

  Unigram() = default;
  // scores: [V], finite. narrow: sums are rounded to f32 after each piece, as SentencePiece does; Hugging Face and
  // llama.cpp have f64. Near ties turn on it.
  Unigram(Pieces pieces, const std::vector<double>& scores, bool narrow);

  // Of equal sums the way whose last piece is the longer. Cuts are in scratch->cuts. Needs fewer than 2^32 bytes.
  void cut(std::string_view text, Scratch* scratch) const;

 private:
  struct Node {  // of a trie of bytes, those of one parent side by side, ascending
    uint32_t children = 0;
    uint16_t count = 0;
    uint8_t byte = 0;
    int32_t id = -1;
  };
  void build_trie(const Pieces& pieces);                    // sorted
  uint32_t child(uint32_t node, char byte) const noexcept;  // 0: none

  std::vector<Node> nodes_{1};
  std::vector<double> scores_;
  double unknown_score_ = 0;
  bool narrow_ = false;
};

}  // namespace lowkey
