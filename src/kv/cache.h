// KvCache: the keys and values of many sequences, in pages of one pool. It stores bytes and decides
// nothing: which tokens to read is the method's business.
//
// Layout: for each layer and KV head one region of all pages, in order of page id; page id p means the same
// place in every region. Side data of a method lies in planes of its own, laid out the same way. Memory is committed
// when first written.
//
// Invariants (check_integrity): 1. free + owned = total pages. 2. No page has two owners.
// 3. A sequence of S tokens owns exactly ceil(S / P) pages.
#pragma once

#include <cstdint>
#include <vector>

#include "base/arena.h"
#include "ops/kv_pages.h"

namespace lowkey {

struct KvShape {
  int layers = 0;
  int kv_heads = 0;
  int head_dim = 0;
  DType dtype = DType::kF16;         // kF16, kBF16, kF32, kI8 or kI8I4
  int page_tokens = 64;              // a power of two
  int64_t max_tokens = 0;            // over all sequences; rounded up to whole pages
  std::vector<int64_t> plane_bytes;  // of each plane, for a page of a KV head; rounded up to cache lines
};

class KvCache {
 public:
  using SequenceId = int;

  // Throws kInvalidArgument for a shape out of range, kOutOfMemory.
  explicit KvCache(const KvShape&);

  SequenceId open();
  void close(SequenceId);  // gives its pages back

  // Adds room for `count` tokens. False, and nothing changed, when the pool has too few free pages.
  bool grow(SequenceId, int64_t count);
  // Drops the last tokens so that `length` remain. After an eviction all or none: which were last is not known.
  void truncate(SequenceId, int64_t length);
  // Keeps the first `length` rows and gives the other pages back, but positions go on: a method has moved the tokens
  // that it wants to keep to the front.
  void evict(SequenceId, int64_t length);

  int64_t length(SequenceId) const;
  int64_t position(SequenceId) const;  // of the next token: length + evicted tokens
  int64_t free_tokens() const noexcept;
  // Valid until the sequence next grows, shrinks or closes.
  KvPages pages(SequenceId, int layer) const;

  const KvShape& shape() const noexcept { return shape_; }
  int64_t bytes_per_token() const noexcept;        // of K and V, over all layers and heads
  int64_t plane_bytes_per_token() const noexcept;  // of all planes, over all layers and heads
  int64_t reserved_bytes() const noexcept;         // address space; resident memory follows use

  void check_integrity() const;  // throws kInternal

 private:
  struct Sequence {
    std::vector<int32_t> table;
    int64_t length = 0;
    int64_t evicted = 0;
    bool open = false;
  };
  const Sequence& sequence(SequenceId) const;
  void shrink(Sequence&, int64_t length);

  KvShape shape_;
  int64_t total_pages_ = 0;
  HugeBuffer memory_;
  std::vector<HugeBuffer> planes_;
  std::vector<int32_t> free_;  // a heap: the lowest id is taken first, so a lone sequence streams
  std::vector<Sequence> sequences_;
};

}  // namespace lowkey
