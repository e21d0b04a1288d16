// The names of tensors in a calibration file, for its writer and its reader.
#pragma once

#include <fmt/format.h>

#include "attention/calibration.h"

namespace lowkey {

inline constexpr std::string_view kCalibrationFormat = "lowkey-calibration-1";
inline constexpr int kCalibrationEntries = 16;

inline std::string tensor_prefix(BasisKind kind) { return fmt::format("{}.", name(kind)); }
inline std::string tensor_prefix(BasisKind kind, int bits) { return fmt::format("{}.pq{}.", name(kind), bits); }

}  // namespace lowkey
