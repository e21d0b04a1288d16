#include "kv/cache.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <numeric>

#include "base/error.h"

namespace lowkey {
namespace {

int64_t pages_for(int64_t tokens, int page_tokens) { return (tokens + page_tokens - 1) / page_tokens; }

void check_shape(const KvShape& s) {
  LK_REQUIRE(s.layers >= 1 && s.kv_heads >= 1 && s.head_dim >= 1, kInvalidArgument,
             "[kv] layers={} kv_heads={} head_dim={}, all must be >= 1", s.layers, s.kv_heads, s.head_dim);
  LK_REQUIRE(s.dtype == DType::kF16 || s.dtype == DType::kBF16 || s.dtype == DType::kF32 || has_scales(s.dtype),
             kUnsupported, "[kv] type {}, must be f16, bf16, f32, i8 or i8i4", name(s.dtype));
  LK_REQUIRE(s.dtype != DType::kI8I4 || s.head_dim % 16 == 0, kUnsupported,
             "[kv] head_dim={}, must be a multiple of 16 for keys in 8 bits and values in 4", s.head_dim);
  LK_REQUIRE(s.page_tokens >= 1 && std::has_single_bit(static_cast<unsigned>(s.page_tokens)), kInvalidArgument,
             "[kv] page_tokens={}, must be a power of two", s.page_tokens);
  constexpr int64_t kMaxTokens = int64_t{1} << 31;  // token ids are 32-bit
  LK_REQUIRE(s.max_tokens >= 1 && s.max_tokens < kMaxTokens, kInvalidArgument, "[kv] max_tokens={}, must be 1 to {}",
             s.max_tokens, kMaxTokens - 1);
  LK_REQUIRE(s.plane_bytes.size() <= KvPages::kMaxPlanes, kInvalidArgument, "[kv] {} planes, must be <= {}",
             s.plane_bytes.size(), KvPages::kMaxPlanes);
  for (int64_t bytes : s.plane_bytes)
    LK_REQUIRE(bytes >= 1 && bytes < (int64_t{1} << 30), kInvalidArgument, "[kv] a plane of {} bytes a page", bytes);
}

}  // namespace

KvCache::KvCache(const KvShape& shape) : shape_(shape) {
  check_shape(shape);
  total_pages_ = pages_for(shape.max_tokens, shape.page_tokens);
  memory_ = HugeBuffer(static_cast<size_t>(bytes_per_token() * shape.page_tokens * total_pages_));
  constexpr auto kLine = static_cast<int64_t>(kCacheLine);
  for (int64_t& bytes : shape_.plane_bytes) {
    bytes = (bytes + kLine - 1) / kLine * kLine;
    planes_.emplace_back(static_cast<size_t>(bytes * total_pages_ * shape.layers * shape.kv_heads));
  }
  free_.resize(static_cast<size_t>(total_pages_));
  std::iota(free_.begin(), free_.end(), 0);  // ascending is a valid min-heap
}

KvCache::SequenceId KvCache::open() {
  const auto closed = std::find_if(sequences_.begin(), sequences_.end(), [](const Sequence& s) { return !s.open; });
  const auto id = static_cast<SequenceId>(closed - sequences_.begin());
  if (closed == sequences_.end()) sequences_.emplace_back();
  sequences_[id].open = true;
  return id;
}

void KvCache::close(SequenceId id) {
  truncate(id, 0);
  sequences_[id].open = false;
}

bool KvCache::grow(SequenceId id, int64_t count) {
  LK_REQUIRE(count >= 0, kInvalidArgument, "[kv] count={}, must be >= 0", count);
  sequence(id);
  Sequence& s = sequences_[id];
  const int64_t more = pages_for(s.length + count, shape_.page_tokens) - static_cast<int64_t>(s.table.size());
  if (more > static_cast<int64_t>(free_.size())) return false;
  for (int64_t i = 0; i < more; ++i) {
    std::pop_heap(free_.begin(), free_.end(), std::greater<>());
    s.table.push_back(free_.back());
    free_.pop_back();
  }
  s.length += count;
  return true;
}

void KvCache::truncate(SequenceId id, int64_t length) {
  sequence(id);
  Sequence& s = sequences_[id];
  LK_REQUIRE(length >= 0 && length <= s.length, kInvalidArgument, "[kv] length={}, must be 0 to {}", length, s.length);
  LK_REQUIRE(s.evicted == 0 || length == 0 || length == s.length, kInvalidArgument,
             "[kv] length={} after an eviction, must be 0 or {}", length, s.length);
  if (length == 0) s.evicted = 0;
  shrink(s, length);
}

void KvCache::evict(SequenceId id, int64_t length) {
  sequence(id);
  Sequence& s = sequences_[id];
  LK_REQUIRE(length >= 0 && length <= s.length, kInvalidArgument, "[kv] length={}, must be 0 to {}", length, s.length);
  s.evicted += s.length - length;
  shrink(s, length);
}

void KvCache::shrink(Sequence& s, int64_t length) {
  const auto keep = static_cast<size_t>(pages_for(length, shape_.page_tokens));
  while (s.table.size() > keep) {
    free_.push_back(s.table.back());
    std::push_heap(free_.begin(), free_.end(), std::greater<>());
    s.table.pop_back();
  }
  s.length = length;
}

int64_t KvCache::length(SequenceId id) const { return sequence(id).length; }

int64_t KvCache::position(SequenceId id) const { return sequence(id).length + sequence(id).evicted; }

int64_t KvCache::free_tokens() const noexcept { return static_cast<int64_t>(free_.size()) * shape_.page_tokens; }

KvPages KvCache::pages(SequenceId id, int layer) const {
  const Sequence& s = sequence(id);
  LK_REQUIRE(layer >= 0 && layer < shape_.layers, kInvalidArgument, "[kv] layer={}, must be 0 to {}", layer,
             shape_.layers - 1);
  KvPages pages;
  pages.table = s.table.data();
  pages.length = s.length;
  pages.page_tokens = shape_.page_tokens;
  pages.kv_heads = shape_.kv_heads;
  pages.head_dim = shape_.head_dim;
  pages.dtype = shape_.dtype;
  pages.head_stride = total_pages_ * pages.page_bytes();
  pages.base = memory_.data() + layer * shape_.kv_heads * pages.head_stride;
  for (size_t i = 0; i < planes_.size(); ++i) {
    KvPlane& plane = pages.planes[i];
    plane.page_bytes = shape_.plane_bytes[i];
    plane.head_stride = total_pages_ * plane.page_bytes;
    plane.base = planes_[i].data() + layer * shape_.kv_heads * plane.head_stride;
  }
  return pages;
}

int64_t KvCache::bytes_per_token() const noexcept {
  return kv_row_bytes(shape_.dtype, shape_.head_dim) * shape_.layers * shape_.kv_heads;
}

int64_t KvCache::plane_bytes_per_token() const noexcept {
  const int64_t bytes = std::accumulate(shape_.plane_bytes.begin(), shape_.plane_bytes.end(), int64_t{0});
  return bytes * shape_.layers * shape_.kv_heads / shape_.page_tokens;
}

int64_t KvCache::reserved_bytes() const noexcept {
  size_t bytes = memory_.size();
  for (const HugeBuffer& plane : planes_) bytes += plane.size();
  return static_cast<int64_t>(bytes);
}

const KvCache::Sequence& KvCache::sequence(SequenceId id) const {
  LK_REQUIRE(id >= 0 && id < static_cast<SequenceId>(sequences_.size()) && sequences_[id].open, kInvalidArgument,
             "[kv] sequence {} is not open", id);
  return sequences_[id];
}

void KvCache::check_integrity() const {
  std::vector<int> owners(static_cast<size_t>(total_pages_));
  for (int32_t page : free_) ++owners[static_cast<size_t>(page)];
  for (const Sequence& s : sequences_) {
    for (int32_t page : s.table) ++owners[static_cast<size_t>(page)];
    LK_REQUIRE(static_cast<int64_t>(s.table.size()) == pages_for(s.length, shape_.page_tokens), kInternal,
               "[kv] {} pages for {} tokens", s.table.size(), s.length);
    LK_REQUIRE(s.open || s.length + s.evicted == 0, kInternal, "[kv] a closed sequence holds {} tokens", s.length);
  }
  for (size_t page = 0; page < owners.size(); ++page)
    LK_REQUIRE(owners[page] == 1, kInternal, "[kv] page {} has {} owners", page, owners[page]);
}

}  // namespace lowkey
