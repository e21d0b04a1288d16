// truncated_svd: X [T, C] by its R principal directions: X ~ coefficients * directions, the best of its rank. Three
// ways to the same result, for ATP (arXiv 2403.02352), which factorises the input of attention so:
//
//   exact        the eigenvectors of X^T X, in f64. The measure of the others.
//   alternating  one direction after another: u = R v / |v|^2, v = R^T u / |u|^2, R -= u v^T, in turns (the authors'
//                algorithm). 2 passes over R for each turn of each direction.
//   block        all directions at once by subspace iteration from random rows (Halko, Martinsson, Tropp 2011), made
//                orthonormal by CholeskyQR between the products: nearly all of the work is in matmul.
//
// Both that iterate can begin from the directions of another matrix like this one: the text's last piece, or the layer
// before it. All end with the exact decomposition within the space that they found.
#pragma once

#include <cstdint>
#include <vector>

#include "base/context.h"
#include "base/view.h"

namespace lowkey {

enum class SvdWay { kExact, kAlternating, kBlock };

struct SvdOptions {
  SvdWay way = SvdWay::kBlock;
  int64_t rank = 0;        // R at most; >= 1
  double energy = 1;       // (0, 1]: only as many directions as hold this share of |X|^2
  int iterations = 2;      // at most: turns of a direction, or of the block; >= 1
  double tolerance = 0;    // turns end when one has added no more than this share of |X|^2 (of |R|^2, alternating)
  int64_t oversample = 8;  // block: further directions that are dropped in the end
  View start = {};         // [N, C] f32, rows to begin from; the rest are random. None: all are
  uint64_t seed = 1;       // of random rows
};

struct LowRank {
  int64_t rank = 0;                 // R, less than asked for when X has no more; 0 for zeros
  std::vector<float> directions;    // [R, C], orthonormal rows
  std::vector<float> coefficients;  // [T, R] = X directions^T: orthogonal columns, of length spectrum[i]
  std::vector<double> spectrum;     // [R] singular values, descending
  double energy = 0;                // |X|^2, so that what is lost is energy - sum spectrum^2
  int64_t turns = 0;                // that were needed, summed over directions
};

// x: [T, C] f32. Directions with singular values below 1e-6 of the largest are none. The sign of a direction: the sum
// of its coefficients is >= 0. Throws kInvalidArgument (shapes, options out of range, NaN or infinity in x).
LowRank truncated_svd(const Context&, View x, const SvdOptions&);

}  // namespace lowkey
