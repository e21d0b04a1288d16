// mean_values: the mean of the values of all cached tokens of each row and KV head, from their running sums
// (value_sums.h) and the values of the last page. Floor: those rows must move.
#pragma once

#include <span>

#include "base/context.h"
#include "base/view.h"
#include "ops/value_sums.h"

namespace lowkey {

struct MeanValuesArgs {
  std::span<const KvPages> kv;  // [N], none empty
  int plane;                    // which plane of kv holds the sums
  View means;                   // out [N, KH, D] f32
};

// Throws kInvalidArgument. The result does not depend on the number of threads or on other rows.
void mean_values(const Context&, const MeanValuesArgs&);

namespace ref {
void mean_values(const MeanValuesArgs&) noexcept;  // from all values, in f64
}

}  // namespace lowkey
