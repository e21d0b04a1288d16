// Texts and ids that others made: llama.cpp's pairs for several vocabularies, and strings of Hugging Face
// tokenizers.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "model/tokenizer_loader.h"

namespace lowkey {
namespace {

namespace fs = std::filesystem;

const fs::path kRoot = LOWKEY_SOURCE_DIR;
const fs::path kShared = kRoot / ".." / "shared";

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// "text\n__ggml_vocab_test__\ntext..." beside a line of ids for each.
void expect_pairs(const Tokenizer& tokenizer, const fs::path& stem) {
  constexpr std::string_view kBetween = "\n__ggml_vocab_test__\n";
  const std::string input = read(stem.string() + ".inp");
  std::istringstream output(read(stem.string() + ".out"));
  size_t texts = 0;
  for (size_t at = 0, end; (end = input.find(kBetween, at)) != input.npos; at = end + kBetween.size()) {
    const std::string text = input.substr(at, end - at);
    std::string line;
    ASSERT_TRUE(std::getline(output, line)) << "more texts than lines of ids";
    std::istringstream words(line);
    std::vector<int32_t> expected;
    for (int32_t id; words >> id;) expected.push_back(id);
    const auto ids = tokenizer.encode(text, {.add_bos = false, .parse_special = false});
    EXPECT_EQ(ids, expected) << text;
    if (!tokenizer.spec().wordpiece) {
      EXPECT_EQ(tokenizer.decode(ids), text);
    }
    ++texts;
  }
  EXPECT_GE(texts, 40u);
}

TEST(TokenizerPairs, Gpt2FromGguf) {
  const fs::path vocabulary = kShared / "tokenizers/llama.cpp/ggml-vocab-gpt-2.gguf";
  if (!fs::exists(vocabulary)) GTEST_SKIP() << vocabulary.string() << " is not here";
  expect_pairs(load_tokenizer(vocabulary), vocabulary);
}

TEST(TokenizerPairs, Gpt2FromTokenizerJson) {
  const fs::path folder = kShared / "tokenizers/gpt2";
  if (!fs::exists(folder)) GTEST_SKIP() << folder.string() << " is not here";
  expect_pairs(load_tokenizer(folder), kShared / "tokenizers/llama.cpp/ggml-vocab-gpt-2.gguf");
}

TEST(TokenizerPairs, Llama3FromTokenizerModel) {
  const fs::path folder = kShared / "tokenizers/llama3";
  if (!fs::exists(folder)) GTEST_SKIP() << folder.string() << " is not here";
  const Tokenizer tokenizer = load_tokenizer(folder);
  EXPECT_EQ(tokenizer.vocabulary_size(), 128256);
  EXPECT_EQ(tokenizer.encode("<|eot_id|>"), (std::vector<int32_t>{128000, 128009}));
  expect_pairs(tokenizer, kShared / "tokenizers/llama.cpp/ggml-vocab-llama-bpe.gguf");
}

TEST(TokenizerPairs, BertFromVocabularyAlone) {
  const fs::path folder = kShared / "tokenizers/bert-base-uncased";
  if (!fs::exists(folder)) GTEST_SKIP() << folder.string() << " is not here";
  const Tokenizer tokenizer = load_tokenizer(folder);
  EXPECT_EQ(tokenizer.vocabulary_size(), 30522);
  EXPECT_EQ(tokenizer.encode("Hello"), (std::vector<int32_t>{101, 7592, 102}));
  expect_pairs(tokenizer, kShared / "tokenizers/llama.cpp/ggml-vocab-bert-bge.gguf");
}

TEST(TokenizerPairs, OfGgufFiles) {
  for (const char* name : {"llama-spm", "phi-3", "bert-bge", "starcoder"}) {
    SCOPED_TRACE(name);
    const fs::path vocabulary = kShared / "tokenizers/llama.cpp" / fmt::format("ggml-vocab-{}.gguf", name);
    if (!fs::exists(vocabulary)) GTEST_SKIP() << vocabulary.string() << " is not here";
    expect_pairs(load_tokenizer(vocabulary), vocabulary);
  }
}

TEST(TokenizerPairs, Llama2FromTokenizerModel) {
  const fs::path folder = kShared / "tokenizers/llama2";
  if (!fs::exists(folder)) GTEST_SKIP() << folder.string() << " is not here";
  const Tokenizer tokenizer = load_tokenizer(folder);
  EXPECT_EQ(tokenizer.vocabulary_size(), 32000);
  EXPECT_EQ(tokenizer.encode("Hello"), (std::vector<int32_t>{1, 15043}));
  expect_pairs(tokenizer, kShared / "tokenizers/llama.cpp/ggml-vocab-llama-spm.gguf");
}

// Made by tools/compare_tokenizers.py --fixture, as the next: words at the limit of length, accents, ideographs.
TEST(TokenizerPairs, RandomStringsOfTheTinyBert) {
  const Tokenizer tokenizer = load_tokenizer(kRoot / "tests/data/tiny-bert");
  const auto strings = nlohmann::json::parse(read(kRoot / "tests/data/wordpiece_strings.json"));
  EXPECT_EQ(strings.size(), 600u);
  for (const auto& pair : strings) {
    const auto text = pair[0].get<std::string>();
    ASSERT_EQ(tokenizer.encode(text, {.add_bos = false}), pair[1].get<std::vector<int32_t>>()) << text;
  }
}

// Made by tools/compare_tokenizers.py --fixture: control characters, emoji, CJK, combining marks and the like.
TEST(TokenizerPairs, RandomStringsOfTheDemoModel) {
  fs::path model = kRoot / "models/demo-12m.q8_0.gguf";
  if (!fs::exists(model)) model = kShared / "models/demo-12m";
  if (!fs::exists(model)) GTEST_SKIP() << model.string() << " is not here";
  const Tokenizer tokenizer = load_tokenizer(model);
  const auto strings = nlohmann::json::parse(read(kRoot / "tests/data/tokenizer_strings.json"));
  EXPECT_EQ(strings.size(), 2000u);
  for (const auto& pair : strings) {
    const auto text = pair[0].get<std::string>();
    const auto ids = tokenizer.encode(text, {.add_bos = false});
    ASSERT_EQ(ids, pair[1].get<std::vector<int32_t>>()) << text;
    ASSERT_EQ(tokenizer.decode(ids, /*with_special=*/true), text);
  }
}

}  // namespace
}  // namespace lowkey
