// ConfigFields: the members of a JSON object such as config.json, each checked for its type when asked for. Errors name
// the file and the member.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace lowkey {

// What is kept in an int: 0, which no range allows, for a value that does not fit.
constexpr int narrow(int64_t value) noexcept { return value == static_cast<int>(value) ? static_cast<int>(value) : 0; }

class ConfigFields {
 public:
  // Throws kCorruptFile unless the text is a JSON object; `source` names the file.
  ConfigFields(std::string_view text, const std::string& source);

  const std::string& source() const noexcept { return source_; }
  int64_t size() const noexcept { return static_cast<int64_t>(json_.size()); }

  // What a missing member, or null, counts as comes second. Throw kCorruptFile for a value of another type.
  int64_t integer(const char* key, int64_t otherwise) const;
  int small_integer(const char* key, int64_t otherwise) const { return narrow(integer(key, otherwise)); }
  double number(const char* key, double otherwise) const;
  std::string word(const char* key) const;  // "" when missing
  bool flag(const char* key, bool otherwise = false) const;
  std::optional<ConfigFields> object(const char* key) const;
  // Null when missing.
  const nlohmann::json* find(const char* key) const;

 private:
  ConfigFields() = default;

  nlohmann::json json_;
  std::string source_;
};

}  // namespace lowkey
