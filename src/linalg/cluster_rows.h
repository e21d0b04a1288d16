// cluster_rows: k-means (Lloyd's rounds) for any number of clusters. The same rows give the same clusters: they begin
// as every n/k-th row.
#pragma once

#include <cstdint>
#include <span>

#include "base/context.h"
#include "base/view.h"

namespace lowkey {

struct ClusterRowsArgs {
  View x;                    // [n, C] f32
  int rounds;                // at most; fewer when none of the rows moves
  View centres;              // out [k, C] f32, k <= n: the means of their rows
  std::span<int32_t> codes;  // [n] out: the cluster of each row; none is empty
};

// Ties go to the lower cluster. A cluster that no row chooses gets the row farthest from its own centre, of a cluster
// of several. Throws kInvalidArgument.
void cluster_rows(const Context&, const ClusterRowsArgs&);

}  // namespace lowkey
