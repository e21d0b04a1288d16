#include "attention/settings.h"

#include <algorithm>
#include <charconv>

#include "attention/spec.h"
#include "base/error.h"

namespace lowkey {
namespace {

// The whole of `text` as a number.
template <typename T>
bool read(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

bool read_fraction(std::string_view text, double& value) {
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos) return text.find('.') != std::string_view::npos && read(text, value);
  int64_t above = 0, below = 0;
  if (!read(text.substr(0, slash), above) || !read(text.substr(slash + 1), below) || below == 0) return false;
  value = static_cast<double>(above) / static_cast<double>(below);
  return true;
}

}  // namespace

int64_t Amount::of(int64_t length) const noexcept {
  return std::max<int64_t>(count > 0 ? count : static_cast<int64_t>(fraction * static_cast<double>(length)), 1);
}

bool Settings::has(std::string_view key) const { return spec_.settings.find(key) != spec_.settings.end(); }

std::string Settings::text(std::string_view key) const {
  const auto found = spec_.settings.find(key);
  return found == spec_.settings.end() ? "" : found->second;
}

void Settings::refuse(std::string_view key, std::string_view rule) const {
  throw Error(ErrorKind::kInvalidArgument, fmt::format("[{}] {}={}, must be {}", spec_.name, key, text(key), rule));
}

Amount Settings::amount(std::string_view key, Amount fallback, int64_t least) const {
  if (!has(key)) return fallback;
  const std::string word = text(key);
  if (word == "all") return part(1);
  double fraction = 0;
  if (read_fraction(word, fraction) && fraction > 0 && fraction <= 1) return part(fraction);
  int64_t count = 0;
  if (!read(word, count) || count < least || count > (int64_t{1} << 31))
    refuse(key, fmt::format("a part of the context (1/8, 0.125), a count of tokens from {} on, or all", least));
  return {.fraction = 0, .count = count};
}

int64_t Settings::integer(std::string_view key, int64_t fallback, int64_t least, int64_t most) const {
  if (!has(key)) return fallback;
  int64_t value = 0;
  if (!read(text(key), value) || value < least || value > most) refuse(key, fmt::format("{} to {}", least, most));
  return value;
}

double Settings::share(std::string_view key, double fallback) const {
  if (!has(key)) return fallback;
  double value = 0;
  if (!read(text(key), value) || !(value > 0 && value <= 1)) refuse(key, "above 0 and at most 1");
  return value;
}

std::string Settings::choice(std::string_view key, std::initializer_list<std::string_view> allowed) const {
  if (!has(key)) return std::string(*allowed.begin());
  const std::string word = text(key);
  if (std::find(allowed.begin(), allowed.end(), word) != allowed.end()) return word;
  std::string known;
  for (std::string_view a : allowed) known += (known.empty() ? "" : ", ") + std::string(a);
  refuse(key, "one of " + known);
}

}  // namespace lowkey
