// softmax: each row to exp(x - max) / sum, in place. For sampling and scoring; attention has its own, online one.
#pragma once

#include "base/context.h"
#include "base/view.h"

namespace lowkey {

struct SoftmaxArgs {
  View x;                   // [N, V] f32, changed in place
  float temperature = 1.f;  // > 0; scores are divided by it first
};

void softmax(const Context&, const SoftmaxArgs&);

// log(sum(exp(row))) of each row of x [N, V] into out [N] f32, sums in f64 across lanes' partial sums.
void logsumexp(const Context&, View x, View out);

namespace ref {
void softmax(const SoftmaxArgs&) noexcept;
void logsumexp(View x, View out) noexcept;
}  // namespace ref

}  // namespace lowkey
