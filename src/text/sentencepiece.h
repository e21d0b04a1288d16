// SentencePiece: cuts text into the pieces of a vocabulary (Llama-2, Mistral, Phi-3, Gemma). Spaces become "▁" and a
// text gets one before it; symbols join into pieces, the best first; what no piece has is spelled in byte tokens.
// Differs from byte-level BPE in its alphabet, symbols for bytes, so the joining itself is Bpe's. Of vocabularies of
// the unigram kind (T5, LLM-jp) the pieces are chosen by Unigram instead.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/bpe.h"
#include "text/charsmap.h"
#include "text/tokenizer.h"
#include "text/unigram.h"

namespace lowkey {

inline constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // "▁", U+2581

class SentencePiece {
 public:
  struct Scratch {
    Bpe::Scratch bpe;
    Unigram::Scratch unigram;
  };

  // Joins by `merges`, or without any by the scores in spec.sentencepiece, which must be there.
  // Throws kInvalidArgument (no token for a byte, as many scores as tokens, ...).
  SentencePiece(const TokenizerSpec& spec, std::vector<Bpe::Merge> merges);

  // What is done to a text between tokens that are matched whole: characters are rewritten, spaces stripped and, unless
  // late, marked. `first`: it begins the whole text.
  std::string normalize(std::string_view text, bool first) const;
  // And to what is left of that between tokens matched after normalising.
  std::string prepare(std::string_view text, bool first) const;
  // Cuts prepared text.
  void encode(std::string_view text, Scratch* scratch, std::vector<int32_t>* ids) const;

  // What a token decodes to: "▁" is a space, "<0x0A>" a byte.
  std::string decoded(std::string_view token) const;

 private:
  void find_byte_tokens(const TokenizerSpec&);
  std::string rewritten(std::string_view text) const;
  void append_symbol(std::string_view bytes, char32_t value, Bpe::Scratch* scratch) const;
  void join_word(std::string_view word, Bpe::Scratch* scratch, std::vector<int32_t>* ids) const;
  void cut_word(std::string_view word, Unigram::Scratch* scratch, std::vector<int32_t>* ids) const;
  void encode_word(std::string_view word, Scratch* scratch, std::vector<int32_t>* ids) const;

  SentencePieceRules rules_;  // without scores and charsmap
  Charsmap charsmap_;
  std::unordered_map<char32_t, int32_t> symbols_;
  std::array<int32_t, 256> byte_ids_{};
  Bpe bpe_;
  Unigram unigram_;  // instead
};

}  // namespace lowkey
