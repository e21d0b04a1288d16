// printable: text from a file or a stranger, made fit for one line of an error message. Control characters and
// bytes that are not UTF-8 become \xNN; what is longer than `limit` bytes is cut and ends in "...".
#pragma once

#include <string>
#include <string_view>

namespace lowkey {

std::string printable(std::string_view text, size_t limit = 80);

}  // namespace lowkey
