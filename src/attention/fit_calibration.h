// fit_calibration: statistics of keys to bases, bits and codebooks. The recipe of calibration, all in one place; what
// was tried and what it was worth: docs/decisions/calibration.md.
#pragma once

#include <functional>

#include "attention/calibration.h"
#include "base/context.h"

namespace lowkey {

struct FitOptions {
  std::vector<int> codebook_bits{32, 64, 96, 128, 192, 256};  // those that a head has room for; none: no codebooks
  std::vector<BasisKind> codebook_bases{kBasisKinds.begin(), kBasisKinds.end()};
  int rounds = 25;  // of Lloyd's, at most
};

// Fills the numbers of a calibration; model, texts and the like are the caller's. Codebooks need a sample in the
// statistics. progress(done, total), if any, runs after each layer; what it throws ends the job.
Calibration fit_calibration(const Context&, const KeyStatistics&, const FitOptions&,
                            const std::function<void(int64_t done, int64_t total)>& progress);

}  // namespace lowkey
