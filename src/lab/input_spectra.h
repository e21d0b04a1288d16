// input_spectra: how low-rank the inputs of attention are: the singular values of X [S, C], what a layer's projections
// read (after the norm) of the first S tokens of a text, for each layer and several S. The premise of ATP.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "model/encoder.h"
#include "model/model.h"

namespace lowkey {

struct InputSpectrum {
  int layer;
  int64_t tokens;                       // S
  std::vector<double> singular_values;  // [min(S, C)] descending
  std::vector<double> centred;          // the same of X less its mean row
};

// The model reads the text with dense attention. lengths: ascending, the last at most tokens.size(). Layers of a length
// come together, lengths in order. after_step(tokens read) false: ends it, with what is done. Throws kInvalidArgument.
std::vector<InputSpectrum> input_spectra(const Context&, const Model&, std::span<const int32_t> tokens,
                                         std::span<const int64_t> lengths,
                                         const std::function<bool(int64_t tokens)>& after_step);
// The same of an encoder, which reads the first S tokens as a text of its own. lengths: each at most its context.
std::vector<InputSpectrum> input_spectra(const Context&, const Encoder&, std::span<const int32_t> tokens,
                                         std::span<const int64_t> lengths);

}  // namespace lowkey
