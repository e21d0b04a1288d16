#include "apps/cli/report/json_reader.h"

#include <fmt/format.h>

#include "base/error.h"

namespace lowkey::cli {

using nlohmann::json;

constexpr int kDeepest = 32;  // results nest half as deep; writing them out again calls itself for each level

json parse_json(std::string_view text) {
  const auto guard = [](int depth, json::parse_event_t, json&) {
    LK_REQUIRE(depth <= kDeepest, kCorruptFile, "nested deeper than {} levels", kDeepest);
    return true;
  };
  try {
    return json::parse(text, guard);
  } catch (const json::parse_error& error) {
    throw Error(ErrorKind::kCorruptFile, fmt::format("not JSON (byte {})", error.byte));
  } catch (const json::exception&) {
    throw Error(ErrorKind::kCorruptFile, "a number that is out of range");
  }
}

const json* member(const json& object, const std::string& key) {
  LK_REQUIRE(object.is_object(), kCorruptFile, "an object with '{}' was expected, not {}", key, object.type_name());
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

double as_number(const json& value, const std::string& key) {
  if (value.is_null()) return std::numeric_limits<double>::quiet_NaN();
  LK_REQUIRE(value.is_number(), kCorruptFile, "'{}' is not a number", key);
  return value.get<double>();
}

double number(const json& object, const std::string& key) {
  const json* value = member(object, key);
  return value ? as_number(*value, key) : std::numeric_limits<double>::quiet_NaN();
}

std::string text(const json& object, const std::string& key) {
  const json* value = member(object, key);
  LK_REQUIRE(!value || value->is_string(), kCorruptFile, "'{}' is not text", key);
  return value ? value->get<std::string>() : "";
}

const json& array(const json& object, const std::string& key) {
  static const json kEmpty = json::array();
  const json* value = member(object, key);
  LK_REQUIRE(!value || value->is_array(), kCorruptFile, "'{}' is not an array", key);
  return value ? *value : kEmpty;
}

const json& object_at(const json& object, const std::string& key) {
  static const json kEmpty = json::object();
  const json* value = member(object, key);
  LK_REQUIRE(!value || value->is_object(), kCorruptFile, "'{}' is not an object", key);
  return value ? *value : kEmpty;
}

std::vector<double> numbers(const json& object, const std::string& key) {
  std::vector<double> values;
  for (const json& value : array(object, key)) values.push_back(as_number(value, key));
  return values;
}

bool is_scalar(const json& value) { return value.is_string() || value.is_number() || value.is_boolean(); }

std::string scalar_text(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  return value.is_number_float() ? fmt::format("{:.6g}", value.get<double>()) : value.dump();
}

}  // namespace lowkey::cli
