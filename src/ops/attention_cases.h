// The shapes that the attention kernels are tested on, and a small paged cache to test them with. `lowkey bench
// attention` takes its default shapes from the same table.
#pragma once

#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

#include "base/arena.h"
#include "base/isa.h"
#include "ops/kv_append.h"

namespace lowkey {

struct AttentionCase {
  const char* name;
  int heads, kv_heads, dim;  // H, KH, D
  DType dtype;
  int page_tokens;
  std::vector<int64_t> lengths;  // S of each sequence of the batch
};

inline const std::vector<AttentionCase>& attention_cases() {
  static const std::vector<AttentionCase> cases = {
      {"one token", 4, 2, 64, DType::kF16, 16, {1}},
      {"multi-head, odd length", 3, 3, 48, DType::kF32, 16, {37}},
      {"demo model: 6/2 heads of 64", 6, 2, 64, DType::kF16, 64, {300, 1, 65}},
      {"1B: 32/8 heads of 64", 32, 8, 64, DType::kF16, 64, {777}},
      {"8B: 32/8 heads of 128", 32, 8, 128, DType::kBF16, 64, {1030}},
      {"8/1 heads of 80", 8, 1, 80, DType::kBF16, 1, {129, 512}},
      {"5/1 heads of 96, f32", 5, 1, 96, DType::kF32, 16, {200, 3}},
      {"4/4 heads of 256", 4, 4, 256, DType::kF16, 64, {95, 97}},
      {"7/1 heads of 72", 7, 1, 72, DType::kF16, 16, {130}},
      {"20/1 heads of 8: past the heads worked on together", 20, 1, 8, DType::kF32, 1, {70}},
      {"1B, bytes", 32, 8, 64, DType::kI8, 64, {300, 65}},
      {"5/1 heads of 72, bytes", 5, 1, 72, DType::kI8, 16, {129, 1}},
      {"7/1 heads of 128, bytes, past one run", 7, 1, 128, DType::kI8, 64, {601}},
      {"1B, values in 4 bits", 32, 8, 64, DType::kI8I4, 64, {300, 65}},
      {"5/1 heads of 48, values in 4 bits", 5, 1, 48, DType::kI8I4, 16, {129, 1}},
      {"7/1 heads of 128, values in 4 bits, past one run", 7, 1, 128, DType::kI8I4, 64, {601}},
      {"past one run", 2, 1, 128, DType::kF16, 64, {2111}},
      {"f32 past one run", 6, 2, 128, DType::kF32, 64, {600, 257}},
  };
  return cases;
}

// What this machine can run: every test of a kernel runs on all of them.
inline std::vector<Isa> supported_isas() {
  std::vector<Isa> isas;
  for (Isa isa : {Isa::kBaseline, Isa::kAvx2, Isa::kAvx512, Isa::kAmx})
    if (isa <= detected_isa()) isas.push_back(isa);
  return isas;
}

inline std::vector<float> random_normal(int64_t n, unsigned seed, float deviation = 1.f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.f, deviation);
  std::vector<float> x(static_cast<size_t>(n));
  for (float& value : x) value = normal(random);
  return x;
}

// One sequence of random keys and values, its pages in order or shuffled. The numbers depend on the seed alone.
class TestSequence {
 public:
  TestSequence(const AttentionCase& c, int64_t length, unsigned seed, bool shuffled = false)
      : keys_(random_normal(length * c.kv_heads * c.dim, seed)),
        values_(random_normal(length * c.kv_heads * c.dim, seed + 1)) {
    const int64_t pages = (length + c.page_tokens - 1) / c.page_tokens;
    table_.resize(static_cast<size_t>(pages));
    std::iota(table_.begin(), table_.end(), 0);
    if (shuffled) std::shuffle(table_.begin(), table_.end(), std::mt19937(seed));
    kv_.table = table_.data();
    kv_.length = length;
    kv_.page_tokens = c.page_tokens;
    kv_.kv_heads = c.kv_heads;
    kv_.head_dim = c.dim;
    kv_.dtype = c.dtype;
    kv_.head_stride = pages * kv_.page_bytes();
    memory_ = HugeBuffer(static_cast<size_t>(kv_.head_stride * c.kv_heads));
    kv_.base = memory_.data();
    store();
  }
  TestSequence(TestSequence&&) = default;

  const KvPages& kv() const { return kv_; }
  std::vector<float>& keys() { return keys_; }      // [S, KH, D]
  std::vector<float>& values() { return values_; }  // [S, KH, D]
  // Writes keys() and values() into the pages.
  void store() {
    const View k{keys_.data(), DType::kF32, {kv_.length, kv_.kv_heads, kv_.head_dim}};
    const View v{values_.data(), DType::kF32, {kv_.length, kv_.kv_heads, kv_.head_dim}};
    ref::kv_append({.k = k, .v = v, .kv = kv_});
  }

 private:
  std::vector<float> keys_, values_;
  std::vector<int32_t> table_;
  HugeBuffer memory_;
  KvPages kv_;
};

}  // namespace lowkey
