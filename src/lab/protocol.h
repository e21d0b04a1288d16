// protocol: how a method is judged on a text that is read as a prompt.
//
//   decode  every position selects from its own past, with a budget that is a part of that past: as in decoding, where
//           methods work. The harder one, and what this project's figures are.
//   block   the budget is a part of the whole block (window) for each of its positions, so that the first ones read
//           everything: how the papers evaluate (Loki's and H2O's code). k = 1/4 reads 59.7 % of an average row.
#pragma once

#include <cstdint>

#include "attention/spec.h"

namespace lowkey {

enum class Protocol { kDecode, kBlock };

// "decode", "block". Throws kInvalidArgument naming the two.
Protocol parse_protocol(std::string_view word);

// The spec as it is judged in a block of so many tokens: every row selects, at every length; under kBlock parts of the
// length (k, kmin, recent, heavy; h2o's too) are counts of the block's. Throws kInvalidArgument as the method does.
AttentionSpec judged_spec(const AttentionSpec&, Protocol, int64_t block);

}  // namespace lowkey
