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
  // Other kinds have other keys: make_gguf_spec names the kind.
  if (fields.model != "gpt2") return make_gguf_spec(std::move(fields));
  fields.tokens = texts("tokenizer.ggml.tokens");
  fields.merges = texts("tokenizer.ggml.merges");
  fields.token_type = gguf.integers("tokenizer.ggml.token_type");
  fields.bos = gguf.integer("tokenizer.ggml.bos_token_id", -1);
  fields.eos = gguf.integer("tokenizer.ggml.eos_token_id", -1);
  fields.eot = gguf.integer("tokenizer.ggml.eot_token_id", -1);
  fields.eom = gguf.integer("tokenizer.ggml.eom_token_id", -1);
  if (gguf.value("tokenizer.ggml.add_bos_token") != nullptr)
    fields.add_bos = gguf.boolean("tokenizer.ggml.add_bos_token", false);
  fields.add_space_prefix = gguf.boolean("tokenizer.ggml.add_space_prefix", false);
  return make_gguf_spec(std::move(fields));
}

}  // namespace lowkey
