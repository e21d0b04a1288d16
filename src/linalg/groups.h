// Coordinates in groups of unequal width, each to be coded by one choice among 16 entries.
#pragma once

#include <span>
#include <vector>

namespace lowkey {

// What a code of 16 entries fitted to Gaussian numbers of these variances (descending) loses, about: 4 bits shared by
// reverse water-filling with real bits, times what so few entries lose against that, found by fitting.
double group_distortion(std::span<const double> variances);

// The widths of `groups` neighbouring groups from the first coordinate on, such that the sum of what they lose, and of
// the variances of the coordinates left over at the end, is least. A dynamic programme; widths are 1 to 16. variances:
// [D], descending. Throws kInvalidArgument unless 1 <= groups <= D.
std::vector<int> group_coordinates(std::span<const double> variances, int groups);

}  // namespace lowkey
