// SentencePiece's own file, tokenizer.model: a protocol buffer with pieces, scores and kinds.
#pragma once

#include <string>
#include <string_view>

#include "text/tokenizer.h"

namespace lowkey {

// A file of SentencePiece begins with the mark of its first piece, which no other format called tokenizer.model does.
inline bool is_sentencepiece(std::string_view bytes) noexcept { return bytes.starts_with('\n'); }

// With, if not empty, tokenizer_config.json: tokens added to the vocabulary, which of bos and eos are added, and
// whether a space goes before a text. Throws kCorruptFile, kUnsupported.
TokenizerSpec parse_sentencepiece(std::string_view bytes, std::string_view config_json, const std::string& source);

}  // namespace lowkey
