// load_tokenizer: the tokenizer of a model, wherever the model keeps it.
#pragma once

#include <filesystem>

#include "text/tokenizer.h"

namespace lowkey {

// `path` is a .gguf file, a Hugging Face folder (tokenizer.json, BERT's vocab.txt or a tokenizer.model, SentencePiece's
// or Llama-3's) or one of these files. Throws kNotFound, kCorruptFile, kUnsupported.
Tokenizer load_tokenizer(const std::filesystem::path& path);

}  // namespace lowkey
