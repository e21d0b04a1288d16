// Which special tokens end a generation.
#pragma once

#include "text/tokenizer.h"

namespace lowkey {

// spec.end_ids, spec.eos and the special tokens that end a text or a turn by their well-known names. Ascending.
std::vector<int32_t> find_end_ids(const TokenizerSpec& spec);

}  // namespace lowkey
