#include "apps/cli/report/spec_labels.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <set>

#include "apps/cli/report/run_facts.h"

namespace lowkey::cli {
namespace {

constexpr const char* kDefaultK = "1/16";  // of every method that ranks (docs/methods.md)
constexpr const char* kRanking[] = {"loki", "topk", "quest", "sparq"};
// What a method is, rather than how it was run: always shown.
constexpr const char* kTelling[] = {"form", "index", "d", "basis"};

bool is_one_of(const std::string& word, std::span<const char* const> words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

double to_number(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? value : kMissing;
}

void drop(SpecParts& parts, const std::string& key) {
  std::erase_if(parts.settings, [&](const auto& setting) { return setting.first == key; });
}

}  // namespace

const std::string* SpecParts::find(const std::string& key) const {
  for (const auto& [name, value] : settings)
    if (name == key) return &value;
  return nullptr;
}

std::string SpecParts::text() const {
  std::string text = name;
  for (size_t i = 0; i < settings.size(); ++i) {
    text += i == 0 ? ':' : ',';
    text += settings[i].first;
    if (!settings[i].second.empty()) text += '=' + settings[i].second;
  }
  return text + rest;
}

SpecParts split_spec(const std::string& spec) {
  SpecParts parts;
  const size_t plus = std::min(spec.find('+'), spec.size());
  parts.rest = spec.substr(plus);
  const std::string first = spec.substr(0, plus);
  const size_t colon = std::min(first.find(':'), first.size());
  parts.name = first.substr(0, colon);
  for (size_t begin = colon + 1; begin < first.size();) {
    const size_t end = std::min(first.find(',', begin), first.size());
    const std::string setting = first.substr(begin, end - begin);
    const size_t equals = std::min(setting.find('='), setting.size());
    parts.settings.emplace_back(setting.substr(0, equals), equals < setting.size() ? setting.substr(equals + 1) : "");
    begin = end + 1;
  }
  return parts;
}

// A setting is left out where at least two specs have it, none has another value for it, and of each method either all
// or no specs have it: labels stay as different as the specs are.
SpecLabels::SpecLabels(std::span<const std::string> specs) {
  std::set<std::string> distinct(specs.begin(), specs.end());
  std::map<std::string, int> specs_of;                         // by method
  std::map<std::string, std::map<std::string, int>> users_of;  // by key, by method
  std::map<std::string, std::set<std::string>> values_of;      // by key
  std::vector<std::string> keys;
  for (const std::string& spec : distinct) {
    const SpecParts parts = split_spec(spec);
    ++specs_of[parts.name + parts.rest];
    for (const auto& [key, value] : parts.settings) {
      if (values_of[key].empty()) keys.push_back(key);
      values_of[key].insert(value);
      ++users_of[key][parts.name + parts.rest];
    }
  }
  for (const std::string& key : keys) {
    int users = 0;
    bool whole = true;
    for (const auto& [method, count] : users_of[key]) users += count, whole = whole && count == specs_of[method];
    if (whole && users >= 2 && values_of[key].size() == 1 && !is_one_of(key, kTelling))
      common_.emplace_back(key, *values_of[key].begin());
  }
}

SpecParts SpecLabels::shortened(const std::string& spec) const {
  SpecParts parts = split_spec(spec);
  for (const auto& [key, value] : common_) drop(parts, key);
  return parts;
}

std::string SpecLabels::label(const std::string& spec) const { return shortened(spec).text(); }

std::string SpecLabels::family(const std::string& spec) const {
  SpecParts parts = shortened(spec);
  drop(parts, "k");
  return parts.text();
}

std::string SpecLabels::by_index(const std::string& spec) const {
  SpecParts parts = shortened(spec);
  drop(parts, "d");
  for (auto& [key, value] : parts.settings)
    if (key == "index") value = value.substr(0, value.find(':'));
  return parts.text();
}

std::string SpecLabels::common() const {
  std::string text;
  for (const auto& [key, value] : common_) text += (text.empty() ? "" : ", ") + key + "=" + value;
  return text;
}

std::string text_of_k(const std::string& spec) {
  const SpecParts parts = split_spec(spec);
  if (const std::string* k = parts.find("k")) return *k;
  return is_one_of(parts.name, kRanking) ? kDefaultK : "";
}

double share_of_k(const std::string& spec, double context) {
  const std::string k = text_of_k(spec);
  if (const size_t slash = k.find('/'); slash != std::string::npos)
    return to_number(k.substr(0, slash)) / to_number(k.substr(slash + 1));
  if (k == "all") return 1;
  return k.find('.') != std::string::npos ? to_number(k) : to_number(k) / context;
}

}  // namespace lowkey::cli
