#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>

#include "lowkey/error.h"
#include "text/charsmap.h"
#include "text/gguf_spec.h"
#include "text/sentencepiece_model.h"
#include "text/tokenizer.h"

namespace lowkey {
namespace {

using Ids = std::vector<int32_t>;
using Prefix = SentencePieceRules::Prefix;

// <unk> <s> </s>, 256 bytes, and then these.
constexpr int32_t kMark = 259, kA = 260, kB = 261, kAb = 262, kMarkA = 263, kBb = 264, kEnd = 265;

TokenizerSpec tiny() {
  TokenizerSpec spec;
  spec.source = "tiny";
  spec.tokens = {"<unk>", "<s>", "</s>"};
  for (int byte = 0; byte < 256; ++byte) spec.tokens.push_back(fmt::format("<0x{:02X}>", byte));
  for (const char* token : {"▁", "a", "b", "ab", "▁a", "bb", "<end>"}) spec.tokens.push_back(token);
  spec.special = {0, 1, 2, kEnd};
  spec.sentencepiece.emplace();
  spec.sentencepiece->scores.assign(spec.tokens.size(), 0);
  const float scores[] = {-4, -5, -6, -1, -2, -1};
  std::copy(std::begin(scores), std::end(scores), spec.sentencepiece->scores.begin() + kMark);
  return spec;
}

Ids encode(const TokenizerSpec& spec, std::string_view text) { return Tokenizer(spec).encode(text); }

TEST(SentencePiece, JoinsTheBestScoreFirstAndOfEqualsTheLeftmost) {
  EXPECT_EQ(encode(tiny(), "ab"), (Ids{kMark, kAb}));       // -1 before -2
  EXPECT_EQ(encode(tiny(), "abb"), (Ids{kMark, kAb, kB}));  // ab and bb have one score
  EXPECT_EQ(encode(tiny(), "bbb"), (Ids{kMark, kBb, kB}));
  EXPECT_EQ(encode(tiny(), "a a"), (Ids{kMarkA, kMarkA}));
  EXPECT_EQ(encode(tiny(), ""), Ids{});
}

TEST(SentencePiece, SpellsInBytesWhatNoPieceHas) {
  EXPECT_EQ(encode(tiny(), "aé\n"), (Ids{kMarkA, 3 + 0xC3, 3 + 0xA9, 3 + '\n'}));
  EXPECT_EQ(encode(tiny(), "a\xFF"), (Ids{kMarkA, 3 + 0xFF}));
  EXPECT_EQ(Tokenizer(tiny()).decode({kMarkA, 3 + 0xC3, 3 + 0xA9, kMark}), "aé ");
}

TEST(SentencePiece, AnUnknownRunIsOneToken) {
  TokenizerSpec spec = tiny();
  spec.sentencepiece->byte_fallback = false;
  spec.sentencepiece->unknown = 0;
  EXPECT_EQ(encode(spec, "axyzb"), (Ids{kMarkA, 0, kB}));
}

TEST(SentencePiece, PutsASpaceWhereItIsWanted) {
  TokenizerSpec spec = tiny();
  const std::string text = "a<end>a";
  EXPECT_EQ(encode(spec, text), (Ids{kMarkA, kEnd, kMarkA}));
  spec.sentencepiece->prefix = Prefix::kFirst;
  EXPECT_EQ(encode(spec, text), (Ids{kMarkA, kEnd, kA}));
  EXPECT_EQ(encode(spec, "<end>a"), (Ids{kEnd, kA}));
  spec.sentencepiece->prefix = Prefix::kNever;
  EXPECT_EQ(encode(spec, text), (Ids{kA, kEnd, kA}));
  spec.sentencepiece->prefix = Prefix::kAlways;
  EXPECT_EQ(encode(spec, " a"), (Ids{kMark, kMarkA}));
  spec.sentencepiece->late = true;
  EXPECT_EQ(encode(spec, " a"), Ids{kMarkA});
  spec.sentencepiece->strip_spaces = true;
  EXPECT_EQ(encode(spec, "  a   a "), (Ids{kMarkA, kMarkA}));
}

TEST(SentencePiece, TokensMatchedWholeSwallowSpaceAndKeepToWords) {
  TokenizerSpec spec = tiny();
  spec.takes_left = spec.takes_right = {kEnd};
  EXPECT_EQ(encode(spec, "a \n<end> \t a"), (Ids{kMarkA, kEnd, kMarkA}));
  spec = tiny();
  spec.tokens[kEnd] = "end";
  spec.whole_words = {kEnd};
  EXPECT_EQ(encode(spec, "end,end"), (Ids{kEnd, kMark, 3 + ',', kEnd}));
  EXPECT_EQ(encode(spec, "endb"), (Ids{kMark, 3 + 'e', 3 + 'n', 3 + 'd', kB}));
}

TEST(SentencePiece, PartsOfStrangersBecomeNoSpecialToken) {
  const Tokenizer tokenizer(tiny());
  const std::string text = "<end><end><end>";
  const TextRange strangers[] = {{5, 10}};
  const Ids ids = tokenizer.encode(text, {.add_bos = false, .parse_special = true, .strangers = strangers});
  EXPECT_EQ(std::count(ids.begin(), ids.end(), kEnd), 2);
  EXPECT_EQ(tokenizer.decode(Ids(ids.begin() + 1, ids.end() - 1)), "<end>");
  for (size_t begin = 0; begin < 5; ++begin) {  // not even with a part that is the template's
    const TextRange part[] = {{begin, begin + 1}};
    const Ids cut = tokenizer.encode("<end>", {.add_bos = false, .parse_special = true, .strangers = part});
    EXPECT_EQ(std::count(cut.begin(), cut.end(), kEnd), 0);
  }
}

// A message of protocol buffers.
std::string field(int number, std::string_view bytes) {
  return std::string{static_cast<char>(number << 3 | 2), static_cast<char>(bytes.size())}.append(bytes);
}

std::string model_file(const TokenizerSpec& spec, const std::string& trainer, const std::string& normalizer = "") {
  std::string bytes;
  for (size_t id = 0; id < spec.tokens.size(); ++id) {
    const auto score = static_cast<float>(spec.sentencepiece->scores[id]);
    const char kind = id == 0 ? 2 : id < 3 ? 3 : id < kMark ? 6 : id == kEnd ? 4 : 1;
    std::string piece = field(1, spec.tokens[id]) + '\x15';
    piece.append(reinterpret_cast<const char*>(&score), sizeof(score)).append("\x18").append(1, kind);
    bytes += field(1, piece);
  }
  return bytes + field(2, trainer) + field(3, normalizer);
}

const std::string kBpe = "\x18\x02\x98\x02\x01";  // model_type = 2, byte_fallback = 1
const std::string kKeepSpaces = std::string("\x20\x00", 2);

TEST(SentencePieceModel, ReadsPiecesAndSettings) {
  const TokenizerSpec spec = parse_sentencepiece(model_file(tiny(), kBpe, kKeepSpaces), "", "t.model");
  EXPECT_EQ(spec.tokens, tiny().tokens);
  EXPECT_EQ(spec.special, (Ids{0, 1, 2}));
  EXPECT_EQ(spec.bos, 1);
  EXPECT_EQ(spec.eos, 2);
  EXPECT_EQ(spec.end_ids, Ids{2});
  EXPECT_EQ(encode(spec, "abb <end>"), (Ids{1, kMark, kAb, kB, kMark, kEnd}));
}

TEST(SentencePieceModel, TheConfigAddsTokens) {
  const char* config = R"({"add_bos_token": false, "add_eos_token": true, "legacy": false, "eos_token": "<|x|>",
      "added_tokens_decoder": {"266": {"content": "<|x|>", "special": true, "normalized": false}}})";
  const TokenizerSpec spec = parse_sentencepiece(model_file(tiny(), kBpe, kKeepSpaces), config, "t.model");
  EXPECT_EQ(encode(spec, "a<|x|>a"), (Ids{kMarkA, 266, kA, 266}));
}

std::string refusal(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST(SentencePieceModel, EachFaultHasOneClearLine) {
  const auto read = [](const std::string& bytes) {
    return refusal([&] { Tokenizer(parse_sentencepiece(bytes, "", "t.model")); });
  };
  const std::string sound = model_file(tiny(), kBpe);
  EXPECT_EQ(read(model_file(tiny(), "\x18\x03")),
            "[tokenizer] t.model: a SentencePiece model of type 3, must be 1 (unigram) or 2 (BPE)");
  EXPECT_EQ(read(model_file(tiny(), kBpe, "\x12\x01x")),
            "[tokenizer] t.model: precompiled_charsmap of 1 bytes has a trie of 0");
  EXPECT_EQ(read("\n\x7F"),
            "[tokenizer] t.model: 127 bytes at byte 2 of a message of 2, must be a SentencePiece model");
  EXPECT_EQ(read("\n\x04\x0A\x02hi\x0B"),
            "[tokenizer] t.model: an unknown kind of field at byte 7 of a message of 7, must be a SentencePiece model");
  for (size_t size = 1; size < sound.size(); size += 7)
    EXPECT_EQ(read(sound.substr(0, size)).find('\n'), std::string::npos) << size;
}

// The highest sum of any way to cut text[at..], each symbol a byte.
double best_sum(std::string_view text, const TokenizerSpec& spec) {
  if (text.empty()) return 0;
  double best = -INFINITY, worst = 0;
  bool alone = false;
  for (size_t id = kMark; id < spec.tokens.size(); ++id) {
    if (id == kEnd) continue;
    const std::string& token = spec.tokens[id];
    worst = std::min(worst, spec.sentencepiece->scores[id]);
    if (!text.starts_with(token)) continue;
    alone = alone || token.size() == 1;
    best = std::max(best, spec.sentencepiece->scores[id] + best_sum(text.substr(token.size()), spec));
  }
  return alone ? best : std::max(best, worst - 10 + best_sum(text.substr(1), spec));
}

TokenizerSpec unigram() {
  TokenizerSpec spec = tiny();
  spec.sentencepiece->unigram = true;
  spec.sentencepiece->prefix = Prefix::kNever;
  return spec;
}

TEST(SentencePieceUnigram, TakesThePiecesOfTheHighestSum) {
  const TokenizerSpec spec = unigram();
  EXPECT_EQ(encode(spec, "abb"), (Ids{kA, kBb}));  // -5 - 1, more than ab and b: -1 - 6
  EXPECT_EQ(Tokenizer(spec).decode(encode(spec, "xé\xFF y")), "xé\xFF y");
  std::mt19937 random(5);
  for (int trial = 0; trial < 300; ++trial) {
    std::string text;
    for (unsigned n = random() % 9; n > 0; --n) text += "abc"[random() % 3];
    TokenizerSpec drawn = spec;
    for (double& score : drawn.sentencepiece->scores) score = -1. - random() % 64 / 8.;  // sums are exact
    double sum = 0, worst = 0;
    for (int32_t id = kMark; id < kEnd; ++id) worst = std::min(worst, drawn.sentencepiece->scores[id]);
    for (int32_t id : encode(drawn, text)) sum += id < kMark ? worst - 10 : drawn.sentencepiece->scores[id];
    EXPECT_EQ(sum, best_sum(text, drawn)) << text;
  }
}

TEST(SentencePieceUnigram, AnUnknownRunIsOneTokenAndWordsGetTheirSpace) {
  TokenizerSpec spec = unigram();
  spec.sentencepiece->byte_fallback = false;
  spec.sentencepiece->unknown = 0;
  EXPECT_EQ(encode(spec, "axyzb"), (Ids{kA, 0, kB}));
  spec.sentencepiece->squeeze = spec.sentencepiece->strip_right = true;
  EXPECT_EQ(encode(spec, " a   b\t "), (Ids{kMarkA, kMark, kB}));
  spec.sentencepiece->late = spec.sentencepiece->words = true;
  EXPECT_EQ(encode(spec, "\ta\u3000 \n▁ab"), (Ids{kMarkA, kMark, kAb}));
}

// A table with "A" to "a" and "AB" to "x".
std::string charsmap() {
  std::vector<uint32_t> units(1800);
  const auto node = [&](uint32_t at, uint32_t offset, uint32_t label, bool value) {
    units[at] = offset << 10 | (value ? 0x100u : 0) | label;
  };
  node(0, 256, 0, false);
  node(256 ^ 'A', 512, 'A', true);
  const uint32_t below = 256 ^ 'A' ^ 512;
  units[below] = 0x80000000u | 0;
  node(below ^ 'B', 1024, 'B', true);
  units[below ^ 'B' ^ 1024] = 0x80000000u | 2;
  const auto size = static_cast<uint32_t>(units.size() * sizeof(units[0]));
  std::string bytes(reinterpret_cast<const char*>(&size), sizeof(size));
  bytes.append(reinterpret_cast<const char*>(units.data()), size);
  return bytes.append("a\0x\0", 4);
}

TEST(Charsmap, RewritesTheLongestKeyOrByGraphemes) {
  const Charsmap map(charsmap(), "t");
  EXPECT_EQ(map.rewrite("ABA\xFF\xC3 B"), "xa\xFF\xC3 B");
  EXPECT_EQ(map.rewrite("A\u0301"), "a\u0301");
  EXPECT_EQ(map.rewrite_graphemes("AB\xFFz"), "aB\xFFz");
  EXPECT_EQ(map.rewrite_graphemes("A\u0301"), "a");                                // as a whole
  EXPECT_EQ(map.rewrite_graphemes("A\u0301\u0301\u0301"), "a\u0301\u0301\u0301");  // too long for that
  EXPECT_EQ(map.rewrite_graphemes("A\U000113BB"), "a");                            // a mark of Unicode 16
  EXPECT_EQ(Charsmap().rewrite_graphemes("A\u0301"), "A\u0301");
  for (size_t size = 1; size < charsmap().size(); size += 101)  // what is cut off is refused, or never followed
    EXPECT_NO_THROW(try { Charsmap(charsmap().substr(0, size), "t").rewrite("ABA"); } catch (const Error&){});
}

TEST(SentencePieceUnigram, ReadsEveryFile) {
  TokenizerSpec spec = unigram();
  const std::string trainer = "\x18\x01\x98\x02\x01";  // model_type = 1, byte_fallback = 1
  const TokenizerSpec read = parse_sentencepiece(model_file(spec, trainer, kKeepSpaces), "", "t.model");
  EXPECT_TRUE(read.sentencepiece->unigram);
  EXPECT_EQ(encode(read, "abb <end>"), (Ids{1, kMarkA, kBb, kMark, kEnd}));

  GgufTokenizerFields fields;
  fields.source = "t.gguf", fields.model = "t5", fields.tokens = spec.tokens, fields.eos = 2, fields.unknown = 0;
  fields.scores = spec.sentencepiece->scores;
  for (size_t id = 0; id < spec.tokens.size(); ++id)
    fields.token_type.push_back(id == 0 ? 2 : id < 3 || id == kEnd ? 3 : id < kMark ? 6 : 1);
  fields.precompiled_charsmap = charsmap(), fields.remove_extra_whitespaces = true;
  EXPECT_EQ(encode(make_gguf_spec(fields), " Abb  A "), (Ids{kMarkA, kBb, kMarkA, 2}));

  nlohmann::json document = {{"model", {{"type", "Unigram"}, {"unk_id", 0}, {"byte_fallback", true}}},
                             {"normalizer", {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "▁"}}}};
  for (size_t id = 0; id < spec.tokens.size(); ++id)
    document["model"]["vocab"].push_back({spec.tokens[id], spec.sentencepiece->scores[id]});
  EXPECT_EQ(encode(parse_tokenizer_json(document.dump(), "", "t.json"), "abb a"), (Ids{kA, kBb, kMarkA}));
}

TEST(SentencePiece, RefusesWhatCannotWork) {
  const auto make = [](TokenizerSpec spec) { return refusal([&] { Tokenizer tokenizer(std::move(spec)); }); };
  TokenizerSpec spec = tiny();
  spec.sentencepiece->scores.pop_back();
  EXPECT_EQ(make(spec), "[tokenizer] tiny: 265 scores, must be 266, one for each token");
  spec = tiny();
  spec.sentencepiece->scores[260] = NAN;
  EXPECT_EQ(make(spec), "[tokenizer] tiny: the score of token 260 is nan, must be finite");
  spec = tiny();
  spec.tokens[3 + 'A'] = "A";
  EXPECT_EQ(make(spec), "[tokenizer] tiny: no token <0x41>, must have one for each byte");
}

}  // namespace
}  // namespace lowkey
