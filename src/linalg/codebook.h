// Codebooks of 16 entries, fitted to points by k-means (Lloyd's rounds).
#pragma once

#include <cstdint>
#include <span>

namespace lowkey {

inline constexpr int kCodebookEntries = 16;

// points: [width, n], coordinate by coordinate, so that many points are compared at once.
struct CodebookPoints {
  std::span<const float> values;  // [width, n]
  int64_t n = 0;
  int width = 0;
};

// codes: [n] out, the nearest of entries [width, 16] to each point (the lower one of two as near). Returns the mean
// squared distance.
double nearest_entries(const CodebookPoints&, std::span<const float> entries, std::span<int32_t> codes);

// entries [width, 16] out: points that lie far from one another, each drawn with a chance that grows with the square of
// its distance to those before it (k-means++, Arthur and Vassilvitskii 2007). The same seed draws the same.
void seed_codebook(const CodebookPoints&, uint64_t seed, std::span<float> entries);

// Moves entries [width, 16] from where they start to where Lloyd's rounds take them: at most `rounds`, fewer when a
// round gains less than a ten-thousandth. An entry that no point chooses goes to the point farthest from its own,
// one a round.
// codes: [n] out, those of the fitted entries. Returns the mean squared distance.
double fit_codebook(const CodebookPoints&, int rounds, std::span<float> entries, std::span<int32_t> codes);

}  // namespace lowkey
