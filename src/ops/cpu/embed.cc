#include "ops/embed.h"

#include "base/error.h"
#include "ops/cpu/share_rows.h"
#include "ops/quantize.h"

namespace lowkey {

void embed(const Context& context, const EmbedArgs& a) {
  const auto tokens = static_cast<int64_t>(a.ids.size());
  LK_REQUIRE(a.out.dtype == DType::kF32 && a.out.rows() == tokens && a.out.columns() == a.table.columns(),
             kInvalidArgument, "[embed] out {}, must be f32[{}, {}]", a.out.describe(), tokens, a.table.columns());
  for (int64_t t = 0; t < tokens; ++t) {
    LK_REQUIRE(a.ids[t] >= 0 && a.ids[t] < a.table.rows(), kInvalidArgument,
               "[embed] id={}, must be in [0, {}) (token {})", a.ids[t], a.table.rows(), t);
  }
  share_rows(context.threads, tokens, a.table.columns(), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      dequantize_row(a.table.dtype, a.table.row(a.ids[t]), a.out.f32_row(t), a.table.columns());
    }
  });
}

}  // namespace lowkey
