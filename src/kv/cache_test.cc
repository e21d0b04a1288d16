#include "kv/cache.h"

#include <gtest/gtest.h>

#include <random>

#include "base/error.h"

namespace lowkey {
namespace {

KvShape small_shape() {
  return {.layers = 2, .kv_heads = 3, .head_dim = 8, .dtype = DType::kF16, .page_tokens = 4, .max_tokens = 64};
}

TEST(KvCache, ALoneSequenceStreams) {
  KvCache cache(small_shape());
  const auto id = cache.open();
  ASSERT_TRUE(cache.grow(id, 64));
  const KvPages pages = cache.pages(id, 1);
  for (int64_t t = 1; t < 64; ++t) EXPECT_EQ(pages.token(2, t) - pages.token(2, t - 1), pages.token_bytes());
  EXPECT_EQ(cache.free_tokens(), 0);
}

TEST(KvCache, RegionsOfLayersAndHeadsDoNotOverlap) {
  KvCache cache(small_shape());
  const auto id = cache.open();
  ASSERT_TRUE(cache.grow(id, 64));
  std::byte* end = nullptr;
  for (int layer = 0; layer < 2; ++layer) {
    for (int head = 0; head < 3; ++head) {
      const KvPages pages = cache.pages(id, layer);
      EXPECT_GE(pages.token(head, 0), end);
      end = pages.token(head, 63) + pages.token_bytes();
    }
  }
  EXPECT_EQ(end - cache.pages(id, 0).base, cache.reserved_bytes());
}

TEST(KvCache, PlanesFollowThePages) {
  KvShape shape = small_shape();
  shape.plane_bytes = {100, 64};
  KvCache cache(shape);
  const auto id = cache.open();
  ASSERT_TRUE(cache.grow(id, 64));
  const std::byte* end[2] = {cache.pages(id, 0).planes[0].base, cache.pages(id, 0).planes[1].base};
  for (int layer = 0; layer < 2; ++layer) {
    const KvPages pages = cache.pages(id, layer);
    for (int head = 0; head < 3; ++head)
      for (int64_t page = 0; page < 16; ++page)
        for (int plane = 0; plane < 2; ++plane) {
          EXPECT_EQ(pages.plane_page(plane, head, page), end[plane]);
          end[plane] += plane == 0 ? 128 : 64;  // whole cache lines
        }
  }
  EXPECT_EQ(cache.plane_bytes_per_token(), (128 + 64) * 2 * 3 / 4);
  shape.plane_bytes.assign(KvPages::kMaxPlanes + 1, 64);
  EXPECT_THROW(KvCache{shape}, Error);
}

TEST(KvCache, PositionsGoOnAfterAnEviction) {
  KvCache cache(small_shape());
  const auto id = cache.open();
  ASSERT_TRUE(cache.grow(id, 30));
  cache.evict(id, 9);
  EXPECT_EQ(cache.length(id), 9);
  EXPECT_EQ(cache.position(id), 30);
  EXPECT_EQ(cache.free_tokens(), 64 - 12);
  cache.check_integrity();
  EXPECT_THROW(cache.truncate(id, 8), Error);
  ASSERT_TRUE(cache.grow(id, 1));
  EXPECT_EQ(cache.position(id), 31);
  cache.truncate(id, 0);
  EXPECT_EQ(cache.position(id), 0);
}

TEST(KvCache, RefusesWhatDoesNotFitAndChangesNothing) {
  KvCache cache(small_shape());
  const auto a = cache.open(), b = cache.open();
  ASSERT_TRUE(cache.grow(a, 61));  // 16 pages
  EXPECT_FALSE(cache.grow(b, 1));
  EXPECT_EQ(cache.length(b), 0);
  EXPECT_TRUE(cache.grow(a, 3));
  EXPECT_FALSE(cache.grow(a, 1));
  cache.close(a);
  EXPECT_TRUE(cache.grow(b, 64));
  cache.check_integrity();
}

TEST(KvCache, RandomOperationsKeepItsInvariants) {
  KvCache cache(small_shape());
  std::mt19937 random(7);
  std::vector<KvCache::SequenceId> open;
  for (int step = 0; step < 5000; ++step) {
    const int action = static_cast<int>(random() % 4);
    if (action == 0 && open.size() < 8) open.push_back(cache.open());
    if (open.empty()) continue;
    const size_t pick = random() % open.size();
    const int64_t length = cache.length(open[pick]);
    if (action == 1 && cache.grow(open[pick], static_cast<int64_t>(random() % 9))) {
      EXPECT_GE(cache.length(open[pick]), length);
    }
    if (action == 2) cache.truncate(open[pick], static_cast<int64_t>(random() % (length + 1)));
    if (action == 3) cache.close(open[pick]), open.erase(open.begin() + static_cast<int64_t>(pick));
    ASSERT_NO_THROW(cache.check_integrity());
  }
}

TEST(KvCache, RefusesNonsense) {
  KvShape shape = small_shape();
  shape.page_tokens = 3;
  EXPECT_THROW(KvCache{shape}, Error);
  shape = small_shape(), shape.dtype = DType::kQ8_0;
  EXPECT_THROW(KvCache{shape}, Error);
  shape = small_shape(), shape.dtype = DType::kI8I4;  // 8 is no multiple of 16
  EXPECT_THROW(KvCache{shape}, Error);
  KvCache cache(small_shape());
  EXPECT_THROW(cache.length(0), Error);
  const auto id = cache.open();
  EXPECT_THROW(cache.truncate(id, 1), Error);
  EXPECT_THROW(cache.pages(id, 2), Error);
  cache.close(id);
  EXPECT_THROW(cache.grow(id, 1), Error);
}

}  // namespace
}  // namespace lowkey
