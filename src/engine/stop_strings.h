// StopStrings: ends a stream of text at the first stop string, also one that arrives in pieces. Text that may yet
// become a stop string is held back.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lowkey {

class StopStrings {
 public:
  // Empty strings are refused with kInvalidArgument.
  explicit StopStrings(std::vector<std::string> stops);

  // The text that may be shown now. After stopped() it is "" for ever.
  std::string push(std::string_view text);
  // What was held back, at the end of the stream.
  std::string finish();
  bool stopped() const noexcept { return stopped_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace lowkey
