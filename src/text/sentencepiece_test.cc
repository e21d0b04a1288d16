#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>

#include "lowkey/error.h"
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
    const float score = spec.sentencepiece->scores[id];
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
    return refusal([&] { parse_sentencepiece(bytes, "", "t.model"); });
  };
  const std::string sound = model_file(tiny(), kBpe);
  EXPECT_EQ(read(model_file(tiny(), "\x18\x01")),
            "[tokenizer] t.model: a SentencePiece model of type 1, must be 2 (BPE)");
  EXPECT_EQ(read(model_file(tiny(), kBpe, "\x12\x01x")),
            "[tokenizer] t.model: a SentencePiece model that rewrites characters (precompiled_charsmap), must not");
  EXPECT_EQ(read("\n\x7F"),
            "[tokenizer] t.model: 127 bytes at byte 2 of a message of 2, must be a SentencePiece model");
  EXPECT_EQ(read("\n\x04\x0A\x02hi\x0B"),
            "[tokenizer] t.model: an unknown kind of field at byte 7 of a message of 7, must be a SentencePiece model");
  for (size_t size = 1; size < sound.size(); size += 7)
    EXPECT_EQ(read(sound.substr(0, size)).find('\n'), std::string::npos) << size;
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
