// json_reader: members of a JSON object by name. Missing and null are the same; another type than asked for is refused.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace lowkey::cli {

// Throws kCorruptFile: "not JSON (byte 17)", or nested deeper than any result is.
nlohmann::json parse_json(std::string_view text);

// Null when missing. Throws kCorruptFile when `object` is not one.
const nlohmann::json* member(const nlohmann::json& object, const std::string& key);

// NaN, "" and an empty array or object when missing; throw kCorruptFile, "'kl' is not a number".
double number(const nlohmann::json& object, const std::string& key);
std::string text(const nlohmann::json& object, const std::string& key);
const nlohmann::json& array(const nlohmann::json& object, const std::string& key);
const nlohmann::json& object_at(const nlohmann::json& object, const std::string& key);

double as_number(const nlohmann::json& value, const std::string& key);  // null: NaN
std::vector<double> numbers(const nlohmann::json& object, const std::string& key);

bool is_scalar(const nlohmann::json&);
std::string scalar_text(const nlohmann::json&);

}  // namespace lowkey::cli
