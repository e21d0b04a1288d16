// The codebooks of one KV head, fitted to its sampled keys: part of fit_calibration.
#pragma once

#include <span>
#include <vector>

#include "attention/calibration.h"
#include "attention/fit_calibration.h"

namespace lowkey {

struct HeadCodebook {
  int bits = 0;
  std::vector<int32_t> order;    // [D]
  std::vector<int32_t> nibbles;  // [N / 4, 2]
  std::vector<float> entries;    // [sum of widths, 16]
};

// One for each of options.codebook_bits that the head has room for. The calibration already holds the head's basis.
std::vector<HeadCodebook> fit_head_codebooks(const KeyStatistics&, const Calibration&, BasisKind, size_t head,
                                             const FitOptions&);

// Those of all heads, [L, KH], as one.
Codebooks join_codebooks(BasisKind, std::span<const HeadCodebook* const>);

}  // namespace lowkey
