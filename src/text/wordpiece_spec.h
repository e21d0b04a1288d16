// The files that define a WordPiece tokenizer. What would change the ids and is not known here is refused.
#pragma once

#include <string>
#include <string_view>

#include "text/json_field.h"
#include "text/tokenizer.h"

namespace lowkey {

// The rules of a tokenizer.json whose model is WordPiece, and the special tokens around a text; spec->tokens is filled.
// Throws kCorruptFile, kUnsupported.
void read_wordpiece(const JsonField& root, TokenizerSpec* spec);

// BERT's own vocab.txt, a token a line, with, if not empty, tokenizer_config.json (do_lower_case and the like).
// Throws kCorruptFile, kUnsupported.
TokenizerSpec parse_wordpiece_vocabulary(std::string_view text, std::string_view config_json,
                                         const std::string& source);

}  // namespace lowkey
