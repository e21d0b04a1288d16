#include "model/layers.h"

#include "ops/add.h"
#include "ops/layernorm.h"
#include "ops/matmul.h"
#include "ops/rmsnorm.h"

namespace lowkey {

void Linear::apply(const Context& context, View x, View out) const {
  matmul(context, {x, weight, out});
  if (!bias.empty()) add(context, {out, vector_view(bias)});
}

void Norm::apply(const Context& context, View x, View out) const {
  if (bias.empty()) return rmsnorm(context, {x, vector_view(gain), epsilon, out});
  layernorm(context, {x, vector_view(gain), vector_view(bias), epsilon, out});
}

}  // namespace lowkey
