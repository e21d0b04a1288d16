#include "base/arena.h"

#include <sys/mman.h>

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace lowkey {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kScratchBlock = size_t{4} << 20;  // least size of a scratch block

size_t round_up(size_t n, size_t multiple) { return (n + multiple - 1) / multiple * multiple; }

}  // namespace

HugeBuffer::HugeBuffer(size_t bytes) : size_(bytes) {
  if (bytes == 0) return;
  const bool huge = bytes >= kHugePage;
  mapped_ = round_up(bytes, 4096) + (huge ? kHugePage : 0);
  mapping_ = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  LK_REQUIRE(mapping_ != MAP_FAILED, kOutOfMemory, "[memory] the system refused {} bytes", bytes);
  const auto address = reinterpret_cast<uintptr_t>(mapping_);
  data_ = reinterpret_cast<std::byte*>(huge ? round_up(address, kHugePage) : address);
  if (huge) madvise(data_, bytes, MADV_HUGEPAGE);  // a hint: small pages work as well, only slower
}

HugeBuffer::~HugeBuffer() {
  if (mapping_ != nullptr) munmap(mapping_, mapped_);
}

HugeBuffer::HugeBuffer(HugeBuffer&& other) noexcept { *this = std::move(other); }

HugeBuffer& HugeBuffer::operator=(HugeBuffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(mapping_, other.mapping_);
  std::swap(mapped_, other.mapped_);
  return *this;
}

void* Scratch::take(size_t bytes) {
  bytes = round_up(std::max<size_t>(bytes, 1), kCacheLine);
  while (block_ < blocks_.size() && used_ + bytes > blocks_[block_].size()) ++block_, used_ = 0;
  if (block_ == blocks_.size()) blocks_.emplace_back(std::max(bytes, kScratchBlock)), used_ = 0;
  void* p = blocks_[block_].data() + used_;
  used_ += bytes;
  return p;
}

size_t Scratch::capacity() const noexcept {
  size_t total = 0;
  for (const HugeBuffer& block : blocks_) total += block.size();
  return total;
}

}  // namespace lowkey
