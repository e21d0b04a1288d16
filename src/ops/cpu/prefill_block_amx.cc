#include "ops/cpu/prefill_block.h"
namespace lowkey {
int64_t prefill_block_amx_scratch(int64_t rows, int64_t dim) noexcept { return prefill_block_scratch(rows, dim); }
void prefill_block_amx(const PrefillBlock& b) noexcept { prefill_block(b); }
}
