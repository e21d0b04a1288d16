#include <stdexcept>

#include "bad_files/bad_file.h"
#include "bad_files/tiny_model.h"

namespace lowkey {
namespace {

constexpr ErrorKind kCorrupt = ErrorKind::kCorruptFile;
constexpr ErrorKind kUnsupported = ErrorKind::kUnsupported;

std::string replaced(std::string text, const std::string& old, const std::string& now) {
  const size_t at = text.find(old);
  if (at == std::string::npos) throw std::logic_error("no '" + old + "' to replace");
  return text.replace(at, old.size(), now);
}

BadFile with_file(const std::string& name, const std::string& file, const std::string& words, const std::string& text,
                  ErrorKind kind = kCorrupt) {
  const auto write = [file, text](const TestFolder& folder) {
    write_tiny_folder(folder, "model");
    folder.write("model/" + file, text);
  };
  return {name, write, "model", file, words, kind};
}

BadFile config(const std::string& words, const std::string& old, const std::string& now, ErrorKind kind = kCorrupt) {
  return with_file("config, " + now, "config.json", words, replaced(tiny_config_json(), old, now), kind);
}

BadFile tokenizer(const std::string& name, const std::string& words, const std::string& old, const std::string& now,
                  ErrorKind kind = kCorrupt) {
  return with_file("tokenizer, " + name, "tokenizer.json", words, replaced(tiny_tokenizer_json(), old, now), kind);
}

std::vector<BadFile> config_cases() {
  const std::string rope = "\"rope_theta\": 10000.0";
  return {
      with_file("config, empty", "config.json", "", ""),
      with_file("config, a list", "config.json", "array", "[]"),
      with_file("config, 100000 open arrays", "config.json", "", std::string(100000, '[')),
      with_file("config, cut", "config.json", "", tiny_config_json().substr(0, 100)),
      config("'mamba'", "\"llama\"", "\"mamba\"", kUnsupported),
      config("hidden_size", "\"hidden_size\": 32", "\"hidden_size\": \"32\""),
      config("width", "\"hidden_size\": 32", "\"hidden_size\": 0"),
      config("width", "\"hidden_size\": 32", "\"hidden_size\": -32"),
      config("width", "\"hidden_size\": 32", "\"hidden_size\": 4294967328"),
      config("layers", "\"num_hidden_layers\": 1", "\"num_hidden_layers\": 1000000000"),
      config("kv_heads=3", "\"num_key_value_heads\": 1", "\"num_key_value_heads\": 3"),
      config("heads=3", "\"num_attention_heads\": 2, \"num_key_value_heads\": 1",
             "\"num_attention_heads\": 3, \"num_key_value_heads\": 2"),
      config("head_dim=7", "\"head_dim\": 16", "\"head_dim\": 7", kUnsupported),
      config("context", "\"max_position_embeddings\": 128", "\"max_position_embeddings\": 0"),
      config("epsilon", "\"rms_norm_eps\": 1e-05", "\"rms_norm_eps\": -1"),
      config("", "\"rms_norm_eps\": 1e-05", "\"rms_norm_eps\": 1e999"),
      config("rope base", rope, "\"rope_theta\": 0"),
      config("'dynamic'", rope, rope + ", \"rope_scaling\": {\"rope_type\": \"dynamic\", \"factor\": 2}", kUnsupported),
      config("rope factor", rope, rope + ", \"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 0}"),
      config("rope_scaling", rope, rope + ", \"rope_scaling\": 8"),
      config("hidden_act 'gelu'", "\"silu\"", "\"gelu\"", kUnsupported),
      config("partial_rotary_factor", rope, rope + ", \"partial_rotary_factor\": 1.5"),
  };
}

std::vector<BadFile> tokenizer_cases() {
  const std::string no_merges = "\"merges\":[]", end = "\"content\":\"<|end|>\",\"id\":257";
  return {
      with_file("tokenizer, empty", "tokenizer.json", "", ""),
      with_file("tokenizer, a list", "tokenizer.json", "", "[]"),
      with_file("tokenizer, cut", "tokenizer.json", "not valid JSON", tiny_tokenizer_json().substr(0, 200)),
      with_file("tokenizer, 100000 open arrays", "tokenizer.json", "depth = 65", std::string(100000, '[')),
      with_file("tokenizer, a lone surrogate", "tokenizer.json", "not valid JSON", R"({"model": "\ud800"})"),
      tokenizer("a key twice", "merges", no_merges, no_merges + "," + no_merges),
      tokenizer("another model", "model.type", "\"BPE\"", "\"WordLevel\"", kUnsupported),
      tokenizer("a unigram model without scores", "model.vocab", "\"BPE\"", "\"Unigram\""),
      tokenizer("a model with a line break", "model.type", "\"BPE\"", "\"B\\nPE\"", kUnsupported),
      tokenizer("an id above all", "added_tokens", end, "\"content\":\"<|end|>\",\"id\":2000000000"),
      tokenizer("a negative id", "added_tokens", end, "\"content\":\"<|end|>\",\"id\":-1"),
      tokenizer("an id as text", "added_tokens", end, "\"content\":\"<|end|>\",\"id\":\"257\""),
      tokenizer("an id of 1e999", "number", end, "\"content\":\"<|end|>\",\"id\":1e999"),
      tokenizer("an id taken", "added_tokens", end, "\"content\":\"<|end|>\",\"id\":7"),
      tokenizer("a merge of unknown tokens", "merge", no_merges, "\"merges\":[\"no such\"]"),
      tokenizer("a merge of one word", "merge", no_merges, "\"merges\":[\"a\"]"),
      tokenizer("a merge that is a number", "merges", no_merges, "\"merges\":[1]"),
      tokenizer("merges as an object", "merges", no_merges, "\"merges\":{}"),
      tokenizer("another pre-tokenizer", "pre_tokenizer.type",
                "\"pre_tokenizer\":{\"add_prefix_space\":false,\"type\":\"ByteLevel\"",
                "\"pre_tokenizer\":{\"add_prefix_space\":false,\"type\":\"Whitespace\"", kUnsupported),
      tokenizer("another normalizer", "normalizer", "\"normalizer\":null", "\"normalizer\":{\"type\":\"Lowercase\"}",
                kUnsupported),
      tokenizer("no token for a byte", "byte", "\"a\":97", "\"aaa\":97"),
      with_file("tokenizer config, an unknown bos", "tokenizer_config.json", "bos_token", R"({"bos_token": "<s>"})"),
      with_file("tokenizer config, bos is a number", "tokenizer_config.json", "bos_token", R"({"bos_token": 1})"),
  };
}

std::vector<BadFile> folder_cases() {
  const auto without = [](const std::string& file, const std::string& culprit, const std::string& words) {
    const auto write = [file](const TestFolder& folder) {
      write_tiny_folder(folder, "model");
      std::filesystem::remove(folder / "model" / file);
    };
    return BadFile{"folder, without " + file, write, "model", culprit, words, ErrorKind::kNotFound};
  };
  return {
      without("config.json", "config.json", ""),
      without("tokenizer.json", "model", "tokenizer.json"),
      without("model.safetensors", "model", "model.safetensors.index.json"),
      {"folder, not there", [](const TestFolder&) {}, "model", "model", "", ErrorKind::kNotFound},
  };
}

}  // namespace

std::vector<BadFile> bad_folders() {
  std::vector<BadFile> all = config_cases();
  for (auto cases : {tokenizer_cases(), folder_cases()}) all.insert(all.end(), cases.begin(), cases.end());
  return all;
}

}  // namespace lowkey
