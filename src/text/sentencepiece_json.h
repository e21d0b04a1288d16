// The parts of a tokenizer.json of SentencePiece's kind (Llama-2, Mistral, Phi-3, Gemma) beside vocabulary and merges.
#pragma once

#include "text/json_field.h"
#include "text/tokenizer.h"

namespace lowkey {

// Whether `root`, a tokenizer.json of type BPE, is of this kind and not byte-level.
bool is_sentencepiece(const JsonField& root);
// Needs the vocabulary in spec->tokens. Throws kCorruptFile, kUnsupported.
void read_sentencepiece(const JsonField& root, TokenizerSpec* spec);

}  // namespace lowkey
