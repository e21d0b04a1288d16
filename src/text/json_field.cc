#include "text/json_field.h"

#include <unordered_set>
#include <vector>

#include "base/error.h"
#include "base/printable.h"

namespace lowkey {
namespace {

using nlohmann::json;

constexpr int kMostDepth = 64;
constexpr size_t kMostShown = 60;  // characters of a value in a message

// Watches the parser go: the keys seen of each object that is still open.
class Guard {
 public:
  explicit Guard(const std::string& source) : source_(source) {}

  bool operator()(int depth, json::parse_event_t event, const json& parsed) {
    LK_REQUIRE(depth <= kMostDepth, kCorruptFile, "[tokenizer] {}: nests deeper than {}, must not", source_,
               kMostDepth);
    if (event == json::parse_event_t::object_start) open_.emplace_back();
    if (event == json::parse_event_t::object_end) open_.pop_back();
    if (event == json::parse_event_t::key) {
      const auto& key = parsed.get_ref<const std::string&>();
      LK_REQUIRE(open_.back().insert(key).second, kCorruptFile, "[tokenizer] {}: key \"{}\" twice, must be unique",
                 source_, printable(key, kMostShown));
    }
    return true;
  }

 private:
  const std::string& source_;
  std::vector<std::unordered_set<std::string>> open_;
};

std::string shown(const json& value) {
  if (value.is_structured()) return value.type_name();
  // Line breaks and the like come out escaped, cut-off characters replaced.
  std::string text = value.dump(-1, ' ', true);
  return text.size() <= kMostShown ? text : text.substr(0, kMostShown) + "...";
}

}  // namespace

json parse_document(std::string_view text, const std::string& source) {
  Guard guard(source);
  try {
    return json::parse(text,
                       [&](int depth, json::parse_event_t event, json& parsed) { return guard(depth, event, parsed); });
  } catch (const json::parse_error& e) {
    throw Error(ErrorKind::kCorruptFile,
                fmt::format("[tokenizer] {}: not JSON at byte {} of {}", source, e.byte, text.size()));
  } catch (const json::exception&) {
    throw Error(ErrorKind::kCorruptFile, fmt::format("[tokenizer] {}: a number out of range", source));
  }
}

JsonField JsonField::operator[](std::string_view key) const {
  std::string path = path_.empty() ? std::string(key) : path_ + "." + std::string(key);
  if (missing()) return {nullptr, source_, path};
  const json& members = object();
  auto found = members.find(key);
  return {found == members.end() ? nullptr : &*found, source_, path};
}

JsonField JsonField::operator[](size_t index) const {
  return {&array()[index], source_, fmt::format("{}[{}]", path_, index)};
}

size_t JsonField::size() const { return missing() ? 0 : array().size(); }

const std::string& JsonField::text() const {
  if (!is_text()) corrupt("must be a string");
  return value_->get_ref<const std::string&>();
}

bool JsonField::boolean(bool otherwise) const {
  if (missing()) return otherwise;
  if (!value_->is_boolean()) corrupt("must be true or false");
  return value_->get<bool>();
}

const json& JsonField::object() const {
  if (missing() || !value_->is_object()) corrupt("must be an object");
  return *value_;
}

const json& JsonField::array() const {
  if (missing() || !value_->is_array()) corrupt("must be an array");
  return *value_;
}

std::string JsonField::complaint(std::string_view rule) const {
  return fmt::format("[tokenizer] {}: {}={}, {}", source_, path_.empty() ? "the document" : path_,
                     value_ == nullptr ? "(missing)" : shown(*value_), rule);
}

void JsonField::corrupt(std::string_view rule) const { throw Error(ErrorKind::kCorruptFile, complaint(rule)); }
void JsonField::unsupported(std::string_view rule) const { throw Error(ErrorKind::kUnsupported, complaint(rule)); }

}  // namespace lowkey
