// Llama-3's own vocabulary file, tokenizer.model in the format of tiktoken: a line "BASE64 RANK" for each token.
#pragma once

#include <string>
#include <string_view>

#include "text/tokenizer.h"

namespace lowkey {

// The 256 special tokens follow those of the file, as in Llama-3.1 and later. Throws kCorruptFile. SentencePiece files
// go by the same name (sentencepiece_model.h).
TokenizerSpec parse_tiktoken(std::string_view text, const std::string& source);

}  // namespace lowkey
