// What a GGUF file says about a model beside its weights, under llama.cpp's names: hyperparameters and tokenizer.
#pragma once

#include <filesystem>

#include "base/dtype.h"
#include "formats/gguf_writer.h"
#include "model/config.h"
#include "text/tokenizer.h"

namespace lowkey {

void set_hyperparameters(GgufWriter&, const ModelConfig&);
// Ids from spec.tokens.size() up to `vocabulary` are marked unused. Throws kCorruptFile when there are more tokens.
void set_tokenizer(GgufWriter&, const TokenizerSpec&, int vocabulary);
// All of it, for a Hugging Face folder: the tokenizer as load_tokenizer finds it.
// Throws kNotFound, kCorruptFile, kUnsupported.
void set_metadata(GgufWriter&, const ModelConfig&, const std::filesystem::path& folder, DType weights);

}  // namespace lowkey
