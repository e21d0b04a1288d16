// The tokenizer of a GGUF file.
#pragma once

#include "formats/gguf.h"
#include "text/tokenizer.h"

namespace lowkey {

// Throws kCorruptFile, kUnsupported.
TokenizerSpec tokenizer_spec(const Gguf&);

}  // namespace lowkey
