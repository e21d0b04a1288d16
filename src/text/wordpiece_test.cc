#include "text/wordpiece.h"

#include <gtest/gtest.h>

#include "lowkey/error.h"
#include "text/bert_normalizer.h"
#include "text/wordpiece_spec.h"

namespace lowkey {
namespace {

using Ids = std::vector<int32_t>;

// As the lines of a vocab.txt. Ids:           0      1      2      3      4       5    6     7     8     9  10 11 12 13
constexpr const char* kVocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nun\n##aff\n##able\nhello\n!\n,\n中\nü\n##s\n";
constexpr int32_t kUnknown = 1, kFirst = 2, kLast = 3, kMask = 4, kUn = 5, kHello = 8;

Tokenizer tiny(const std::string& config = "") {
  return Tokenizer(parse_wordpiece_vocabulary(kVocabulary, config, "vocab.txt"));
}

Ids bare(const Tokenizer& tokenizer, std::string_view text) { return tokenizer.encode(text, {.add_bos = false}); }

TEST(WordPiece, CutsWordsIntoTheLongestPiecesFromTheLeft) {
  const Tokenizer tokenizer = tiny();
  EXPECT_EQ(bare(tokenizer, "unaffable"), (Ids{kUn, 6, 7}));
  EXPECT_EQ(bare(tokenizer, "Hello,hellos!!"), (Ids{kHello, 10, kHello, 13, 9, 9}));
  EXPECT_EQ(bare(tokenizer, "un aff un"), (Ids{kUn, kUnknown, kUn}));  // ##aff begins no word
  EXPECT_EQ(bare(tokenizer, "unaffablex un"), (Ids{kUnknown, kUn}));   // one unknown id for the whole word
  EXPECT_EQ(bare(tokenizer, " \t\n"), Ids{});
  EXPECT_EQ(tokenizer.encode("hello"), (Ids{kFirst, kHello, kLast}));
  EXPECT_EQ(tokenizer.encode(""), (Ids{kFirst, kLast}));
}

TEST(WordPiece, WordsPastTheLimitAreUnknown) {
  WordPieceRules rules;
  rules.unknown = 0;
  rules.most_symbols = 4;
  const std::vector<std::string> tokens = {"?", "ü", "##ü"};
  const WordPiece wordpiece(tokens, rules, "test");
  Ids ids;
  wordpiece.encode("üüüü üüüüü", &ids);  // symbols count, not bytes
  EXPECT_EQ(ids, (Ids{1, 2, 2, 2, 0}));
  const Tokenizer tokenizer = tiny();
  EXPECT_EQ(bare(tokenizer, "un" + std::string(98, 's')).size(), 99u);  // ##s 98 times
  EXPECT_EQ(bare(tokenizer, "un" + std::string(99, 's')), Ids{kUnknown});
}

TEST(WordPiece, SpecialTokensAreMatchedWholeOnlyWhenAllowed) {
  const Tokenizer tokenizer = tiny();
  EXPECT_EQ(bare(tokenizer, "un[MASK]un"), (Ids{kUn, kMask, kUn}));
  EXPECT_EQ(tokenizer.encode("[MASK]", {.add_bos = false, .parse_special = false}),
            (Ids{kUnknown, kUnknown, kUnknown}));  // '[', "mask", ']'
  EXPECT_EQ(bare(tokenizer, "[mask]"), (Ids{kUnknown, kUnknown, kUnknown}));
  EXPECT_EQ(tokenizer.decode({kFirst, kUn, 6, 7, kHello, kLast}), " unaffable hello");
}

TEST(WordPiece, TheConfigBesideSaysWhatIsKept) {
  EXPECT_EQ(bare(tiny(), "Ü 中中"), (Ids{kUnknown, 11, 11}));  // the accent goes: u
  EXPECT_EQ(bare(tiny(R"({"strip_accents": false})"), "Ü"), Ids{12});
  EXPECT_EQ(bare(tiny(R"({"do_lower_case": false})"), "ü Ü Un"), (Ids{12, kUnknown, kUnknown}));
  EXPECT_EQ(bare(tiny(R"({"tokenize_chinese_chars": false})"), "中中"), Ids{kUnknown});
  EXPECT_EQ(bare(tiny(R"({"unk_token": {"content": "!"}})"), "x"), Ids{9});
}

TEST(WordPiece, RefusesWhatCannotWork) {
  EXPECT_THROW(parse_wordpiece_vocabulary("[UNK]\n[CLS]\n", "", "v"), Error);
  EXPECT_THROW(parse_wordpiece_vocabulary("", "", "v"), Error);
  EXPECT_THROW(parse_wordpiece_vocabulary(kVocabulary, "[]", "v"), Error);
  EXPECT_THROW(parse_wordpiece_vocabulary(kVocabulary, R"({"do_lower_case": 1})", "v"), Error);
  EXPECT_THROW(WordPiece({"a"}, WordPieceRules{}, "v"), Error);
}

TEST(BertNormalize, EachRule) {
  const WordPieceRules all{}, none{.clean = false, .chinese = false, .accents = false, .lowercase = false};
  EXPECT_EQ(bert_normalize(std::string_view("a\0b\t\u200Bc\uFFFD\u3000d\xFF", 16), all), "ab c d");
  EXPECT_EQ(bert_normalize("Héllo ÀÉ\u1E9B\u0323 한", all), "hello ae\u017F \u1112\u1161\u11AB");
  EXPECT_EQ(bert_normalize("x中y", all), "x 中 y");
  EXPECT_EQ(bert_normalize("İI", all), "ii");
  EXPECT_EQ(bert_normalize("Ä\u200B中\xFF", none), "Ä\u200B中\uFFFD");
  WordPieceRules lower = none;
  lower.lowercase = true;
  EXPECT_EQ(bert_normalize("İÄẞ\u1C89", lower), "i\u0307äß\u1C8A");
}

// A tokenizer.json of three tokens, with `changes` merged in.
TokenizerSpec parse(const std::string& changes) {
  nlohmann::json json = nlohmann::json::parse(R"({"added_tokens": [],
    "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
                   "lowercase": false},
    "pre_tokenizer": {"type": "BertPreTokenizer"}, "decoder": {"type": "WordPiece"},
    "post_processor": {"type": "BertProcessing", "sep": ["c", 2], "cls": ["b", 1]},
    "model": {"type": "WordPiece", "unk_token": "a", "continuing_subword_prefix": "@", "max_input_chars_per_word": 7,
              "vocab": {"a": 0, "b": 1, "c": 2, "@b": 3}}})");
  json.merge_patch(nlohmann::json::parse(changes));
  return parse_tokenizer_json(json.dump(), "", "tokenizer.json");
}

TEST(WordPieceJson, IsRead) {
  const TokenizerSpec spec = parse("{}");
  ASSERT_TRUE(spec.wordpiece);
  EXPECT_FALSE(spec.wordpiece->lowercase);
  EXPECT_FALSE(spec.wordpiece->accents);  // null: as lowercase
  EXPECT_EQ(spec.wordpiece->most_symbols, 7);
  EXPECT_EQ(Tokenizer(spec).encode("bb \u00E9"), (Ids{1, 1, 3, 0, 2}));
  EXPECT_TRUE(parse(R"({"normalizer": {"strip_accents": true}})").wordpiece->accents);
  EXPECT_FALSE(parse(R"({"normalizer": null})").wordpiece->clean);
  EXPECT_FALSE(parse(R"({"post_processor": null})").add_eos);
  const TokenizerSpec templated = parse(R"({"post_processor": {"type": "TemplateProcessing", "single": [
    {"SpecialToken": {"id": "c", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
    {"SpecialToken": {"id": "b", "type_id": 0}}]}})");
  EXPECT_EQ(Tokenizer(templated).encode("a"), (Ids{2, 0, 1}));
}

TEST(WordPieceJson, WhatIsNotKnownIsRefused) {
  for (const char* changes :
       {R"({"normalizer": {"type": "Lowercase"}})", R"({"pre_tokenizer": {"type": "Whitespace"}})",
        R"({"pre_tokenizer": null})", R"({"decoder": {"type": "ByteLevel"}})",
        R"({"post_processor": {"type": "RobertaProcessing"}})", R"({"post_processor": {"sep": ["x", 9]}})",
        R"({"post_processor": {"sep": "c"}})", R"({"post_processor": {"type": "TemplateProcessing", "single": []}})",
        R"({"model": {"unk_token": "x"}})", R"({"model": {"unk_token": null}})",
        R"({"model": {"max_input_chars_per_word": "7"}})"})
    EXPECT_THROW(parse(changes), Error) << changes;
}

}  // namespace
}  // namespace lowkey
