// BASE64, as vocabularies write bytes.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace lowkey {

// Nothing when the text is empty or no whole number of groups of four digits.
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace lowkey
