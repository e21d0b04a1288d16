#include "base/json.h"

#include <nlohmann/json.hpp>
#include <unordered_set>
#include <vector>

#include "base/error.h"
#include "base/printable.h"

namespace lowkey {
namespace {

using nlohmann::json;

// Watches the parser at work and throws at the first broken rule, before the tree has grown.
class Watch {
 public:
  Watch(const std::string& place, int max_depth) : place_(place), max_depth_(max_depth) {}

  bool operator()(int depth, json::parse_event_t event, json& parsed) {
    switch (event) {
      case json::parse_event_t::object_start:
      case json::parse_event_t::array_start:
        LK_REQUIRE(depth < max_depth_, kCorruptFile, "{}: depth = {}, must be <= {}", place_, depth + 1, max_depth_);
        if (event == json::parse_event_t::object_start) keys_.emplace_back();
        break;
      case json::parse_event_t::object_end:
        keys_.pop_back();
        break;
      case json::parse_event_t::key: {
        const auto& key = parsed.get_ref<const std::string&>();
        LK_REQUIRE(keys_.back().insert(key).second, kCorruptFile, "{}: key '{}' occurs twice, must be unique", place_,
                   printable(key));
        break;
      }
      default:
        break;
    }
    return true;
  }

 private:
  const std::string& place_;
  int max_depth_;
  std::vector<std::unordered_set<std::string>> keys_;  // of each object that is open
};

}  // namespace

json parse_json(std::string_view text, const std::string& place, int max_depth) {
  Watch watch(place, max_depth);
  try {
    return json::parse(text.begin(), text.end(), std::ref(watch));
  } catch (const json::parse_error& error) {
    throw Error(ErrorKind::kCorruptFile, fmt::format("{}: not valid JSON at byte {}", place, error.byte));
  } catch (const json::exception&) {  // the only other one that parsing throws
    throw Error(ErrorKind::kCorruptFile, fmt::format("{}: a number is out of range", place));
  }
}

}  // namespace lowkey
