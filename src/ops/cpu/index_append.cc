// A tile's tokens share bytes (i and i + 32), so a piece of work is one tile of one KV head.
#include "ops/index_append.h"

#include <algorithm>

#include "base/error.h"
#include "ops/check_index.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ops/cpu/index_append.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "ops/cpu/rotate-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lowkey {
namespace HWY_NAMESPACE {
namespace {

// The entry nearest to rest [width], which is taken away from it. Distances are compared without their last 4 bits:
// the number of the entry takes their place, so that one minimum finds both and ties go to the lower one.
int encode(const IndexNibble& nibble, float* rest) {
  const hn::CappedTag<float, 16> d;
  const hn::RebindToUnsigned<decltype(d)> du;
  const int lanes = static_cast<int>(hn::Lanes(d));
  auto best = hn::Set(du, ~0u);
  for (int e = 0; e < 16; e += lanes) {
    auto distance = hn::Zero(d);
    for (int c = 0; c < nibble.width; ++c) {
      const auto difference = hn::Sub(hn::LoadU(d, nibble.entries + c * 16 + e), hn::Set(d, rest[c]));
      distance = hn::MulAdd(difference, difference, distance);
    }
    const auto bits = hn::AndNot(hn::Set(du, 15), hn::BitCast(du, distance));
    best = hn::Min(best, hn::Or(bits, hn::Iota(du, static_cast<uint32_t>(e))));
  }
  const int nearest = static_cast<int>(hn::GetLane(hn::MinOfLanes(du, best)) & 15);
  for (int c = 0; c < nibble.width; ++c) rest[c] -= nibble.entries[c * 16 + nearest];
  return nearest;
}

// tile: 32 bytes per nibble; z: [R], used up.
void encode_token(const IndexHead& head, float* z, std::byte* tile, int64_t in_tile) {
  const int shift = in_tile < 32 ? 0 : 4;
  std::byte* at = tile + in_tile % 32;
  for (const IndexNibble& nibble : head.nibbles) {
    const auto code = static_cast<std::byte>(encode(nibble, z + nibble.begin));
    *at = (*at & (std::byte{0xf0} >> shift)) | (code << shift);
    at += 32;
  }
}

// Tokens [begin, end) of the sequence, all of one tile. work: [4 D + 5 R + 4].
void append_tile(const IndexAppendArgs& a, int h, int64_t begin, int64_t end, float* work) {
  const IndexHead& head = a.index.heads[static_cast<size_t>(h)];
  const int64_t dim = a.kv.head_dim, rows = head.rotation.dim(0), first = a.kv.length - a.k.dim(0);
  float *centred = work, *rotated = work + 4 * dim, *z = rotated + 4 * (rows + 1);
  std::byte* tile = a.kv.plane_page(a.plane, h, begin / a.kv.page_tokens) +
                    begin % a.kv.page_tokens / kIndexTileTokens *
                        KeyIndex::page_bytes(static_cast<int>(head.nibbles.size()), kIndexTileTokens);
  for (int64_t t = begin; t < end; t += 4) {
    const int64_t count = std::min<int64_t>(4, end - t);
    const float* x[4];
    for (int64_t i = 0; i < 4; ++i) {
      x[i] = centred + std::min(i, count - 1) * dim;
      if (i >= count) continue;
      const float* k = a.k.f32_row((t + i - first) * a.kv.kv_heads + h);
      for (int64_t c = 0; c < dim; ++c) centred[i * dim + c] = k[c] - head.mean[c];
    }
    rotate_4(head.rotation, x, rotated);
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t r = 0; r < rows; ++r) z[r] = rotated[4 * r + i];
      encode_token(head, z, tile, (t + i) % kIndexTileTokens);
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace lowkey
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lowkey {
namespace {

HWY_EXPORT(append_tile);

void check(const IndexAppendArgs& a) {
  check_index("index_append", a.index, a.kv, a.plane);
  LK_REQUIRE(a.k.rank == 3 && a.k.dtype == DType::kF32 && a.k.dim(1) == a.kv.kv_heads && a.k.dim(2) == a.kv.head_dim,
             kInvalidArgument, "[index_append] {}, must be f32 [T, {}, {}]", a.k.describe(), a.kv.kv_heads,
             a.kv.head_dim);
  LK_REQUIRE(a.k.dim(0) <= a.kv.length, kInvalidArgument, "[index_append] {} keys, length={}: at most length",
             a.k.dim(0), a.kv.length);
}

}  // namespace

void index_append(const Context& context, const IndexAppendArgs& a) {
  check(a);
  const int64_t first = a.kv.length - a.k.dim(0);
  const int64_t first_tile = first / kIndexTileTokens;
  const int64_t tiles = (a.kv.length + kIndexTileTokens - 1) / kIndexTileTokens - first_tile;
  const int64_t floats = 4 * a.kv.head_dim + 5 * a.index.heads[0].rotation.dim(0) + 4 + 16;  // a cache line apart
  Scratch::Frame frame(context.scratch);
  auto* work = frame.take<float>(context.threads.count() * floats);
  const auto kernel = HWY_DYNAMIC_DISPATCH(append_tile);
  context.threads.dynamic(a.kv.kv_heads * tiles, [&](int64_t i, int thread) {
    const int64_t at = (first_tile + i % tiles) * kIndexTileTokens;
    kernel(a, static_cast<int>(i / tiles), std::max(at, first), std::min(at + kIndexTileTokens, a.kv.length),
           work + thread * floats);
  });
}

}  // namespace lowkey
#endif
