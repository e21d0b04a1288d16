#include "text/json_field.h"

#include "base/error.h"

namespace lowkey {
namespace {

using nlohmann::json;

constexpr size_t kMostShown = 60;  // characters of a value in a message

std::string shown(const json& value) {
  if (value.is_structured()) return value.type_name();
  // Line breaks and the like come out escaped, cut-off characters replaced.
  std::string text = value.dump(-1, ' ', true);
  return text.size() <= kMostShown ? text : text.substr(0, kMostShown) + "...";
}

}  // namespace

JsonField JsonField::operator[](std::string_view key) const {
  std::string path = path_.empty() ? std::string(key) : path_ + "." + std::string(key);
  if (missing()) return {nullptr, source_, path};
  const json& members = object();
  auto found = members.find(key);
  return {found == members.end() ? nullptr : &*found, source_, path};
}

JsonField JsonField::operator[](size_t index) const {
  return {&array()[index], source_, fmt::format("{}[{}]", path_, index)};
}

size_t JsonField::size() const { return missing() ? 0 : array().size(); }

const std::string& JsonField::text() const {
  if (!is_text()) corrupt("must be a string");
  return value_->get_ref<const std::string&>();
}

bool JsonField::boolean(bool otherwise) const {
  if (missing()) return otherwise;
  if (!value_->is_boolean()) corrupt("must be true or false");
  return value_->get<bool>();
}

int64_t JsonField::integer(int64_t otherwise) const {
  if (missing()) return otherwise;
  if (!value_->is_number_integer()) corrupt("must be a whole number");
  return value_->get<int64_t>();
}

const json& JsonField::object() const {
  if (missing() || !value_->is_object()) corrupt("must be an object");
  return *value_;
}

const json& JsonField::array() const {
  if (missing() || !value_->is_array()) corrupt("must be an array");
  return *value_;
}

std::string JsonField::complaint(std::string_view rule) const {
  return fmt::format("[tokenizer] {}: {}={}, {}", source_, path_.empty() ? "the document" : path_,
                     value_ == nullptr ? "(missing)" : shown(*value_), rule);
}

void JsonField::corrupt(std::string_view rule) const { throw Error(ErrorKind::kCorruptFile, complaint(rule)); }
void JsonField::unsupported(std::string_view rule) const { throw Error(ErrorKind::kUnsupported, complaint(rule)); }

}  // namespace lowkey
