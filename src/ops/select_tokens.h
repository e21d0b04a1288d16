// select_tokens: for each row of keys (score_index.h) the tokens to read: the first `sink`, the last `recent`, and of
// those between the ones with the highest keys. No sorting: the threshold is found by counting, so the list comes out
// in the order of tokens.
#pragma once

#include <cstdint>
#include <span>

#include "base/context.h"
#include "base/view.h"
#include "ops/attention_decode.h"

namespace lowkey {

struct SelectBudget {
  int64_t most = 0;   // tokens chosen besides sink and recent, at most; >= 1
  int64_t least = 0;  // with share < 1: at least
  int64_t sink = 0, recent = 0;
  // Below 1: only as many as are needed (from `least` to `most`) for the chosen, sink and recent tokens together to
  // hold this share of the sum of 2^key over all tokens.
  float share = 1;
};

struct SelectTokensArgs {
  View keys;                              // [N, S_max] f32, NaN-free
  std::span<const int64_t> lengths;       // [N], 1 <= length <= S_max
  std::span<const SelectBudget> budgets;  // [N]
  std::span<int32_t*> ids;                // [N] out: room for min(length, most + sink + recent) ids, ascending
  std::span<TokenList> lists;             // [N] out: {ids, count}, or {null, length} when every token is taken
};

// Ties go to the lower id, so every backend returns the same set for the same keys. Throws kInvalidArgument.
void select_tokens(const Context&, const SelectTokensArgs&);

namespace ref {
void select_tokens(const SelectTokensArgs&) noexcept;  // sorts
}

}  // namespace lowkey
