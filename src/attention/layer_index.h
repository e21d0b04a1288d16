// LayerIndex: the index of one layer's keys (ops/key_index.h) as a calibration and a few words make it. Owns what the
// op-level views point to.
#pragma once

#include <vector>

#include "attention/calibration.h"
#include "ops/key_index.h"

namespace lowkey {

// How coordinates become nibbles:
//   kPq    codebooks of the calibration, N bits a key
//   kBits  uniform quantisers of water-filled bits, N bits a key; needs no fitting
//   kSign  one bit a coordinate: +- the mean size of it
//   kInt8, kInt4   the first `dims` coordinates, uniform quantisers of 8 or 4 bits each
enum class IndexCodes : uint8_t { kPq, kBits, kSign, kInt8, kInt4 };

// What the bits of kBits follow: the variance of keys, or that of scores, which weighs a coordinate as queries do and
// so loses least of a score on average, but more of those that matter.
enum class BitsFollow : uint8_t { kKeys, kScores };

struct IndexSpec {
  IndexCodes codes = IndexCodes::kPq;
  int bits = 128;  // N of kPq and kBits, a multiple of 4
  int dims = 0;    // of kSign, kInt8 and kInt4; 0: all D
  BasisKind basis = BasisKind::kPost;
  BitsFollow follow = BitsFollow::kKeys;
};

// Nibbles of a key: N / 4 and the like. Throws kInvalidArgument when the spec asks for what head_dim cannot give.
int index_nibbles(const IndexSpec&, int head_dim);

class LayerIndex {
 public:
  // layout: of the model whose keys will be coded. Throws kInvalidArgument (codebooks that the calibration does not
  // have, and which it has).
  LayerIndex(const Calibration&, int layer, const IndexSpec&, RopeLayout layout);

  KeyIndex index() const noexcept { return {heads_}; }

 private:
  std::vector<std::vector<float>> numbers_;        // rotations, means, entries
  std::vector<std::vector<IndexNibble>> nibbles_;  // [KH]
  std::vector<IndexHead> heads_;                   // [KH]
};

}  // namespace lowkey
