// RopeConfig: how positions turn queries and keys, and how that is stretched to texts longer than a model was first
// trained for. As in Hugging Face transformers, modeling_rope_utils.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/rope.h"

namespace lowkey {

class Hyperparameters;

// Those from kLlama3 on look at the context before the stretching.
enum class RopeScaling : uint8_t { kNone, kLinear, kLlama3, kYarn, kLongRope };
const char* name(RopeScaling) noexcept;

struct RopeConfig {
  int dims = 0;  // R: coordinates of a head that turn, its first ones; 0: none do
  double base = 10000;
  double window_base = 0;  // in layers with a window, without any scaling; 0: as in the others
  RopeLayout layout = RopeLayout::kHalf;
  RopeScaling scaling = RopeScaling::kNone;
  double factor = 1;         // kLinear: positions are divided by it; kLlama3, kYarn: low frequencies are
  double low = 1, high = 4;  // kLlama3, kYarn: frequencies of fewer turns over the original context than `low` are low
                             // ones, of more than `high` stay; between there is a ramp
  bool truncate = true;      // kYarn: the ramp begins and ends at whole pairs
  int64_t original_context = 0;
  std::vector<float> divisors;        // [R / 2] of the frequencies, or none; kLongRope: for long contexts
  std::vector<float> short_divisors;  // kLongRope: [R / 2], for contexts up to the original one
  float amplitude = 1;                // kYarn, kLongRope: of the turned coordinates

  // Positions that the scaling alone promises: kYarn: factor times the original ones; 0: it says nothing.
  int64_t reach() const noexcept;
};

// Where a config.json has the scaling: rope_scaling or, since Transformers 5, rope_parameters.
inline constexpr const char* kRopeObjects[] = {"rope_scaling", "rope_parameters"};

// Sets what a file says of the scaling. context: positions of the model. Throws kUnsupported for a kind that is not
// among RopeScaling, kCorruptFile for values of another type.
void read_scaling(const Hyperparameters&, int64_t context, RopeConfig&);

// What YaRN multiplies queries and keys by when they are stretched by `factor` (Peng et al. 2023, eq. 22; weighted as
// DeepSeek does, 0: not).
double yarn_amplitude(double factor, double weight = 0, double weight_of_all = 0);

enum class RopeReach : uint8_t { kLong, kShort, kWindow };
// [R / 2] inverse frequencies with the scaling applied; kShort: of contexts up to the original one, under kLongRope;
// kWindow: of layers with a window.
std::vector<float> inverse_frequencies(const RopeConfig&, RopeReach reach = RopeReach::kLong);

}  // namespace lowkey
