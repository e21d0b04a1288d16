#include "model/gguf_tokenizer.h"

#include "base/error.h"
#include "text/gguf_spec.h"

namespace lowkey {

TokenizerSpec tokenizer_spec(const Gguf& gguf) {
  const auto texts = [&](const char* key) {
    const std::vector<std::string>* found = gguf.texts(key);
    LK_REQUIRE(found != nullptr, kCorruptFile, "[tokenizer] {}: no {}, must be there", gguf.path(), key);
    return *found;
  };
  GgufTokenizerFields fields;
  fields.source = gguf.path();
  fields.model = gguf.text("tokenizer.ggml.model", "");
  fields.pre = gguf.text("tokenizer.ggml.pre", "");
  if (!is_known_tokenizer(fields.model))
    return make_gguf_spec(std::move(fields));  // which names the kind; others have other keys
  fields.tokens = texts("tokenizer.ggml.tokens");
  if (fields.model == "gpt2") fields.merges = texts("tokenizer.ggml.merges");
  fields.scores = gguf.numbers("tokenizer.ggml.scores");
  fields.token_type = gguf.integers("tokenizer.ggml.token_type");
  const auto id = [&](const char* name) { return gguf.integer(fmt::format("tokenizer.ggml.{}_token_id", name), -1); };
  fields.bos = id("bos"), fields.eos = id("eos"), fields.eot = id("eot"), fields.eom = id("eom");
  fields.unknown = id("unknown"), fields.cls = id("cls"), fields.separator = id("seperator");
  const auto flag = [&](const char* name) {
    const std::string key = fmt::format("tokenizer.ggml.{}", name);
    return gguf.value(key) == nullptr ? std::nullopt : std::optional(gguf.boolean(key, false));
  };
  fields.add_bos = flag("add_bos_token"), fields.add_eos = flag("add_eos_token");
  fields.add_space_prefix = flag("add_space_prefix");
  fields.remove_extra_whitespaces = flag("remove_extra_whitespaces").value_or(false);
  for (int64_t byte : gguf.integers("tokenizer.ggml.precompiled_charsmap"))
    fields.precompiled_charsmap.push_back(static_cast<char>(byte));
  fields.name = gguf.text("general.name", "");
  fields.chat_template = gguf.text("tokenizer.chat_template", "");
  return make_gguf_spec(std::move(fields));
}

}  // namespace lowkey
