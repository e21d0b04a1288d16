// lowkey run with an encoder: texts to embeddings, or to classes.
#pragma once

#include "apps/cli/options.h"

namespace lowkey::cli {

struct EmbedOptions {
  CommonOptions common;
  PromptOptions prompt;       // the file holds a text a line, -p is one more
  std::string pool;           // "": what the model's files say, or, with a classifier, classes
  int64_t context = 0;        // most tokens of a text; 0: what the model's files say
  bool parse_special = true;  // "[MASK]" in a text is the token
};

// Throws kInvalidArgument when an option was given to `verb` that only makes sense where text is generated.
void refuse_generation(const CLI::App& verb);

void embed(const EmbedOptions&);

}  // namespace lowkey::cli
