// The door of attention_prefill and the sharing of its work: blocks of query rows (prefill_block.h), the last ones,
// which see most keys, first.
#include "ops/attention_prefill.h"

#include <algorithm>

#include "base/error.h"
#include "base/isa.h"
#include "ops/check_kv.h"
#include "ops/cpu/prefill_block.h"

namespace lowkey {
namespace {

void check(const AttentionPrefillArgs& a) {
  check_kv("attention_prefill", a.kv);
  LK_REQUIRE(a.q.rank == 3 && a.q.dtype == DType::kF32 && a.q.dim(0) >= 1, kInvalidArgument,
             "[attention_prefill] q={}, must be f32 [T, H, D] with T >= 1", a.q.describe());
  LK_REQUIRE(!a.causal || a.q.dim(0) <= a.kv.length, kInvalidArgument,
             "[attention_prefill] q={}, must have T <= {}, the keys", a.q.describe(), a.kv.length);
  LK_REQUIRE(a.out.dtype == DType::kF32 && a.out.rank == 3 && a.out.shape == a.q.shape, kInvalidArgument,
             "[attention_prefill] out={}, must be shaped as q={}", a.out.describe(), a.q.describe());
  LK_REQUIRE(a.window >= 0 && a.cap >= 0 && (a.causal || a.window == 0), kInvalidArgument,
             "[attention_prefill] window={} cap={}, must be >= 0, and no window unless causal", a.window, a.cap);
  LK_REQUIRE(
      !a.log2_sums || (a.window == 0 && a.cap == 0 && a.log2_sums.dtype == DType::kF32 && a.log2_sums.rank == 2 &&
                       a.log2_sums.dim(0) == a.q.dim(0) && a.log2_sums.dim(1) == a.q.dim(1)),
      kInvalidArgument, "[attention_prefill] log2_sums={}, must be f32 [T, H] of q={}, without window or cap",
      a.log2_sums.describe(), a.q.describe());
  LK_REQUIRE(a.kv.head_dim == a.q.dim(2) && a.q.dim(1) % a.kv.kv_heads == 0, kInvalidArgument,
             "[attention_prefill] q={} against {} KV heads of {}", a.q.describe(), a.kv.kv_heads, a.kv.head_dim);
}

// Rows of a block: many, for every block converts all its keys, but few enough that each thread gets some blocks.
// A row's result does not depend on the block it is in.
int64_t block_rows(int64_t rows, int64_t kv_heads, int threads) {
  constexpr int64_t kMost = 192, kFewest = 32;  // the operands of 192 rows take half of a 512 KiB L2 cache
  constexpr int64_t kBlocksPerThread = 4;
  int64_t block = kMost;
  while (block > kFewest && (rows + block - 1) / block * kv_heads < kBlocksPerThread * threads) block -= kFewest;
  return block;
}

}  // namespace

void attention_prefill(const Context& context, const AttentionPrefillArgs& a) {
  check(a);
  const bool amx = active_isa() == Isa::kAmx && a.kv.dtype != DType::kF32 && a.cap == 0;
  const int64_t kv_heads = a.kv.kv_heads, rows = a.q.dim(0) * a.q.dim(1) / kv_heads;
  const int64_t block = block_rows(rows, kv_heads, context.threads.count()), blocks = (rows + block - 1) / block;
  const int64_t bytes = amx ? prefill_block_amx_scratch(block, a.q.dim(2)) : prefill_block_scratch(block, a.q.dim(2));
  const int64_t part = (bytes + static_cast<int64_t>(kCacheLine) - 1) / kCacheLine * kCacheLine;
  Scratch::Frame frame(context.scratch);
  auto* scratch = frame.take<std::byte>(part * context.threads.count());
  context.threads.dynamic(blocks * kv_heads, [&](int64_t i, int thread) {
    const int64_t begin = (blocks - 1 - i / kv_heads) * block;
    const PrefillBlock work{.args = &a,
                            .head = static_cast<int>(i % kv_heads),
                            .begin = begin,
                            .end = std::min(begin + block, rows),
                            .scratch = scratch + thread * part};
    amx ? prefill_block_amx(work) : prefill_block(work);
  });
}

}  // namespace lowkey
