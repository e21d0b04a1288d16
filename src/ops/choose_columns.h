// choose_columns: the coordinates of a query group that score_columns reads.
#pragma once

#include <cstdint>

namespace lowkey {

// q: [heads, dim] f32 of one KV head; columns: room for dim, out the first `count` of them, ascending: those with the
// largest sum of |q| over the heads, ties to the lower one; sums: room for dim.
void choose_columns(const float* q, int heads, int dim, int count, int32_t* columns, float* sums) noexcept;
// sqrt(|q|_1 / |q[columns]|_1) of one head, [dim]: what the missing coordinates would have added to its scores.
float column_temperature(const float* q, int dim, const int32_t* columns, int count) noexcept;

}  // namespace lowkey
