// perplexity: exp of the mean negative log-likelihood of a text under a model, in windows.
//
// The token stream: the text is split at NUL bytes into documents; each document is BOS (if the model has one) and its
// tokens; documents follow one another. Windows are the consecutive pieces of `context` tokens from the start of the
// stream (a shorter last piece is left out). With fewer windows asked for than there are, window i of M is piece
// floor(i * pieces / M). Every token of a window but the first is scored, given those before it in the window.
// Windows are read in chunks, as prompts are: of a method that reads prompts whole nothing is seen (with_every_row).
// With a method that evicts they are read a token at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "model/model.h"
#include "text/tokenizer.h"

namespace lowkey {

struct PerplexityOptions {
  int64_t context = 2048;  // tokens a window, >= 2
  int64_t windows = 0;     // 0: all
  int chunk = 512;         // tokens a step
  DType kv_type = DType::kF16;
};

struct PerplexityResult {
  double perplexity = 0;
  std::vector<double> window_nll;  // [M] mean negative log-likelihood, in nats
  int64_t scored_tokens = 0;
  double seconds = 0;
};

// Throws kInvalidArgument when the text is shorter than a window. `progress` runs after each step; false ends the run
// early (the result covers the whole windows done).
PerplexityResult perplexity(const Context&, const Model&, const Tokenizer&, const Method&, std::string_view text,
                            const PerplexityOptions&, const std::function<bool(int64_t done, int64_t total)>& progress);

// The token stream described above.
std::vector<int32_t> document_tokens(const Tokenizer&, std::string_view text);

// Where the windows described above begin in a stream of so many tokens; windows = 0: all of them. Throws
// kInvalidArgument when the stream is shorter than one.
std::vector<int64_t> window_begins(int64_t stream_tokens, int64_t context, int64_t windows);

}  // namespace lowkey
