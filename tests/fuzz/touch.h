// What the fuzz targets ask of every result, so that a view outside of the file or a message of two lines is found.
#pragma once

#include <cstdlib>
#include <string_view>

#include "base/view.h"

namespace lowkey {

// Reads the first and the last byte. AddressSanitizer knows where the input ends.
inline void touch(const View& view) {
  if (view.bytes() == 0) return;
  const auto* bytes = static_cast<const volatile unsigned char*>(view.data);
  const unsigned char first = bytes[0], last = bytes[view.bytes() - 1];
  static_cast<void>(first);
  static_cast<void>(last);
}

inline void require_one_line(const Error& error) {
  const std::string_view message = error.what();
  if (message.empty() || message.find('\n') != std::string_view::npos || message.size() > 1000) std::abort();
}

}  // namespace lowkey
