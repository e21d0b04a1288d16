// What calibrate and inspect show of a calibration.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "attention/calibration.h"

namespace lowkey::cli {

nlohmann::json calibration_facts(const Calibration&);
// A line per layer: coordinates that hold 90 % of the variance, in the first three bases, by KV head.
void print_ranks(const Calibration&);

}  // namespace lowkey::cli
