#include "lab/append_tokens.h"

namespace lowkey {

void append_tokens(const Context& context, const Method& method, const AppendTokensArgs& a) {
  const Projections none;
  Scratch::Frame frame(context.scratch);
  const auto count = static_cast<int32_t>(a.k.dim(0));
  auto* positions = frame.take<int32_t>(count);
  for (int32_t i = 0; i < count; ++i) positions[i] = static_cast<int32_t>(a.kv.length) - count + i;
  method.append({.context = context,
                 .frame = frame,
                 .shape = a.shape,
                 .layer = a.layer,
                 .projections = none,
                 .kv = {&a.kv, 1},
                 .counts = {&count, 1},
                 .positions = {positions, static_cast<size_t>(count)},
                 .inverse_frequency = {},
                 .rope_layout = a.shape.rope_layout},
                {.q = {}, .k = a.k, .v = a.v});
}

}  // namespace lowkey
