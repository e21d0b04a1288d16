// parse_json: JSON from a file nobody vouches for. Refused beside bad syntax: nesting deeper than max_depth, an
// object that has a key twice, numbers out of range.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace lowkey {

inline constexpr int kMaxJsonDepth = 64;

// `place` starts the message: "[safetensors] model.safetensors: header". Throws kCorruptFile.
nlohmann::json parse_json(std::string_view text, const std::string& place, int max_depth = kMaxJsonDepth);

}  // namespace lowkey
