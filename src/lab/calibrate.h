// calibrate: one pass of a model over texts, to a Calibration (attention/calibration.h). The texts are joined, split
// at NUL bytes into documents (perplexity.h says how), and read in windows of consecutive tokens; with fewer tokens
// asked for than there are, the windows lie evenly over all of them. Keys turn with position: beyond the length of the
// windows what was learned ranks worse.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "attention/calibration.h"
#include "attention/fit_calibration.h"
#include "model/model.h"
#include "text/tokenizer.h"

namespace lowkey {

struct CalibrateText {
  std::string name;
  std::string text;
};

struct CalibrateOptions {
  int64_t tokens = 0;      // to read, rounded up to whole windows; 0: all
  int64_t context = 0;     // tokens a window; 0: what the model was trained for, at most 16384
  int64_t sample = 8192;   // keys of each head kept for codebooks
  int skip_first = 16;     // positions of each window that are not counted: attention sinks are unlike other keys
  int chunk = 512;         // tokens a step
  bool statistics = true;  // keep them in the result, so that it merges with others
  std::string tool;        // for the file
  FitOptions fit;
};

// What the callback throws ends the job. `stage`: "reading" counts tokens, "fitting" layers.
using CalibrateProgress = std::function<void(const char* stage, int64_t done, int64_t total)>;

// Throws kInvalidArgument (too few tokens, options out of range).
Calibration calibrate(const Context&, const Model&, const Tokenizer&, std::span<const CalibrateText>,
                      const CalibrateOptions&, const CalibrateProgress&);

// One calibration from the statistics of several, as if all their texts had been read at once (but for the choice of
// the sampled keys). Throws kInvalidArgument when one has none or they are of different models.
Calibration merge_calibrations(const Context&, std::span<const Calibration>, const CalibrateOptions&,
                               const CalibrateProgress&);

}  // namespace lowkey
