// Results as an HTML page, for the verbs that measure.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace lowkey::cli {

// `name` says on the page which run it is. Throws kNotFound when the file cannot be written, and as read_run does.
void write_report(const std::string& name, const nlohmann::json& results, const std::string& file);

}  // namespace lowkey::cli
