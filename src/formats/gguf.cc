#include "formats/gguf.h"

#include "base/error.h"
#include "base/printable.h"
#include "formats/gguf_parser.h"

namespace lowkey {
namespace {

std::string_view kind_of(const GgufValue& value) {
  constexpr std::string_view kKinds[] = {"a bool", "an integer", "an integer", "a float", "text", "an array"};
  return kKinds[value.index()];
}

}  // namespace

Gguf Gguf::open(const std::filesystem::path& path, FilePlace place) {
  MappedFile file(path, place);
  Gguf gguf = parse(file.bytes(), file.path());
  gguf.file_ = std::move(file);
  return gguf;
}

Gguf Gguf::parse(std::span<const std::byte> bytes, const std::string& name) {
  Gguf gguf;
  gguf.path_ = name;
  GgufParser(bytes, name).parse(gguf);
  return gguf;
}

const View* Gguf::find(std::string_view tensor) const {
  const auto found = by_name_.find(tensor);
  return found == by_name_.end() ? nullptr : &tensors_[found->second].view;
}

const GgufValue* Gguf::value(std::string_view key) const {
  const auto found = metadata_.find(key);
  return found == metadata_.end() ? nullptr : &found->second;
}

void Gguf::refuse(std::string_view key, std::string_view rule) const {
  throw Error(ErrorKind::kCorruptFile, fmt::format("[gguf] {}: '{}' is {}, must be {}", printable(path_, 300),
                                                   printable(key), kind_of(*value(key)), rule));
}

int64_t Gguf::integer(std::string_view key, int64_t otherwise) const {
  const GgufValue* found = value(key);
  if (found == nullptr) return otherwise;
  if (const auto* x = std::get_if<int64_t>(found)) return *x;
  const auto* x = std::get_if<uint64_t>(found);
  if (x == nullptr || *x > INT64_MAX) refuse(key, "an integer below 2^63");
  return static_cast<int64_t>(*x);
}

double Gguf::number(std::string_view key, double otherwise) const {
  const GgufValue* found = value(key);
  if (found == nullptr) return otherwise;
  if (const auto* x = std::get_if<double>(found)) return *x;
  if (const auto* x = std::get_if<int64_t>(found)) return static_cast<double>(*x);
  if (const auto* x = std::get_if<uint64_t>(found)) return static_cast<double>(*x);
  refuse(key, "a number");
}

bool Gguf::boolean(std::string_view key, bool otherwise) const {
  const GgufValue* found = value(key);
  if (found == nullptr) return otherwise;
  if (!std::holds_alternative<bool>(*found)) refuse(key, "a bool");
  return std::get<bool>(*found);
}

std::string Gguf::text(std::string_view key, std::string_view otherwise) const {
  const GgufValue* found = value(key);
  if (found == nullptr) return std::string(otherwise);
  if (!std::holds_alternative<std::string>(*found)) refuse(key, "text");
  return std::get<std::string>(*found);
}

const std::vector<std::string>* Gguf::texts(std::string_view key) const {
  const GgufValue* found = value(key);
  if (found == nullptr) return nullptr;
  const auto* array = std::get_if<GgufArray>(found);
  const auto* texts = array ? std::get_if<std::vector<std::string>>(&array->values) : nullptr;
  if (texts == nullptr) refuse(key, "an array of texts");
  return texts;
}

std::vector<int64_t> Gguf::integers(std::string_view key) const {
  const GgufValue* found = value(key);
  if (found == nullptr) return {};
  if (const auto* array = std::get_if<GgufArray>(found)) {
    if (const auto* x = std::get_if<std::vector<int64_t>>(&array->values)) return *x;
    if (const auto* x = std::get_if<std::vector<uint64_t>>(&array->values)) {
      for (uint64_t element : *x)
        if (element > INT64_MAX) refuse(key, "an array of integers below 2^63");
      return {x->begin(), x->end()};
    }
  }
  refuse(key, "an array of integers");
}

std::vector<double> Gguf::numbers(std::string_view key) const {
  const GgufValue* found = value(key);
  if (found == nullptr) return {};
  if (const auto* array = std::get_if<GgufArray>(found))
    if (const auto* x = std::get_if<std::vector<double>>(&array->values)) return *x;
  refuse(key, "an array of floats");
}

}  // namespace lowkey
