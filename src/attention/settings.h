// Settings: typed reading of what a spec says about its method, with defaults. Every error names the method, the key,
// the value and the rule.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace lowkey {

struct AttentionSpec;

// A number of tokens: so many, or a part of the current length.
struct Amount {
  double fraction = 0;  // (0, 1], when count is 0
  int64_t count = 0;

  // At least 1.
  int64_t of(int64_t length) const noexcept;
};
inline Amount tokens(int64_t count) { return {.fraction = 0, .count = count}; }
inline Amount part(double fraction) { return {.fraction = fraction, .count = 0}; }

class Settings {
 public:
  explicit Settings(const AttentionSpec& spec) : spec_(spec) {}

  bool has(std::string_view key) const;
  // "1/8", "0.125", "1.0": a part; "2048": a count of at least `least`; "all": everything.
  Amount amount(std::string_view key, Amount fallback, int64_t least = 1) const;
  int64_t integer(std::string_view key, int64_t fallback, int64_t least, int64_t most) const;
  // (0, 1]
  double share(std::string_view key, double fallback) const;
  // One of the allowed words; the first of them is the default.
  std::string choice(std::string_view key, std::initializer_list<std::string_view> allowed) const;
  // The plain text, or "".
  std::string text(std::string_view key) const;
  // Throws kInvalidArgument: "[loki] k=0, must be ...".
  [[noreturn]] void refuse(std::string_view key, std::string_view rule) const;

 private:
  const AttentionSpec& spec_;
};

}  // namespace lowkey
