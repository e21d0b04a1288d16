// JsonField: a value of a JSON file that knows its place in it, so that every complaint names the file, the field, the
// value and the rule.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace lowkey {

class JsonField {
 public:
  // Borrows the document, which must stay.
  JsonField(const nlohmann::json& document, const std::string& source) : JsonField(&document, source, "") {}

  bool missing() const noexcept { return value_ == nullptr || value_->is_null(); }
  // The member `key`: missing when there is none. Throws when this is neither an object nor missing.
  JsonField operator[](std::string_view key) const;
  JsonField operator[](size_t index) const;  // needs index < size()
  size_t size() const;                       // of an array, 0 when missing; throws for other values

  // The value; throws kCorruptFile when it is of another type, or missing and no `otherwise` was given.
  const std::string& text() const;
  std::string text(const std::string& otherwise) const { return missing() ? otherwise : text(); }
  bool boolean(bool otherwise) const;
  int64_t integer(int64_t otherwise) const;
  const nlohmann::json& object() const;
  const nlohmann::json& array() const;
  bool is_text() const noexcept { return value_ != nullptr && value_->is_string(); }

  // "[tokenizer] FILE: FIELD=VALUE, RULE"
  [[noreturn]] void corrupt(std::string_view rule) const;
  [[noreturn]] void unsupported(std::string_view rule) const;

 private:
  JsonField(const nlohmann::json* value, std::string source, std::string path)
      : value_(value), source_(std::move(source)), path_(std::move(path)) {}
  std::string complaint(std::string_view rule) const;

  const nlohmann::json* value_;  // null: the field is not there
  std::string source_, path_;
};

}  // namespace lowkey
