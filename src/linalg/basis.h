// Bases for the keys of a head: coordinates in which few numbers say most of a key, or of a score q . k.
//
//   pca       the principal directions of the keys: orthogonal, the first R of them keep the most variance (Loki,
//             lemma 4.2). Queries are rotated alike.
//   balanced  keys and queries in coordinates where both have the same diagonal second moment L: the first R keep the
//             most of E (q . k)^2. With Sq^1/2 Sk^1/2 = U L V^T: key = L^1/2 V^T Sk^-1/2, query = L^1/2 U^T Sq^-1/2,
//             so that query^T key = 1 and no score changes.
//   weighted  between the two: the principal directions of keys in the metric of a power of the queries' moment. With
//             P = Sq^power: key = V^T P, query = V^T P^-1, V the principal directions of P (k - mean). Power 0 is pca.
//   mixed     the principal directions of two covariances together, each in units of its trace: orthogonal.
#pragma once

#include <span>
#include <vector>

namespace lowkey {

struct Basis {
  std::vector<double> key;       // [D, D], a direction a row: z = key (k - mean)
  std::vector<double> query;     // [D, D]: u = query q, with u . z = q . (k - mean)
  std::vector<double> spectrum;  // [D] descending, >= 0: the variance of each coordinate of z
};

// covariance: [D, D], symmetric. The sign of a row: its largest number is positive. Throws kInvalidArgument (a size
// that is no square, NaN, infinity).
Basis pca(std::span<const double> covariance);

// Both [D, D], symmetric: the covariance of the keys, the second moment of the queries. Directions without variance
// get a millionth of the mean one, so that the inverses exist. Throws kInvalidArgument as pca does.
Basis balanced_basis(std::span<const double> key_covariance, std::span<const double> query_moment);

// power: 0 to 1/2. Small moments are raised to 1e-4 of the mean one. Throws kInvalidArgument as pca does.
Basis weighted_basis(std::span<const double> key_covariance, std::span<const double> query_moment, double power);

// The spectrum is that of `covariance` alone, by which the rows are ordered. Throws kInvalidArgument as pca does.
Basis mixed_basis(std::span<const double> covariance, std::span<const double> other);

// How many of the first numbers of a spectrum hold this share of its sum: rank@90 is rank_at(spectrum, 0.9).
int rank_at(std::span<const double> spectrum, double share);

// The diagonal of rows moment rows^T, [D]: the second moment of each coordinate after the rotation `rows`.
std::vector<double> diagonal_moment(std::span<const double> rows, std::span<const double> moment);

}  // namespace lowkey
