// bench_attention: how long the attention of one layer takes, decoding and reading a prompt, beside what the memory
// gives in the same minute.
//
// Decoding goes through as many layers in turn as fill half a gigabyte, as a model does, so that no context is
// timed out of the caches; figures are per layer.
#pragma once

#include <cstdint>
#include <vector>

#include "base/context.h"
#include "base/dtype.h"

namespace lowkey {

struct BenchAttentionOptions {
  int heads = 32, kv_heads = 8, head_dim = 128;  // H, KH, D
  DType kv_type = DType::kF16;
  int page_tokens = 64;
  std::vector<int64_t> contexts = {4096, 8192, 32768};  // S
  int repetitions = 7;                                  // >= 1; the median counts, probe and kernel in turn
  int64_t prompt_chunk = 512;                           // T of a prompt step
};

// Throws kInvalidArgument for a shape or context out of range.
void check_bench_attention(const BenchAttentionOptions&);

struct BenchAttentionResult {
  int64_t context = 0;                // S
  double seconds = 0;                 // of one layer and token (decode) or chunk (prefill): the median
  double fastest = 0, slowest = 0;    // seconds, the spread
  int64_t bytes = 0;                  // of K and V that must be read
  double flops = 0;                   // multiplications and additions of both products
  double probe_bytes_per_second = 0;  // DRAM reads, the median of the same run
  double bytes_per_second() const { return static_cast<double>(bytes) / seconds; }
  double share_of_probe() const { return bytes_per_second() / probe_bytes_per_second; }
  double flops_per_second() const { return flops / seconds; }
};

// One result per context, in their order. Throw kInvalidArgument for a shape or context out of range, kOutOfMemory.
std::vector<BenchAttentionResult> bench_attention_decode(const Context&, const BenchAttentionOptions&);
// A chunk of prompt_chunk tokens that ends at S.
std::vector<BenchAttentionResult> bench_attention_prefill(const Context&, const BenchAttentionOptions&);

}  // namespace lowkey
