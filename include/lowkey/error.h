// Error: the one exception type of lowkey. The message names the place, the value and the rule:
// "[gguf] model.gguf: tensor_count = 99999999, must be <= 65536".
#pragma once

#include <stdexcept>
#include <string>

namespace lowkey {

enum class ErrorKind {
  kInvalidArgument,  // the caller passed something out of range
  kNotFound,         // a file or a tensor that should be there is not
  kCorruptFile,      // a file breaks a rule of its format
  kUnsupported,      // valid, but nothing here can do it
  kOutOfMemory,
  kDevice,
  kInternal,  // a bug in lowkey
};

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const noexcept { return kind_; }

 private:
  ErrorKind kind_;
};

}  // namespace lowkey
