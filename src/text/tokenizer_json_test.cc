#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "lowkey/error.h"
#include "text/gguf_spec.h"
#include "text/pretokenizer.h"
#include "text/tiktoken.h"
#include "text/tiny_tokenizer.h"

namespace lowkey {
namespace {

using nlohmann::json;

json added_token(int id, const std::string& content, bool special) {
  return {{"id", id}, {"content", content}, {"special", special}, {"normalized", false}, {"lstrip", false}};
}

// tiny::spec() as Hugging Face would write it.
json tiny_document() {
  const TokenizerSpec spec = tiny::spec();
  json vocabulary = json::object();
  for (int32_t id = 0; id < tiny::kPlain; ++id) vocabulary[spec.tokens[id]] = id;
  json split = {{"type", "Split"},
                {"pattern", {{"Regex", pretokenizer_regex(Pretokenizer::kLlama3)}}},
                {"behavior", "Isolated"},
                {"invert", false}};
  json bytes = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  json single = json::array({{{"SpecialToken", {{"id", "<bos>"}, {"type_id", 0}}}}, {{"Sequence", {{"id", "A"}}}}});
  return {
      {"added_tokens", json::array({added_token(tiny::kPlain, "<plain>", false), added_token(tiny::kBos, "<bos>", true),
                                    added_token(tiny::kEnd, "<|eot_id|>", true)})},
      {"normalizer", nullptr},
      {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", json::array({split, bytes})}}},
      {"post_processor", {{"type", "TemplateProcessing"}, {"single", single}}},
      {"decoder", {{"type", "ByteLevel"}}},
      {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", spec.merges}}}};
}

TEST(TokenizerJson, ReadsWhatHuggingFaceWrites) {
  const TokenizerSpec expected = tiny::spec();
  const TokenizerSpec spec = parse_tokenizer_json(tiny_document().dump(), "", "tiny");
  EXPECT_EQ(spec.tokens, expected.tokens);
  EXPECT_EQ(spec.merges, expected.merges);
  EXPECT_EQ(spec.special, expected.special);
  EXPECT_EQ(spec.added, expected.added);
  EXPECT_EQ(spec.end_ids, expected.end_ids);
  EXPECT_EQ(spec.pretokenizer, Pretokenizer::kLlama3);
  EXPECT_EQ(spec.bos, tiny::kBos);
  EXPECT_TRUE(spec.add_bos);
  EXPECT_FALSE(spec.nfc);
}

TEST(TokenizerJson, MergesMayBePairsAndTheVocabularyMayHaveHoles) {
  json document = tiny_document();
  document["model"]["merges"] = json::array({json::array({"h", "e"}), json::array({"l", "l"})});
  document["model"]["vocab"]["far"] = 400;
  document["normalizer"] = {{"type", "NFC"}};
  const TokenizerSpec spec = parse_tokenizer_json(document.dump(), "", "tiny");
  EXPECT_EQ(spec.merges, (std::vector<std::string>{"h e", "l l"}));
  EXPECT_EQ(spec.tokens.size(), 401u);
  EXPECT_EQ(spec.tokens[300], "");
  EXPECT_TRUE(spec.nfc);
  EXPECT_EQ(Tokenizer(spec).piece(300), "");
}

TEST(TokenizerJson, TheConfigNamesBosAndEos) {
  const std::string config = R"({"bos_token": null, "eos_token": {"content": "<bos>"}, "add_bos_token": false})";
  const TokenizerSpec spec = parse_tokenizer_json(tiny_document().dump(), config, "tiny");
  EXPECT_EQ(spec.eos, tiny::kBos);
  EXPECT_FALSE(spec.add_bos);
  EXPECT_EQ(spec.end_ids, (std::vector<int32_t>{tiny::kBos, tiny::kEnd}));
}

std::string refusal(const std::string& text, const std::string& config = "") {
  try {
    parse_tokenizer_json(text, config, "t.json");
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

struct BadCase {
  const char* name;
  std::function<void(json&)> spoil;
  const char* message;  // how it begins after "[tokenizer] t.json: "
};

TEST(TokenizerJson, EachFaultHasOneClearLine) {
  const BadCase cases[] = {
      {"no model", [](json& d) { d.erase("model"); }, "model.vocab=(missing), must be an object"},
      {"array", [](json& d) { d = json::array(); }, "the document=array, must be an object"},
      {"model type", [](json& d) { d["model"]["type"] = "WordLevel"; }, "model.type=\"WordLevel\", only BPE"},
      {"unigram", [](json& d) { d["model"]["type"] = "Unigram"; }, "model.vocab=object, must be an array"},
      {"piece", [](json& d) { d["model"] = {{"type", "Unigram"}, {"vocab", {{"a", 0}, {"b"}}}}; },
       "model.vocab[1]=array, must be [\"piece\", score]"},
      {"unknown", [](json& d) { d["model"] = json::parse(R"({"type": "Unigram", "unk_id": 2, "vocab": [["a", 0]]})"); },
       "model.unk_id=2, must be an id of the vocabulary"},
      {"byte fallback", [](json& d) { d["model"]["byte_fallback"] = true; },
       "pre_tokenizer.pretokenizers=array, only [WhitespaceSplit, Metaspace] is supported"},
      {"suffix", [](json& d) { d["model"]["end_of_word_suffix"] = "</w>"; }, "model.end_of_word_suffix=\"</w>\", only"},
      {"text id", [](json& d) { d["model"]["vocab"]["q"] = "5"; }, "model.vocab id of \"q\"=\"5\", must be a whole"},
      {"half id", [](json& d) { d["model"]["vocab"]["q"] = 1.5; }, "model.vocab id of \"q\"=1.5, must be a whole"},
      {"negative id", [](json& d) { d["model"]["vocab"]["q"] = -1; }, "model.vocab id of \"q\"=-1, must be 0 <= id <"},
      {"huge id", [](json& d) { d["model"]["vocab"]["q"] = 2147483648u; }, "model.vocab id of \"q\"=2147483648, must"},
      {"huger id", [](json& d) { d["model"]["vocab"]["q"] = UINT64_MAX; },
       "model.vocab id of \"q\"=18446744073709551615"},
      {"id twice", [](json& d) { d["model"]["vocab"]["qq"] = 7; }, "model.vocab id of \""},
      {"no merges", [](json& d) { d["model"].erase("merges"); }, "model.merges=(missing), must be an array"},
      {"merge number", [](json& d) { d["model"]["merges"][1] = 5; }, "model.merges[1]=5, must be \"left right\""},
      {"merge of three", [](json& d) { d["model"]["merges"][1] = {"a", "b", "c"}; }, "model.merges[1]=array, must be"},
      {"added text", [](json& d) { d["added_tokens"][0]["content"] = 3; },
       "added_tokens[0].content=3, must be a string"},
      {"added id", [](json& d) { d["added_tokens"][0].erase("id"); }, "added_tokens[0].id=(missing), must be a whole"},
      {"added clash", [](json& d) { d["added_tokens"][0]["id"] = 5; }, "added_tokens id of \"<plain>\"=5, is the id"},
      {"added object", [](json& d) { d["added_tokens"] = json::object(); }, "added_tokens=object, must be an array"},
      {"lstrip", [](json& d) { d["added_tokens"][0]["lstrip"] = 1; }, "added_tokens[0].lstrip=1, must be true or"},
      {"normalizer", [](json& d) { d["normalizer"] = {{"type", "Lowercase"}}; },
       "normalizer.type=\"Lowercase\", only NFC"},
      {"no cutter", [](json& d) { d.erase("pre_tokenizer"); }, "pre_tokenizer.type=(missing), must be a string"},
      {"cutter", [](json& d) { d["pre_tokenizer"] = {{"type", "Metaspace"}}; },
       "model.fuse_unk=(missing), only true is supported without byte_fallback"},
      {"regex", [](json& d) { d["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "(?<=a)b"; },
       "pre_tokenizer.pretokenizers[0].pattern.Regex=\"(?<=a)b\", [tokenizer] the regular expression"},
      {"behaviour", [](json& d) { d["pre_tokenizer"]["pretokenizers"][0]["behavior"] = "Removed"; },
       "pre_tokenizer.pretokenizers[0].invert=false, only true with Removed"},
      {"template", [](json& d) { d["post_processor"]["single"].push_back({{"Sequence", {{"id", "B"}}}}); },
       "post_processor.single[2].SpecialToken.id=(missing), must be a string"},
      {"template token", [](json& d) { d["post_processor"]["single"][0]["SpecialToken"]["id"] = "<s>"; },
       "post_processor.single[0].SpecialToken.id=\"<s>\", must be in the vocabulary"},
      {"processor", [](json& d) { d["post_processor"] = {{"type", "Bert"}}; }, "post_processor.type=\"Bert\", only"},
      {"decoder", [](json& d) { d["decoder"] = {{"type", "WordPiece"}}; },
       "decoder.type=\"WordPiece\", only ByteLevel"},
  };
  for (const BadCase& bad : cases) {
    json document = tiny_document();
    bad.spoil(document);
    const std::string message = refusal(document.dump()), expected = std::string("[tokenizer] t.json: ") + bad.message;
    EXPECT_EQ(message.substr(0, expected.size()), expected) << bad.name;
    EXPECT_EQ(message.find('\n'), message.npos) << bad.name;
  }
}

TEST(TokenizerJson, RefusesBrokenText) {
  EXPECT_EQ(refusal(""), "[tokenizer] t.json: not valid JSON at byte 1");
  EXPECT_EQ(refusal("{\"a\": 1, \"a\": 2}"), "[tokenizer] t.json: key 'a' occurs twice, must be unique");
  EXPECT_EQ(refusal("{\"a\": 1e999}"), "[tokenizer] t.json: a number is out of range");
  EXPECT_EQ(refusal(std::string(100000, '[')), "[tokenizer] t.json: depth = 65, must be <= 64");
  EXPECT_EQ(refusal("{\"a\": \"\xFF\"}"), "[tokenizer] t.json: not valid JSON at byte 8");
  const std::string text = tiny_document().dump();
  for (size_t size = 0; size < text.size(); size += 97) EXPECT_NE(refusal(text.substr(0, size)), "accepted");
  EXPECT_EQ(refusal(text, "{\"eos_token\": \"nil\"}"),
            "[tokenizer] tokenizer_config.json beside t.json: eos_token=\"nil\", must be in the vocabulary");
}

GgufTokenizerFields tiny_fields() {
  const TokenizerSpec spec = tiny::spec();
  GgufTokenizerFields fields{.source = "t.gguf", .model = "gpt2", .pre = "llama-bpe", .tokens = spec.tokens};
  fields.merges = spec.merges;
  fields.token_type.assign(spec.tokens.size(), 1);
  fields.token_type[tiny::kPlain] = 4;
  fields.token_type[tiny::kBos] = fields.token_type[tiny::kEnd] = 3;
  fields.bos = tiny::kBos;
  return fields;
}

std::string gguf_refusal(GgufTokenizerFields fields) {
  try {
    make_gguf_spec(std::move(fields));
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST(GgufSpec, ReadsTheFields) {
  const TokenizerSpec spec = make_gguf_spec(tiny_fields()), expected = tiny::spec();
  EXPECT_EQ(spec.tokens, expected.tokens);
  EXPECT_EQ(spec.special, expected.special);
  EXPECT_EQ(spec.added, expected.added);
  EXPECT_EQ(spec.end_ids, expected.end_ids);
  EXPECT_TRUE(spec.add_bos);  // Llama-3's way when the file does not say
  EXPECT_TRUE(spec.ignore_merges);
  GgufTokenizerFields fields = tiny_fields();
  fields.pre = "";
  EXPECT_EQ(make_gguf_spec(fields).pretokenizer, Pretokenizer::kGpt2);
  EXPECT_FALSE(make_gguf_spec(fields).add_bos);
}

TEST(GgufSpec, RefusesOtherKindsAndBadValues) {
  GgufTokenizerFields fields = tiny_fields();
  fields.model = "rwkv";
  EXPECT_EQ(
      gguf_refusal(fields),
      "[tokenizer] t.gguf: tokenizer.ggml.model=rwkv, must be gpt2 (byte-level BPE), llama (SentencePiece), t5 (its "
      "unigram kind) or bert (WordPiece)");
  fields = tiny_fields();
  fields.pre = "spoken";
  EXPECT_EQ(gguf_refusal(fields).substr(0, 72),
            "[tokenizer] t.gguf: tokenizer.ggml.pre=spoken, must be one of gpt-2, def");
  fields = tiny_fields();
  fields.token_type.pop_back();
  EXPECT_EQ(gguf_refusal(fields),
            "[tokenizer] t.gguf: 264 values of tokenizer.ggml.token_type, must be 265, one for each token");
  fields = tiny_fields();
  fields.token_type[2] = 9;
  EXPECT_EQ(gguf_refusal(fields), "[tokenizer] t.gguf: tokenizer.ggml.token_type[2]=9, must be 0 to 6");
  fields = tiny_fields();
  fields.eot = int64_t{1} << 40;
  EXPECT_EQ(gguf_refusal(fields),
            "[tokenizer] t.gguf: tokenizer.ggml.eot_token_id=1099511627776, must be 0 <= id < 265");
}

TEST(Tiktoken, DerivesMergesFromRanks) {
  // a, b, c, ab, bc, abc
  const TokenizerSpec spec = parse_tiktoken("YQ== 0\nYg== 1\nYw== 2\nYWI= 3\nYmM= 4\nYWJj 5\n", "t.model");
  EXPECT_EQ(spec.merges, (std::vector<std::string>{"a b", "b c", "a bc", "ab c"}));
  EXPECT_EQ(spec.tokens.size(), 6u + 256);
  EXPECT_EQ(spec.tokens[spec.bos], "<|begin_of_text|>");
  EXPECT_EQ(spec.end_ids, (std::vector<int32_t>{7, 14, 15}));
}

TEST(Tiktoken, RefusesBadLines) {
  for (const char* text :
       {"YQ== 1\n", "YQ==\n", "YQ= 0\n", "Y*== 0\n", "YQ== 0x\n", "YQ== 0\nYQ== 1\n", " 0\n", "\nZ", "YQ== -1"})
    EXPECT_THROW(parse_tiktoken(text, "t.model"), Error) << text;
}

}  // namespace
}  // namespace lowkey
