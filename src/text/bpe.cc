#include "text/bpe.h"

#include <algorithm>
#include <bit>
#include <functional>

namespace lowkey {
namespace {

constexpr uint32_t kNoSymbol = UINT32_MAX;

size_t mix(uint64_t pair) noexcept {
  pair *= 0x9E3779B97F4A7C15;
  return static_cast<size_t>(pair ^ pair >> 32);
}

}  // namespace

uint64_t Bpe::pair_of(int32_t left, int32_t right) noexcept {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

Bpe::Bpe(const std::array<int32_t, 256>& byte_ids, const std::vector<Merge>& merges)
    : byte_ids_(byte_ids), table_(std::bit_ceil(2 * merges.size() + 2)) {
  for (const Merge& merge : merges) {
    uint64_t pair = pair_of(merge.left, merge.right);
    slot_of(pair) = {pair, merge.rank, merge.joined};
  }
}

// The slot of the pair, or the empty one where it would go.
Bpe::Slot& Bpe::slot_of(uint64_t pair) noexcept {
  size_t mask = table_.size() - 1, at = mix(pair) & mask;
  while (table_[at].pair != pair && table_[at].pair != kNoPair) at = (at + 1) & mask;
  return table_[at];
}

Bpe::Slot Bpe::find(int32_t left, int32_t right) const noexcept {
  return const_cast<Bpe*>(this)->slot_of(pair_of(left, right));
}

// Pushes the merge of the symbol at `position` with its right neighbour, if there is one.
void Bpe::consider(uint32_t position, Scratch* scratch) const {
  const Scratch::Symbol& left = scratch->symbols[position];
  if (left.next == kNoSymbol) return;
  uint32_t rank = find(left.id, scratch->symbols[left.next].id).rank;
  if (rank == kNoRank) return;
  scratch->heap.push_back(static_cast<uint64_t>(rank) << 32 | position);
  std::push_heap(scratch->heap.begin(), scratch->heap.end(), std::greater<>());
}

void Bpe::encode(std::string_view piece, Scratch* scratch, std::vector<int32_t>* ids) const {
  scratch->symbols.clear();
  for (char byte : piece)
    if (const int32_t id = byte_ids_[static_cast<uint8_t>(byte)]; id >= 0) scratch->symbols.push_back({id});
  join(scratch, ids);
}

void Bpe::join(Scratch* scratch, std::vector<int32_t>* ids) const {
  auto& symbols = scratch->symbols;
  auto& heap = scratch->heap;
  const uint32_t n = static_cast<uint32_t>(symbols.size());
  heap.clear();
  for (uint32_t i = 0; i < n; ++i) {
    symbols[i].previous = i == 0 ? kNoSymbol : i - 1;
    symbols[i].next = i + 1 == n ? kNoSymbol : i + 1;
  }
  for (uint32_t i = 0; i < n; ++i) consider(i, scratch);

  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    uint32_t rank = static_cast<uint32_t>(heap.back() >> 32), position = static_cast<uint32_t>(heap.back());
    heap.pop_back();
    Scratch::Symbol& left = symbols[position];
    if (left.id < 0 || left.next == kNoSymbol) continue;
    Scratch::Symbol& right = symbols[left.next];
    // An entry is out of date when the pair there has another rank now; of the same rank it is as good as new.
    Slot slot = find(left.id, right.id);
    if (slot.rank != rank) continue;
    left.id = slot.joined;
    right.id = -1;
    left.next = right.next;
    if (left.next != kNoSymbol) symbols[left.next].previous = position;
    consider(position, scratch);
    if (left.previous != kNoSymbol) consider(left.previous, scratch);
  }
  for (uint32_t i = 0; i != kNoSymbol && n > 0; i = symbols[i].next) ids->push_back(symbols[i].id);
}

}  // namespace lowkey
