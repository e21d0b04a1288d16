// What Hugging Face's files say about tokens beside the vocabulary: tokens that are matched whole, and which begin and
// end a text.
#pragma once

#include "text/json_field.h"
#include "text/tokenizer.h"

namespace lowkey {

// The flags of an added token whose id is known: special, normalized, lstrip, rstrip, single_word.
void read_flags(const JsonField& token, int32_t id, TokenizerSpec* spec);
// added_tokens_decoder of tokenizer_config.json, {"32000": {"content": "<|end|>", ...}}: new tokens follow the
// vocabulary without holes, those there already get the flags. Beside a tokenizer.model all are matched before the text
// is normalised, whatever `normalized` says. Throws kCorruptFile.
void read_added_decoder(const JsonField& decoder, TokenizerSpec* spec);
// bos_token, eos_token, add_bos_token and add_eos_token of tokenizer_config.json.
void read_bos_and_eos(const JsonField& config, TokenizerSpec* spec);
// -1: none of that text.
int32_t find_token(const TokenizerSpec& spec, std::string_view text);

}  // namespace lowkey
