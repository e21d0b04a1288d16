// perplexity: exp of the mean negative log-likelihood of a text under a model, in windows.
//
// The token stream: the text is split at NUL bytes into documents; each document is BOS (if the model has one) and its
// tokens; documents follow one another. Windows of `context` tokens begin every `stride` tokens from the start of the
// stream (what no window reaches is left out). With fewer windows asked for than there are, window i of M is that at
// floor(i * windows / M). Scored are the last `stride` tokens of a window, given those before them in it; of the window
// at the start of the stream, and of windows that do not overlap, every token but the first.
// Windows are read in chunks, as prompts are: of a method that reads prompts whole nothing is seen (with_every_row).
// With a method to which steps matter they are read a token at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "lab/units.h"
#include "model/model.h"
#include "text/tokenizer.h"

namespace lowkey {

struct PerplexityOptions {
  int64_t context = 2048;  // tokens a window, >= 2
  int64_t stride = 0;      // tokens from a window to the next, at most `context`; 0: `context`
  int64_t windows = 0;     // 0: all
  int chunk = 512;         // tokens a step
  DType kv_type = DType::kF16;
};

struct WindowScore {
  double nll = 0;      // mean of the scored tokens, nats
  int64_t tokens = 0;  // scored
  double seconds = 0;
};

struct PerplexityResult {
  double perplexity = 0;
  std::vector<double> window_nll;      // [M] mean negative log-likelihood, in nats
  std::vector<int64_t> window_tokens;  // [M] scored
  int64_t scored_tokens = 0;
  double seconds = 0;
};

// Runs after each step; false ends the run early (the result covers the whole windows done).
using PerplexityProgress = std::function<bool(int64_t done, int64_t total)>;

// Throws kInvalidArgument when the stream is shorter than a window, or an option out of range. Units: the windows,
// their method is 0.
PerplexityResult perplexity(const Context&, const Model&, const Method&, std::span<const int32_t> stream,
                            const PerplexityOptions&, const PerplexityProgress&, const Units<WindowScore>& = {});
// The same of a text.
PerplexityResult perplexity(const Context&, const Model&, const Tokenizer&, const Method&, std::string_view text,
                            const PerplexityOptions&, const PerplexityProgress&);

// The token stream described above.
std::vector<int32_t> document_tokens(const Tokenizer&, std::string_view text);

// Where the windows described above begin in a stream of so many tokens; windows = 0: all of them, stride = 0:
// `context`. Throws kInvalidArgument when the stream is shorter than one.
std::vector<int64_t> window_begins(int64_t stream_tokens, int64_t context, int64_t windows, int64_t stride = 0);

}  // namespace lowkey
