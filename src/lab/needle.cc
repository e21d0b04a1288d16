#include "lab/needle.h"

#include <algorithm>
#include <iterator>
#include <random>

#include "base/error.h"

namespace lowkey {
namespace {

constexpr std::string_view kNouns[] = {
    "harbour", "lantern", "violin", "cathedral", "orchard", "compass", "merchant", "glacier", "falcon",
    "cellar",  "bridge",  "garden", "engine",    "mirror",  "kettle",  "saddle",   "anchor",  "chapel",
    "forest",  "ledger",  "candle", "museum",    "tunnel",  "meadow",  "castle",   "printer", "wagon",
    "theatre", "harvest", "island", "pepper",    "copper",  "marble",  "velvet",   "thunder", "willow",
    "canyon",  "basket",  "dragon", "needle",    "pilot",   "river",   "summit",   "temple"};

// Neither our text nor a stranger's book may smuggle in control tokens.
std::vector<int32_t> encode(const Tokenizer& tokenizer, std::string_view text, bool add_bos) {
  return tokenizer.encode(text, {.add_bos = add_bos, .parse_special = false});
}

std::string statement(const Needle& needle) {
  return fmt::format("\n\nRemember this: the secret code of the {} is {}.\n\n", needle.noun, needle.code);
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

std::vector<double> even_depths(int count) {
  std::vector<double> depths;
  for (int i = 0; i < count; ++i) depths.push_back((i + 0.5) / count);
  return depths;
}

std::vector<Needle> draw_needles(int count, uint64_t seed) { return draw_needles(even_depths(count), 0, seed); }

std::vector<Needle> draw_needles(std::span<const double> depths, int distractors, uint64_t seed) {
  constexpr int kMost = static_cast<int>(std::size(kNouns));
  LK_REQUIRE(distractors >= 0, kInvalidArgument, "[needle] distractors={}, must be >= 0", distractors);
  const size_t count = depths.size() + static_cast<size_t>(distractors);
  LK_REQUIRE(!depths.empty() && count <= kMost, kInvalidArgument,
             "[needle] {} codes and {} distractors, must be 1 to {} together", depths.size(), distractors, kMost);
  std::vector<double> places(depths.begin(), depths.end());
  for (double depth : even_depths(distractors)) places.push_back(depth);
  // The generator's own output is the same on every platform; std's distributions and shuffle are not.
  std::mt19937_64 random(seed);
  std::vector<std::string_view> nouns(std::begin(kNouns), std::end(kNouns));
  std::vector<Needle> needles;
  for (double depth : places) {
    const auto pick = nouns.begin() + static_cast<int64_t>(random() % nouns.size());
    needles.push_back({std::string(*pick), std::to_string(100000 + random() % 900000), depth});
    nouns.erase(pick);
  }
  return needles;
}

std::vector<int32_t> hide_needles(const Tokenizer& tokenizer, std::string_view text, std::span<const Needle> needles,
                                  int64_t length) {
  std::vector<Needle> sorted(needles.begin(), needles.end());
  std::stable_sort(sorted.begin(), sorted.end(), [](const Needle& a, const Needle& b) { return a.depth < b.depth; });
  std::vector<std::vector<int32_t>> statements;
  int64_t book_length = length;  // tokens left for the text itself
  for (const Needle& needle : sorted) {
    LK_REQUIRE(needle.depth >= 0 && needle.depth <= 1, kInvalidArgument, "[needle] depth={}, must be 0 to 1",
               needle.depth);
    statements.push_back(encode(tokenizer, statement(needle), false));
    book_length -= static_cast<int64_t>(statements.back().size());
  }
  const std::vector<int32_t> book = encode(tokenizer, text, true);
  const auto available = static_cast<int64_t>(book.size());
  LK_REQUIRE(book_length >= 1, kInvalidArgument, "[needle] length={}, too small for {} needles", length,
             needles.size());
  LK_REQUIRE(book_length <= available, kInvalidArgument, "[needle] length={}, but the text has only {} tokens for {}",
             length, available, book_length);

  std::vector<int32_t> document;
  auto from = book.begin();
  for (size_t i = 0; i < sorted.size(); ++i) {
    // Never before the first token: it may be bos.
    const auto place = std::max<int64_t>(1, static_cast<int64_t>(sorted[i].depth * static_cast<double>(book_length)));
    document.insert(document.end(), from, book.begin() + place);
    document.insert(document.end(), statements[i].begin(), statements[i].end());
    from = book.begin() + place;
  }
  document.insert(document.end(), from, book.begin() + book_length);
  return document;
}

std::string needle_question(const Needle& needle) {
  return fmt::format("\n\nQuestion: what is the secret code of the {0}?\nAnswer: the secret code of the {0} is",
                     needle.noun);
}

bool answers_needle(const Needle& needle, std::string_view continuation) {
  const std::string expected = " " + needle.code;
  if (!continuation.starts_with(expected)) return false;
  return continuation.size() == expected.size() || !is_digit(continuation[expected.size()]);
}

}  // namespace lowkey
