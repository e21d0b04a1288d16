#include "text/pretokenizer.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "lowkey/error.h"
#include "text/char_class.h"
#include "text/pretokenizer_names.h"
#include "text/regex.h"
#include "text/utf8.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace lowkey {
namespace {

constexpr Pretokenizer kAll[] = {Pretokenizer::kGpt2, Pretokenizer::kLlama3, Pretokenizer::kQwen2};

std::vector<std::string> pieces(Pretokenizer kind, std::string_view text) {
  std::vector<std::string> found;
  for (size_t at = 0, end; at < text.size(); at = end) {
    end = piece_end(kind, text, at);
    found.emplace_back(text.substr(at, end - at));
  }
  return found;
}

// The specification: the published regular expression.
class Pcre {
 public:
  explicit Pcre(std::string_view pattern) {
    int error = 0;
    PCRE2_SIZE at = 0;
    code_ = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), PCRE2_UTF | PCRE2_UCP, &error,
                          &at, nullptr);
    match_ = pcre2_match_data_create_from_pattern(code_, nullptr);
  }
  ~Pcre() {
    pcre2_match_data_free(match_);
    pcre2_code_free(code_);
  }
  // Matches and what is between them.
  std::vector<std::string> isolate(std::string_view text) const {
    std::vector<std::string> found;
    size_t at = 0;
    while (at < text.size() && pcre2_match(code_, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at,
                                           PCRE2_NOTEMPTY, match_, nullptr) > 0) {
      const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(match_), begin = ends[0];
      if (begin > at) found.emplace_back(text.substr(at, begin - at));
      found.emplace_back(text.substr(begin, ends[1] - begin));
      at = ends[1];
    }
    if (at < text.size()) found.emplace_back(text.substr(at));
    return found;
  }
  std::vector<std::string> pieces(std::string_view text) const {
    std::vector<std::string> found;
    for (size_t at = 0; at < text.size(); at = pcre2_get_ovector_pointer(match_)[1]) {
      int n = pcre2_match(code_, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at, 0, match_, nullptr);
      if (n <= 0 || pcre2_get_ovector_pointer(match_)[0] != at) return {"no match"};
      found.emplace_back(text.substr(at, pcre2_get_ovector_pointer(match_)[1] - at));
    }
    return found;
  }

 private:
  pcre2_code* code_;
  pcre2_match_data* match_;
};

TEST(Pretokenizer, EqualsItsRegexOnRandomText) {
  // U+180E is left out: PCRE2 calls it a space, Unicode and Hugging Face do not.
  const std::vector<std::string> symbols = {
      "a",      "B",      "z",      "'s",     "'S",     "'ll",    "'Ve",    "'\u017F", "'",      "1",         "23",
      "4567",   " ",      "  ",     "\n",     "\r\n",   "\t",     ".",      "!?",      "\u00E9", "e\u0301",   "\u4E2D",
      "\u0661", "\u00BD", "\u2003", "\u00A0", "\u0085", "\u200B", "\uFEFF", "_",       "\u2028", "\U0001F600"};
  std::mt19937 random(2);
  for (Pretokenizer kind : kAll) {
    const Pcre regex(pretokenizer_regex(kind));
    for (int round = 0; round < 3000; ++round) {
      std::string text;
      for (size_t n = random() % 16; n > 0; --n) text += symbols[random() % symbols.size()];
      ASSERT_EQ(pieces(kind, text), regex.pieces(text)) << text;
    }
  }
}

TEST(Pretokenizer, AnInvalidPartIsOneOtherSymbol) {
  const std::vector<std::string> expected = {"ab", "\xFF\xE2\x82", " ", "1"};
  for (Pretokenizer kind : {Pretokenizer::kLlama3, Pretokenizer::kQwen2})
    EXPECT_EQ(pieces(kind, "ab\xFF\xE2\x82 1"), expected);
  const std::vector<std::string> with_space = {"ab", "\xFF\xE2\x82", " 1"};
  EXPECT_EQ(pieces(Pretokenizer::kGpt2, "ab\xFF\xE2\x82 1"), with_space);
  // As with U+FFFD in its place, one such symbol may begin a word.
  EXPECT_EQ(pieces(Pretokenizer::kLlama3, "1\xE2\x82word"), (std::vector<std::string>{"1", "\xE2\x82word"}));
}

TEST(Pretokenizer, LongRunsTakeLinearTimeAndNoStack) {
  for (Pretokenizer kind : kAll)
    for (std::string unit : {" ", "a", "\n ", "'", "\xFF", "1", " \n\t"}) {
      std::string text;
      while (text.size() < (size_t{1} << 20)) text += unit;
      size_t at = 0;
      while (at < text.size()) at = piece_end(kind, text, at);
      EXPECT_EQ(at, text.size());
    }
}

TEST(Splitter, EqualsEachOfItsRegexesOnRandomText) {
  const std::vector<std::string> symbols = {
      "a",          "B",      "zz",     "'s",     "'S",      "'ll",    "'Ve",    "\u01C5",
      "'",          "1",      "23",     "4567",   " ",       "  ",     "\n",     "\r\n",
      "\t",         ".",      "!?",     "\u00E9", "e\u0301", "\u4E2D", "\u0661", "\u00BD",
      "\u2003",     "\u00A0", "\u3042", "\u2019", "\uFF0C",  "\u02B0", "_",      "\u05D0\u05B0",
      "\U0001F600", "$",      "`",      "(",      "|"};
  std::mt19937 random(4);
  for (const NamedPretokenizer& named : named_pretokenizers()) {
    if (named.splits.empty()) continue;
    const std::vector<std::string> splits(named.splits.begin(), named.splits.end());
    const Splitter splitter(splits);
    for (int round = 0; round < 200; ++round) {
      std::string text;
      for (size_t n = random() % 16; n > 0; --n) text += symbols[random() % symbols.size()];
      std::vector<std::string> expected;
      if (!text.empty()) expected.push_back(text);
      for (const std::string& split : splits) {
        const bool own = split.starts_with("\\p{Punctuation}");  // which PCRE2 has not
        const Pcre regex(own ? "[\\p{P}$+<=>^~|`]+" : split);
        std::vector<std::string> finer;
        for (const std::string& piece : expected)
          for (std::string& part : regex.isolate(piece)) finer.push_back(std::move(part));
        expected = std::move(finer);
      }
      const auto found = splitter.cut(text);
      ASSERT_EQ(std::vector<std::string>(found.begin(), found.end()), expected) << named.name << ": " << text;
    }
  }
}

size_t matched(std::string_view pattern, std::string_view text, int64_t steps = 1000) {
  return Regex(pattern).match(text, 0, &steps);
}

TEST(Regex, MatchesAsPerlDoes) {
  EXPECT_EQ(matched("a|ab", "ab"), 1u);
  EXPECT_EQ(matched("(?:ab|a)b", "ab"), 2u);
  EXPECT_EQ(matched("a{2,3}", "aaaa"), 3u);
  EXPECT_EQ(matched("a{2}b?", "aab"), 3u);
  EXPECT_EQ(matched("(ab){2,}", "ababab"), 6u);
  EXPECT_EQ(matched("a(?=b)", "ab"), 1u);
  EXPECT_EQ(matched("a(?!b)", "ab"), Regex::kNone);
  EXPECT_EQ(matched("(?i:s)s", "\u017Fs"), 3u);
  EXPECT_EQ(matched("[^\\P{Lu}]", "A"), 1u);
  EXPECT_EQ(matched("[a\\-c]+$", "a-c"), 3u);
  EXPECT_EQ(matched(".", "\n"), Regex::kNone);
  EXPECT_EQ(matched("\\p{L}", "\xFF"), Regex::kNone);
  EXPECT_EQ(matched("[^a]", "\xE2\x82"), 2u);
  EXPECT_EQ(matched("", "a"), 0u);
}

TEST(Regex, StopsWhatTakesTooLong) {
  EXPECT_THROW(matched("(a*)*b", std::string(50, 'a'), 100000), Error);
  EXPECT_THROW(matched("(a|a)*b", std::string(50, 'a'), 100000), Error);
  EXPECT_THROW(matched("(|a)*b", "a", 100000), Error);
  EXPECT_THROW(Splitter({"(a|aa)+b"}).cut(std::string(1000, 'a')), Error);
}

TEST(Regex, RefusesWhatItHasNot) {
  for (const char* pattern :
       {"(?<=a)b", "a*?", "a++", "[[a]b]", "[a&&b]", "\\b", "\\1", "a{1001}", "a{3,2}", "(a", "a)", "[a", "*a",
        "\\p{Greek}", "[z-a]", "(((((((((((((((((((((((((((((((((a", "(((a{99}){99}){99})"})
    EXPECT_THROW(Regex{pattern}, Error) << pattern;
}

TEST(CharClass, KnowsUnicode16) {
  EXPECT_EQ(class_of('a'), CharClass::kLetter);
  EXPECT_EQ(class_of(0x2EBF0), CharClass::kLetter);  // CJK Extension I, of 15.1
  EXPECT_EQ(class_of(0x10D40), CharClass::kNumber);  // Garay digit zero, of 16
  EXPECT_EQ(class_of(0x85), CharClass::kSpace);
  EXPECT_EQ(class_of(0x180E), CharClass::kOther);  // was a space until Unicode 6.3
  EXPECT_EQ(class_of(0x200B), CharClass::kOther);
  EXPECT_EQ(class_of(0xFEFF), CharClass::kOther);
  EXPECT_EQ(class_of(0x1C), CharClass::kOther);
  EXPECT_EQ(class_of(kInvalidSymbol), CharClass::kOther);
}

}  // namespace
}  // namespace lowkey
