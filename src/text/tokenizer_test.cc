#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "lowkey/error.h"
#include "text/normalize.h"
#include "text/special_tokens.h"
#include "text/tiny_tokenizer.h"

namespace lowkey {
namespace {

using Ids = std::vector<int32_t>;

std::string message_of(TokenizerSpec spec) {
  try {
    Tokenizer tokenizer(std::move(spec));
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument);
    return error.what();
  }
  return "accepted";
}

TEST(Tokenizer, MergesWithinPieces) {
  const Tokenizer tokenizer(tiny::spec());
  EXPECT_EQ(tokenizer.encode("hello wll"), (Ids{tiny::kBos, tiny::kHello, tiny::kSpaceW, tiny::kLl}));
  EXPECT_EQ(tokenizer.encode("he\nllo", {.add_bos = false}), (Ids{tiny::kHe, '\n', tiny::kLl, 'o'}));
  EXPECT_EQ(tokenizer.encode(""), Ids{tiny::kBos});
}

TEST(Tokenizer, IgnoreMergesTakesAWholePiece) {
  TokenizerSpec spec = tiny::spec();
  spec.merges.clear();
  spec.ignore_merges = true;
  const Tokenizer tokenizer(std::move(spec));
  EXPECT_EQ(tokenizer.encode("hello", {.add_bos = false}), Ids{tiny::kHello});
  EXPECT_EQ(tokenizer.encode("hellox", {.add_bos = false}), (Ids{'h', 'e', 'l', 'l', 'o', 'x'}));
}

TEST(Tokenizer, SpecialTokensAreMatchedWholeOnlyWhenAllowed) {
  const Tokenizer tokenizer(tiny::spec());
  EXPECT_EQ(tokenizer.encode("he<|eot_id|><plain>", {.add_bos = false}), (Ids{tiny::kHe, tiny::kEnd, tiny::kPlain}));
  const Ids stranger = tokenizer.encode("<|eot_id|><plain>", {.add_bos = false, .parse_special = false});
  EXPECT_EQ(stranger.size(), 11u);  // ten bytes, and <plain>, which is no control token
  EXPECT_EQ(stranger.back(), tiny::kPlain);
  EXPECT_EQ(tokenizer.decode({tiny::kHe, tiny::kEnd, tiny::kPlain}), "he<plain>");
  EXPECT_EQ(tokenizer.decode({tiny::kHe, tiny::kEnd}, true), "he<|eot_id|>");
  EXPECT_TRUE(tokenizer.ends_generation(tiny::kEnd));
  EXPECT_FALSE(tokenizer.ends_generation(tiny::kBos));
  EXPECT_FALSE(tokenizer.ends_generation(-1));
}

TEST(Tokenizer, AnyBytesComeBack) {
  std::mt19937 random(3);
  for (Pretokenizer kind : {Pretokenizer::kGpt2, Pretokenizer::kLlama3, Pretokenizer::kQwen2}) {
    const Tokenizer tokenizer(tiny::spec(kind));
    for (int round = 0; round < 2000; ++round) {
      std::string text;
      for (size_t n = random() % 30; text.size() < n;) text.push_back(static_cast<char>(random()));
      ASSERT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
    }
  }
}

TEST(Tokenizer, PrefixSpaceFollowsEachWholeToken) {
  TokenizerSpec spec = tiny::spec(Pretokenizer::kGpt2);
  spec.add_prefix_space = true;
  const Tokenizer tokenizer(std::move(spec));
  EXPECT_EQ(tokenizer.encode("w<plain>w w", {.add_bos = false}),
            (Ids{tiny::kSpaceW, tiny::kPlain, tiny::kSpaceW, tiny::kSpaceW}));
}

TEST(Tokenizer, LateTokensAreFoundAfterTheOthersAndAfterNormalising) {
  TokenizerSpec spec = tiny::spec();
  spec.tokens.push_back("\u00E9>");  // composed
  spec.added.push_back(265);
  spec.late.push_back(265);
  spec.nfc = true;
  const Tokenizer tokenizer(std::move(spec));
  EXPECT_EQ(tokenizer.encode("e\u0301>", {.add_bos = false}), Ids{265});
}

TEST(Tokenizer, ThreadsShareOne) {
  const Tokenizer tokenizer(tiny::spec());
  const std::string text = "hello wx <plain> hell\u00E9 1234";
  const Ids expected = tokenizer.encode(text);
  std::vector<std::thread> threads;
  std::vector<int> equal(4);
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&, i] {
      for (int round = 0; round < 500; ++round) equal[i] += tokenizer.encode(text) == expected;
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(equal, std::vector<int>(4, 500));
}

TEST(Tokenizer, RefusesWhatCannotWork) {
  TokenizerSpec spec = tiny::spec();
  spec.merges.push_back("h q q");
  EXPECT_EQ(message_of(spec), "[tokenizer] tiny: merges[6]=\"h q q\", must be two tokens with one space between");
  spec = tiny::spec();
  spec.merges.push_back("h q");
  EXPECT_EQ(message_of(spec), "[tokenizer] tiny: merges[6]=\"h q\", \"hq\" must be in the vocabulary");
  spec = tiny::spec();
  spec.tokens['A'] = "AA";
  EXPECT_EQ(message_of(spec), "[tokenizer] tiny: no token for byte 0x41, must have one");
  spec = tiny::spec();
  spec.special = {265};
  EXPECT_EQ(message_of(spec), "[tokenizer] tiny: special=265, must be 0 <= id < 265");
  spec = tiny::spec();
  spec.eos = -2;
  EXPECT_EQ(message_of(spec), "[tokenizer] tiny: eos=-2, must be 0 <= id < 265");
  spec = tiny::spec();
  spec.bos = -1;
  EXPECT_EQ(message_of(spec), "[tokenizer] tiny: add_bos without bos, must have one");
  const Tokenizer tokenizer(tiny::spec());
  EXPECT_THROW(tokenizer.piece(265), Error);
  EXPECT_THROW(tokenizer.decode({-1}), Error);
}

TEST(StreamDecoder, NeverEndsWithinACharacter) {
  const Tokenizer tokenizer(tiny::spec());
  StreamDecoder stream(tokenizer);
  EXPECT_EQ(stream.push(tiny::kHe), "he");
  EXPECT_EQ(stream.push(0xF0), "");
  EXPECT_EQ(stream.push(0x9F), "");
  EXPECT_EQ(stream.push(tiny::kEnd), "");
  EXPECT_EQ(stream.push(0x98), "");
  EXPECT_EQ(stream.push(0x80), "\U0001F600");
  EXPECT_EQ(stream.push(0xE2), "");
  EXPECT_EQ(stream.push('x'), "\uFFFDx");  // the character will not be finished any more
  EXPECT_EQ(stream.push(0xFF), "\uFFFD");
  EXPECT_EQ(stream.push(0xE2), "");
  EXPECT_EQ(stream.push(0x82), "");
  EXPECT_EQ(stream.finish(), "\uFFFD");
  EXPECT_EQ(stream.finish(), "");
}

TEST(SpecialTokens, FindTheLeftmostAndThenTheLongest) {
  const SpecialTokens tokens(
      {{"<a>", 1, true}, {"<a><b>", 2, false}, {"<", 3, true}, {"", 4, false}, {"\xFF", 5, false}});
  auto found = [&](std::string_view text, bool control) { return tokens.find(text, 0, {.control = control}).id; };
  EXPECT_EQ(found("x<a><b>", true), 2);
  EXPECT_EQ(found("x<a><c>", true), 1);
  EXPECT_EQ(found("x<a><c>", false), -1);
  EXPECT_EQ(found("x<b><a>", true), 3);
  EXPECT_EQ(found("x\xFF", false), 5);
  EXPECT_EQ(found("", true), -1);
}

TEST(Compose, IsNfcAndKeepsInvalidParts) {
  EXPECT_EQ(compose("e\u0301 \u1112\u1161\u11AB"), "\u00E9 \uD55C");
  EXPECT_EQ(compose("a\u0301\u0323"), "\u1EA1\u0301");           // marks come into order
  EXPECT_EQ(compose("e\xFF\u0301"), "e\xFF\u0301");              // and do not reach over what is invalid
  EXPECT_EQ(compose("\uAC00\u11A7"), "\uAC00\u11A7");            // no syllable, and nothing lost
  EXPECT_EQ(compose("a\U0001E4EC\u0301"), "a\U0001E4EC\u0301");  // a mark of Unicode 15
  std::string marks = "a";
  for (int i = 0; i < 200000; ++i) marks += "\u0301\u0323";
  EXPECT_EQ(compose(marks).size(), marks.size());  // in no time; the first below-dot joins the a
}

}  // namespace
}  // namespace lowkey
