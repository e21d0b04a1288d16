#include "ops/select_tokens.h"

#include "base/error.h"

namespace lowkey {
namespace {

void check(const SelectTokensArgs& a) {
  const size_t rows = a.lengths.size();
  LK_REQUIRE(a.keys.rank == 2 && a.keys.dtype == DType::kF32 && a.keys.dim(0) == static_cast<int64_t>(rows),
             kInvalidArgument, "[select_tokens] keys={}, must be f32 [{}, S]", a.keys.describe(), rows);
  LK_REQUIRE(a.budgets.size() == rows && a.ids.size() == rows && a.lists.size() == rows, kInvalidArgument,
             "[select_tokens] {} budgets, {} id arrays, {} lists for {} rows", a.budgets.size(), a.ids.size(),
             a.lists.size(), rows);
  for (size_t n = 0; n < rows; ++n) {
    const SelectBudget& b = a.budgets[n];
    LK_REQUIRE(a.lengths[n] >= 1 && a.lengths[n] <= a.keys.dim(1), kInvalidArgument,
               "[select_tokens] length={}, must be 1 to {} (row {})", a.lengths[n], a.keys.dim(1), n);
    LK_REQUIRE(b.most >= 1 && b.least >= 0 && b.least <= b.most, kInvalidArgument,
               "[select_tokens] least={}, most={}, must be 0 <= least <= most, 1 <= most (row {})", b.least, b.most, n);
    LK_REQUIRE(b.sink >= 0 && b.recent >= 0, kInvalidArgument,
               "[select_tokens] sink={}, recent={}, must be >= 0 (row {})", b.sink, b.recent, n);
    LK_REQUIRE(b.share > 0, kInvalidArgument, "[select_tokens] share={}, must be > 0 (row {})", b.share, n);
    LK_REQUIRE(a.ids[n] != nullptr, kInvalidArgument, "[select_tokens] nowhere to write the ids (row {})", n);
  }
}

}  // namespace

void select_tokens(const Context&, const SelectTokensArgs& a) {
  check(a);
  ref::select_tokens(a);
}

}  // namespace lowkey
