#include "model/tokenizer_loader.h"

#include "base/error.h"
#include "formats/gguf.h"
#include "model/checkpoint.h"
#include "model/gguf_tokenizer.h"
#include "text/chat_template.h"
#include "text/sentencepiece_model.h"
#include "text/tiktoken.h"
#include "text/wordpiece_spec.h"

namespace lowkey {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMostBytes = int64_t{256} << 20;  // of a tokenizer's file

bool is_there(const fs::path& path) {
  std::error_code failed;
  return fs::exists(path, failed);
}

// tokenizer_config.json in the same folder, or "".
std::string config_beside(const fs::path& path) {
  const fs::path config = path.parent_path() / "tokenizer_config.json";
  return is_there(config) ? read_text(config, kMostBytes) : "";
}

TokenizerSpec read_json(const fs::path& path) {
  return parse_tokenizer_json(read_text(path, kMostBytes), config_beside(path), path.string());
}

TokenizerSpec read_vocabulary(const fs::path& path) {
  return parse_wordpiece_vocabulary(read_text(path, kMostBytes), config_beside(path), path.string());
}

// Two formats go by the name tokenizer.model.
TokenizerSpec read_model(const fs::path& path) {
  const std::string bytes = read_text(path, kMostBytes);
  if (is_sentencepiece(bytes)) return parse_sentencepiece(bytes, config_beside(path), path.string());
  return parse_tiktoken(bytes, path.string());
}

TokenizerSpec read_folder(const fs::path& folder) {
  if (is_there(folder / "tokenizer.json")) return read_json(folder / "tokenizer.json");
  if (is_there(folder / "vocab.txt")) return read_vocabulary(folder / "vocab.txt");
  const fs::path ranks = folder / "tokenizer.model";
  LK_REQUIRE(is_there(ranks), kNotFound,
             "[tokenizer] {}: none of tokenizer.json, vocab.txt and tokenizer.model, must have one", folder.string());
  return read_model(ranks);
}

// In the folder of a tokenizer's file: chat_template.jinja, or what tokenizer_config.json says.
std::string chat_template_in(const fs::path& folder) {
  if (is_there(folder / "chat_template.jinja")) return read_text(folder / "chat_template.jinja", kMostBytes);
  for (const char* name : {"tokenizer_config.json", "chat_template.json"})
    if (is_there(folder / name))
      if (auto text = read_chat_template(read_text(folder / name, kMostBytes), (folder / name).string()); !text.empty())
        return text;
  return "";
}

// A specification that came from a file and is not sound is the file's fault, not the caller's.
Tokenizer made(TokenizerSpec spec) {
  guard_marks(&spec);
  try {
    return Tokenizer(std::move(spec));
  } catch (const Error& error) {
    throw Error(error.kind() == ErrorKind::kInvalidArgument ? ErrorKind::kCorruptFile : error.kind(), error.what());
  }
}

}  // namespace

Tokenizer load_tokenizer(const fs::path& path) {
  std::error_code failed;
  const bool folder = fs::is_directory(path, failed);
  const auto with_template = [&](TokenizerSpec spec) {
    spec.chat_template = chat_template_in(folder ? path : path.parent_path());
    return made(std::move(spec));
  };
  if (folder) return with_template(read_folder(path));
  if (path.extension() == ".json") return with_template(read_json(path));
  if (path.extension() == ".model") return with_template(read_model(path));
  if (path.extension() == ".txt") return made(read_vocabulary(path));
  return made(tokenizer_spec(Gguf::open(path)));
}

}  // namespace lowkey
