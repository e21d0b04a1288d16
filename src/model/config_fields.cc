#include "model/config_fields.h"

#include "base/error.h"
#include "base/json.h"

namespace lowkey {

using Json = nlohmann::json;

ConfigFields::ConfigFields(std::string_view text, const std::string& source)
    : json_(parse_json(text, "[config] " + source)), source_(source) {
  LK_REQUIRE(json_.is_object(), kCorruptFile, "[config] {}: the file is a {}, must be an object", source,
             json_.type_name());
}

const Json* ConfigFields::find(const char* key) const {
  const auto found = json_.find(key);
  return found == json_.end() || found->is_null() ? nullptr : &*found;
}

int64_t ConfigFields::integer(const char* key, int64_t otherwise) const {
  const Json* found = find(key);
  if (found == nullptr) return otherwise;
  LK_REQUIRE(found->is_number_integer(), kCorruptFile, "[config] {}: {} is a {}, must be an integer", source_, key,
             found->type_name());
  return found->get<int64_t>();
}

double ConfigFields::number(const char* key, double otherwise) const {
  const Json* found = find(key);
  if (found == nullptr) return otherwise;
  LK_REQUIRE(found->is_number(), kCorruptFile, "[config] {}: {} is a {}, must be a number", source_, key,
             found->type_name());
  return found->get<double>();
}

std::string ConfigFields::word(const char* key) const {
  const Json* found = find(key);
  if (found == nullptr) return "";
  LK_REQUIRE(found->is_string(), kCorruptFile, "[config] {}: {} is a {}, must be a string", source_, key,
             found->type_name());
  return found->get<std::string>();
}

bool ConfigFields::flag(const char* key, bool otherwise) const {
  const Json* found = find(key);
  if (found == nullptr) return otherwise;
  LK_REQUIRE(found->is_boolean(), kCorruptFile, "[config] {}: {} is a {}, must be true or false", source_, key,
             found->type_name());
  return found->get<bool>();
}

std::optional<ConfigFields> ConfigFields::object(const char* key) const {
  const Json* found = find(key);
  if (found == nullptr) return std::nullopt;
  LK_REQUIRE(found->is_object(), kCorruptFile, "[config] {}: {} is a {}, must be an object", source_, key,
             found->type_name());
  ConfigFields inner;
  inner.json_ = *found, inner.source_ = source_;
  return inner;
}

}  // namespace lowkey
