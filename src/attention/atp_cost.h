// atp_cost: whether a linear layer of T tokens is cheaper through a factor of its inputs. With X = U X', U [T, R] and
// X' [R, C], X W^T is U (X' W^T): R rows through the weights, and then each token from R numbers in place of C.
#pragma once

#include <cstdint>

namespace lowkey {

struct LinearCost {
  int64_t tokens;   // T
  int64_t width;    // C
  int64_t rank;     // R
  int64_t outputs;  // N

  double direct() const noexcept;    // operations of X W^T
  double factored() const noexcept;  // of U (X' W^T), the factor being there
};

// Of the factor: block subspace iteration as linalg/truncated_svd.h has it, one turn from random rows.
double factor_cost(int64_t tokens, int64_t width, int64_t rank) noexcept;

// When the factor is there anyway. Two products are less efficient than one, so it must save a fifth.
bool factored_pays(const LinearCost&) noexcept;

// When a factor would have to be made for this layer alone, as for the feed forward part, whose inputs are not those of
// attention.
bool factor_pays_for_itself(const LinearCost&) noexcept;

}  // namespace lowkey
