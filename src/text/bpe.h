// Bpe: byte pair encoding of one piece of text. Two neighbours that have a merge are joined, the best merge first and
// the leftmost of equals, until none is left. A heap finds the best, so a piece of n bytes takes O(n log n).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace lowkey {

class Bpe {
 public:
  struct Merge {
    int32_t left, right, joined;  // ids
    uint32_t rank;                // lower is better; of equals the leftmost comes first
  };
  // What encode() works in; kept by the caller so that pieces share the memory. 20 bytes a byte of the longest piece.
  struct Scratch {
    struct Symbol {
      int32_t id;  // -1: joined into the symbol before it
      uint32_t previous = 0, next = 0;
    };
    std::vector<Symbol> symbols;
    std::vector<uint64_t> heap;  // rank << 32 | position; smallest first
  };

  Bpe() = default;
  // Of two merges of the same pair the later counts. A byte whose id is -1 is left out of what is encoded.
  Bpe(const std::array<int32_t, 256>& byte_ids, const std::vector<Merge>& merges);

  // Needs fewer than 2^32 bytes.
  void encode(std::string_view piece, Scratch* scratch, std::vector<int32_t>* ids) const;
  // The same for symbols that are no bytes: the ids in scratch->symbols.
  void join(Scratch* scratch, std::vector<int32_t>* ids) const;

 private:
  static constexpr uint32_t kNoRank = UINT32_MAX;
  static constexpr uint64_t kNoPair = UINT64_MAX;
  struct Slot {
    uint64_t pair = kNoPair;
    uint32_t rank = kNoRank;
    int32_t joined = -1;
  };
  static uint64_t pair_of(int32_t left, int32_t right) noexcept;
  Slot& slot_of(uint64_t pair) noexcept;
  Slot find(int32_t left, int32_t right) const noexcept;
  void consider(uint32_t position, Scratch* scratch) const;

  std::array<int32_t, 256> byte_ids_{};
  std::vector<Slot> table_{1};  // open addressing, a power of two, at most half full
};

}  // namespace lowkey
