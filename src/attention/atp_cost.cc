#include "attention/atp_cost.h"

namespace lowkey {
namespace {

constexpr double kMostOfDirect = 0.8;
double product(int64_t rows, int64_t depth, int64_t outputs) {
  return 2. * static_cast<double>(rows) * static_cast<double>(depth) * static_cast<double>(outputs);
}

}  // namespace

double LinearCost::direct() const noexcept { return product(tokens, width, outputs); }

double LinearCost::factored() const noexcept { return product(rank, width, outputs) + product(tokens, rank, outputs); }

// Three passes over X, the products of the projections, and the turn into principal directions.
double factor_cost(int64_t tokens, int64_t width, int64_t rank) noexcept {
  return 3 * product(tokens, width, rank) + 1.5 * product(tokens, rank, rank);
}

bool factored_pays(const LinearCost& c) noexcept { return c.factored() <= kMostOfDirect * c.direct(); }

bool factor_pays_for_itself(const LinearCost& c) noexcept {
  return c.factored() + factor_cost(c.tokens, c.width, c.rank) <= kMostOfDirect * c.direct();
}

}  // namespace lowkey
