// Hyperparameters: what a model's file says of its shape, asked for by both of the names it may have: that of a Hugging
// Face config.json, and that of GGUF without the architecture in front ("attention.head_count"). Null for a name that
// a format does not have.
#pragma once

#include <optional>
#include <string>

#include "formats/gguf.h"
#include "model/config_fields.h"
#include "model/family.h"

namespace lowkey {

class Hyperparameters {
 public:
  Hyperparameters(ConfigFields config, const Family& family)
      : config_(std::move(config)), family_(family), source_(config_->source()) {}
  Hyperparameters(const Gguf& file, const Family& family) : gguf_(&file), family_(family), source_(file.path()) {}

  const std::string& source() const noexcept { return source_; }
  const ConfigFields* config() const noexcept { return config_ ? &*config_ : nullptr; }  // null: a GGUF file
  const Gguf* gguf() const noexcept { return gguf_; }                                    // null: a config.json

  // What a missing one counts as comes last. Throw kCorruptFile for a value of another type.
  int64_t integer(const char* hugging_face, const char* gguf, int64_t otherwise) const;
  // The same for what is kept in an int: 0, which no range allows, for a value that does not fit.
  int size(const char* hugging_face, const char* gguf, int64_t otherwise) const;
  double number(const char* hugging_face, const char* gguf, double otherwise) const;
  std::string word(const char* hugging_face, const char* gguf) const;  // "" when missing
  bool flag(const char* hugging_face, const char* gguf, bool otherwise) const;
  std::vector<bool> flags(const char* gguf) const;  // empty when it is missing or no array

 private:
  // What this family's config.json calls it.
  const char* name(const char* hugging_face) const;
  std::string key(const char* gguf) const;

  std::optional<ConfigFields> config_;
  const Gguf* gguf_ = nullptr;
  const Family& family_;
  std::string source_;
};

}  // namespace lowkey
