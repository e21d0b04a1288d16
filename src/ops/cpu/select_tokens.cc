#include "ops/select_tokens.h"

#include <algorithm>

#include "base/error.h"
#include "ops/cpu/select_row.h"

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

void select_tokens(const Context& context, const SelectTokensArgs& a) {
  check(a);
  if (a.lengths.empty()) return;
  const int64_t room = select_room(*std::max_element(a.lengths.begin(), a.lengths.end()));
  const auto shares = [](const SelectBudget& b) { return b.share < 1; };
  const bool weighs = std::any_of(a.budgets.begin(), a.budgets.end(), shares);
  const int threads = context.threads.count();
  Scratch::Frame frame(context.scratch);
  auto* candidates = frame.take<int32_t>(threads * room);
  auto* candidate_keys = frame.take<float>(threads * room);
  auto* weights = weighs ? frame.take<float>(threads * room) : nullptr;
  context.threads.dynamic(static_cast<int64_t>(a.lengths.size()), [&](int64_t i, int thread) {
    const auto n = static_cast<size_t>(i);
    a.lists[n] = select_row({.keys = a.keys.f32_row(i),
                             .length = a.lengths[n],
                             .budget = &a.budgets[n],
                             .ids = a.ids[n],
                             .candidates = candidates + thread * room,
                             .candidate_keys = candidate_keys + thread * room,
                             .weights = weights ? weights + thread * room : nullptr});
  });
}

}  // namespace lowkey
