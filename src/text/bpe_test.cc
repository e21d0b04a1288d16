#include "text/bpe.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace lowkey {
namespace {

std::array<int32_t, 256> identity() {
  std::array<int32_t, 256> ids{};
  for (int i = 0; i < 256; ++i) ids[i] = i;
  return ids;
}

// The definition: again and again, join the leftmost of the best pairs.
std::vector<int32_t> by_definition(const std::vector<Bpe::Merge>& merges, std::string_view piece) {
  std::map<std::pair<int32_t, int32_t>, size_t> ranks;
  for (size_t i = 0; i < merges.size(); ++i) ranks[{merges[i].left, merges[i].right}] = i;
  std::vector<int32_t> ids;
  for (char byte : piece) ids.push_back(static_cast<uint8_t>(byte));
  while (true) {
    size_t best = merges.size(), at = 0;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      auto found = ranks.find({ids[i], ids[i + 1]});
      if (found != ranks.end() && found->second < best) best = found->second, at = i;
    }
    if (best == merges.size()) return ids;
    ids[at] = merges[best].joined;
    ids.erase(ids.begin() + static_cast<ptrdiff_t>(at) + 1);
  }
}

std::vector<int32_t> encode(const Bpe& bpe, std::string_view piece) {
  Bpe::Scratch scratch;
  std::vector<int32_t> ids;
  bpe.encode(piece, &scratch, &ids);
  return ids;
}

TEST(Bpe, EqualsItsDefinitionOnRandomMerges) {
  std::mt19937 random(1);
  for (int round = 0; round < 50; ++round) {
    std::vector<std::string> texts(256);
    for (int i = 0; i < 256; ++i) texts[i] = std::string(1, static_cast<char>(i));
    std::vector<int32_t> alphabet = {'a', 'b', 'c'};
    std::map<std::string, int32_t> by_text;
    std::vector<Bpe::Merge> merges;
    for (int i = 0; i < 30; ++i) {
      int32_t left = alphabet[random() % alphabet.size()], right = alphabet[random() % alphabet.size()];
      std::string joined = texts[left] + texts[right];
      if (!by_text.emplace(joined, static_cast<int32_t>(texts.size())).second) continue;
      merges.push_back({left, right, static_cast<int32_t>(texts.size()), static_cast<uint32_t>(merges.size())});
      alphabet.push_back(static_cast<int32_t>(texts.size()));
      texts.push_back(joined);
    }
    const Bpe bpe(identity(), merges);
    for (int i = 0; i < 50; ++i) {
      std::string piece;
      for (size_t n = random() % 40; piece.size() < n;) piece.push_back("abcd"[random() % 4]);
      EXPECT_EQ(encode(bpe, piece), by_definition(merges, piece)) << piece;
    }
  }
}

TEST(Bpe, OfTheSamePairTheLaterMergeCounts) {
  const Bpe bpe(identity(), {{'a', 'b', 300, 0}, {'b', 'c', 301, 1}, {'a', 'b', 302, 2}});
  EXPECT_EQ(encode(bpe, "abc"), (std::vector<int32_t>{'a', 301}));
  EXPECT_EQ(encode(bpe, "ab"), (std::vector<int32_t>{302}));
}

// Quadratic time would take an hour here.
TEST(Bpe, ALongPieceTakesAboutLinearTime) {
  const Bpe bpe(identity(), {{'a', 'a', 300, 0}, {300, 300, 301, 1}, {301, 301, 302, 2}});
  EXPECT_EQ(encode(bpe, std::string(size_t{1} << 20, 'a')).size(), size_t{1} << 17);
}

}  // namespace
}  // namespace lowkey
