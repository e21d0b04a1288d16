// Nibbles: coordinates packed into codes of 4 bits, each a choice among 16 entries (ops/key_index.h).
//
// A coordinate of 4 bits has a nibble alone; those of fewer share one: 3 + 1, 2 + 2, 2 + 1 + 1, four of 1. One of 5 to
// 8 bits has a nibble alone for the first 4 of them, and its other bits say what that left over.
#pragma once

#include <span>
#include <vector>

namespace lowkey {

struct Nibble {
  int begin = 0;          // the first of its coordinates, counted in the plan's order
  std::vector<int> bits;  // [width] of each of its coordinates, 4 in sum
  bool coarse = false;    // the first 4 bits of a coordinate that has more
};

struct NibblePlan {
  std::vector<int> order;       // [D] coordinates as they will lie; those without bits last
  std::vector<int> bits;        // [D] by coordinate, not by order
  std::vector<Nibble> nibbles;  // the coarse ones first: what they leave over is coded by later ones
};

// bits: [D], each 0 to 8, a multiple of 4 in sum. Two coordinates that would need 3 bits each where nothing is left to
// share their nibbles get 4 and 2, the first of them 4. Throws kInvalidArgument.
NibblePlan plan_nibbles(std::span<const int> bits);

// The entries, [width, 16], of nibble `index`: a uniform quantiser in each coordinate. deviations: [D] standard
// deviation of each coordinate, by coordinate.
std::vector<float> uniform_entries(const NibblePlan&, int index, std::span<const double> deviations);

}  // namespace lowkey
