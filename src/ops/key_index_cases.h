// The shapes that the operations on a key index are tested on, and an index and a cache with a plane to test them with.
#pragma once

#include <algorithm>
#include <random>
#include <vector>

#include "ops/attention_cases.h"
#include "ops/key_index.h"

namespace lowkey {

struct IndexCase {
  const char* name;
  int heads, kv_heads, dim, rank;  // H, KH, D, R
  std::vector<int> widths;         // of nibbles side by side, repeated until the R coordinates are covered
  bool doubled;                    // each nibble twice on its coordinates: 8 bits
  int page_tokens;
  std::vector<int64_t> lengths;  // of the N rows
};

inline const std::vector<IndexCase>& index_cases() {
  static const std::vector<IndexCase> cases = {
      {"1/1 head of 8, one token", 1, 1, 8, 8, {1}, false, 64, {1}},
      {"2/1 heads of 48, 1 nibble", 2, 1, 48, 5, {5}, false, 64, {130, 64}},
      {"6/2 heads of 64, 8 bits", 6, 2, 64, 16, {1}, true, 64, {300, 1, 65}},
      {"7/1 heads of 96, odd nibbles", 7, 1, 96, 96, {1, 2, 3, 4, 5, 6, 7, 8}, false, 128, {1000, 63}},
      {"32/8 heads of 128, 32 nibbles", 32, 8, 128, 128, {2, 6, 4}, false, 64, {2111}},
      {"4/4 heads of 64, 64 nibbles", 4, 4, 64, 64, {1}, false, 256, {700, 257}},
      {"8/1 heads of 128, 256 nibbles", 8, 1, 128, 128, {1}, true, 128, {513}},
      {"past one run", 4, 1, 64, 33, {3}, false, 64, {9000, 4097}},
  };
  return cases;
}

// Random in all its parts, one set for each KV head. Nothing of what is computed needs a rotation to be one.
class TestIndex {
 public:
  explicit TestIndex(const IndexCase& c, unsigned seed = 5) : heads_(static_cast<size_t>(c.kv_heads)) {
    for (IndexHead& head : heads_) {
      const float deviation = 1.f / std::sqrt(static_cast<float>(c.dim));
      head.rotation = f32_view(take(c.rank * c.dim, ++seed, deviation), {c.rank, c.dim});
      head.query_rotation = f32_view(take(c.rank * c.dim, ++seed, deviation), {c.rank, c.dim});
      head.mean = take(c.dim, ++seed, 1.f);
      auto& nibbles = nibbles_.emplace_back();
      for (int begin = 0; begin < c.rank; begin += nibbles.back().width) {
        const int width = std::min(c.widths[nibbles.size() % c.widths.size()], c.rank - begin);
        const float size = 2.f / (1.f + 4.f * static_cast<float>(begin) / static_cast<float>(c.rank));
        nibbles.push_back({begin, width, take(width * 16, ++seed, size)});
        if (c.doubled) nibbles.push_back({begin, width, take(width * 16, ++seed, size / 16)});
      }
    }
    for (size_t h = 0; h < heads_.size(); ++h) heads_[h].nibbles = nibbles_[h];
  }

  KeyIndex index() const { return {heads_}; }
  std::vector<IndexHead>& heads() { return heads_; }

 private:
  float* take(int64_t n, unsigned seed, float deviation) {
    return numbers_.emplace_back(random_normal(n, seed, deviation)).data();
  }

  std::vector<std::vector<float>> numbers_;
  std::vector<std::vector<IndexNibble>> nibbles_;
  std::vector<IndexHead> heads_;
};

inline constexpr int kTestPlane = 2;

// One sequence, its plane full of random codes. The codes of a token depend on the seed alone, not on the pages.
class IndexedSequence {
 public:
  IndexedSequence(const IndexCase& c, int nibbles, int64_t length, unsigned seed, bool shuffled = false)
      : sequence_({c.name, c.heads, c.kv_heads, c.dim, DType::kF16, c.page_tokens, {}}, length, seed, shuffled),
        kv_(sequence_.kv()) {
    const int64_t pages = (length + c.page_tokens - 1) / c.page_tokens;
    const int64_t bytes = KeyIndex::page_bytes(nibbles, c.page_tokens);
    memory_.resize(static_cast<size_t>(pages * bytes * c.kv_heads));
    kv_.planes[kTestPlane] = {memory_.data(), pages * bytes, bytes};
    std::mt19937 random(seed);
    for (int head = 0; head < c.kv_heads; ++head)
      for (int64_t page = 0; page < pages; ++page)
        std::generate_n(kv_.plane_page(kTestPlane, head, page), bytes,
                        [&] { return static_cast<std::byte>(random()); });
  }
  IndexedSequence(IndexedSequence&&) = default;

  const KvPages& kv() const { return kv_; }
  std::vector<std::byte>& codes() { return memory_; }

 private:
  TestSequence sequence_;
  std::vector<std::byte> memory_;
  KvPages kv_;
};

}  // namespace lowkey
