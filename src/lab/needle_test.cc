#include "lab/needle.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "lowkey/error.h"
#include "text/byte_alphabet.h"

namespace lowkey {
namespace {

// A token for each byte, and bos (id 256): positions can be counted by hand.
Tokenizer byte_tokenizer(bool add_bos) {
  TokenizerSpec spec;
  for (int byte = 0; byte < 256; ++byte)
    spec.tokens.push_back(to_byte_alphabet(std::string(1, static_cast<char>(byte))));
  spec.tokens.push_back("<bos>");
  spec.special = {256};
  spec.bos = 256;
  spec.add_bos = add_bos;
  return Tokenizer(std::move(spec));
}

TEST(Needle, DrawsDifferentNounsAndTheSameOnesForASeed) {
  const std::vector<Needle> needles = draw_needles(44, 7), again = draw_needles(44, 7);
  std::set<std::string> nouns;
  for (size_t i = 0; i < needles.size(); ++i) {
    nouns.insert(needles[i].noun);
    EXPECT_EQ(needles[i].noun, again[i].noun);
    EXPECT_EQ(needles[i].code, again[i].code);
    EXPECT_EQ(needles[i].code.size(), 6u);
  }
  EXPECT_EQ(nouns.size(), 44u);
  EXPECT_NE(draw_needles(1, 8)[0].code, draw_needles(1, 7)[0].code);
  EXPECT_DOUBLE_EQ(draw_needles(2, 1)[1].depth, 0.75);
  EXPECT_THROW(draw_needles(0, 1), Error);
  EXPECT_THROW(draw_needles(45, 1), Error);
}

TEST(Needle, DistractorsComeAfterTheCodesAndChangeNone) {
  const std::vector<double> depths{0.9, 0.1};
  const std::vector<Needle> alone = draw_needles(depths, 0, 5), among = draw_needles(depths, 4, 5);
  ASSERT_EQ(among.size(), 6u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(among[i].code, alone[i].code);
    EXPECT_EQ(among[i].noun, alone[i].noun);
    EXPECT_EQ(among[i].depth, depths[i]);
  }
  EXPECT_DOUBLE_EQ(among[2].depth, 0.125);
  EXPECT_THROW(draw_needles(depths, 43, 5), Error);
  EXPECT_THROW(draw_needles({}, 4, 5), Error);
}

TEST(Needle, TheDocumentHasTheLengthAndTheNeedlesAtTheirDepths) {
  const Tokenizer tokenizer = byte_tokenizer(true);
  const std::string text(1000, 'x');
  const std::vector<Needle> needles = {{"river", "222222", 0.75}, {"lantern", "111111", 0.25}};
  const std::vector<int32_t> document = hide_needles(tokenizer, text, needles, 500);
  ASSERT_EQ(document.size(), 500u);
  EXPECT_EQ(document[0], 256);

  const std::string first = "\n\nRemember this: the secret code of the lantern is 111111.\n\n";
  const std::string second = "\n\nRemember this: the secret code of the river is 222222.\n\n";
  const std::string decoded = tokenizer.decode(document);
  const int64_t book = 500 - static_cast<int64_t>(first.size() + second.size());  // with bos, which decodes to nothing
  EXPECT_EQ(static_cast<int64_t>(decoded.find(first)), book / 4 - 1);
  EXPECT_EQ(decoded.find(second), static_cast<size_t>(book * 3 / 4 - 1) + first.size());
  EXPECT_EQ(std::count(decoded.begin(), decoded.end(), 'x'), book - 1);
}

TEST(Needle, DepthsZeroAndOneAreTheEndsOfTheText) {
  const std::vector<Needle> needles = {{"river", "222222", 1.0}, {"lantern", "111111", 0.0}};
  const Tokenizer with_bos = byte_tokenizer(true), without = byte_tokenizer(false);
  const std::string text(1000, 'x');
  EXPECT_EQ(hide_needles(with_bos, text, needles, 500)[1], '\n');
  const std::string decoded = without.decode(hide_needles(without, text, needles, 500));
  EXPECT_EQ(decoded.substr(0, 3), "x\n\n");
  EXPECT_TRUE(decoded.ends_with("222222.\n\n"));
}

TEST(Needle, RefusesWhatDoesNotFit) {
  const Tokenizer tokenizer = byte_tokenizer(true);
  const std::vector<Needle> one = {{"river", "222222", 0.5}}, wild = {{"river", "222222", 1.5}};
  EXPECT_THROW(hide_needles(tokenizer, "short", one, 500), Error);
  EXPECT_THROW(hide_needles(tokenizer, std::string(1000, 'x'), one, 20), Error);
  EXPECT_THROW(hide_needles(tokenizer, std::string(1000, 'x'), wild, 500), Error);
}

TEST(Needle, TheBookCannotSmuggleInControlTokens) {
  const std::vector<Needle> one = {{"river", "222222", 0.5}};
  const std::vector<int32_t> document = hide_needles(byte_tokenizer(false), "<bos>" + std::string(200, 'x'), one, 200);
  EXPECT_EQ(std::count(document.begin(), document.end(), 256), 0);
}

TEST(Needle, AnAnswerIsTheWholeCode) {
  const Needle needle{"river", "222222", 0.5};
  EXPECT_EQ(needle_question(needle),
            "\n\nQuestion: what is the secret code of the river?\nAnswer: the secret code of the river is");
  EXPECT_TRUE(answers_needle(needle, " 222222"));
  EXPECT_TRUE(answers_needle(needle, " 222222.\n\nAnd so on"));
  EXPECT_FALSE(answers_needle(needle, " 22222"));
  EXPECT_FALSE(answers_needle(needle, " 2222223"));
  EXPECT_FALSE(answers_needle(needle, "222222"));
  EXPECT_FALSE(answers_needle(needle, ""));
}

}  // namespace
}  // namespace lowkey
