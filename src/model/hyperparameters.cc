#include "model/hyperparameters.h"

#include <algorithm>

namespace lowkey {

const char* Hyperparameters::name(const char* hugging_face) const {
  for (const Alias& alias : family_.aliases)
    if (hugging_face == std::string_view(alias.usual) && config_->find(alias.own) != nullptr) return alias.own;
  return hugging_face;
}

std::string Hyperparameters::key(const char* gguf) const { return fmt::format("{}.{}", family_.architecture, gguf); }

int64_t Hyperparameters::integer(const char* hugging_face, const char* gguf, int64_t otherwise) const {
  if (config_) return hugging_face == nullptr ? otherwise : config_->integer(name(hugging_face), otherwise);
  return gguf == nullptr ? otherwise : gguf_->integer(key(gguf), otherwise);
}

int Hyperparameters::size(const char* hugging_face, const char* gguf, int64_t otherwise) const {
  return narrow(integer(hugging_face, gguf, otherwise));
}

double Hyperparameters::number(const char* hugging_face, const char* gguf, double otherwise) const {
  if (config_) return hugging_face == nullptr ? otherwise : config_->number(name(hugging_face), otherwise);
  return gguf == nullptr ? otherwise : gguf_->number(key(gguf), otherwise);
}

std::string Hyperparameters::word(const char* hugging_face, const char* gguf) const {
  if (config_) return hugging_face == nullptr ? "" : config_->word(name(hugging_face));
  return gguf == nullptr ? "" : gguf_->text(key(gguf), "");
}

bool Hyperparameters::flag(const char* hugging_face, const char* gguf, bool otherwise) const {
  if (config_) return hugging_face == nullptr ? otherwise : config_->flag(name(hugging_face), otherwise);
  return gguf == nullptr ? otherwise : gguf_->boolean(key(gguf), otherwise);
}

std::vector<bool> Hyperparameters::flags(const char* gguf) const {
  const auto* array = std::get_if<GgufArray>(gguf_->value(key(gguf)));
  if (array == nullptr) return {};
  if (const auto* flags = std::get_if<std::vector<bool>>(&array->values)) return *flags;
  std::vector<bool> flags;
  for (int64_t value : gguf_->integers(key(gguf))) flags.push_back(value != 0);
  return flags;
}

}  // namespace lowkey
