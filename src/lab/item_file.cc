// The reading of files of items.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "base/printable.h"
#include "lab/items.h"

namespace lowkey {
namespace {

class LineReader {
 public:
  LineReader(const nlohmann::json& line, const std::string& place) : line_(line), place_(place) {
    require(line.is_object(), "a line that is no object");
    for (const auto& [key, value] : line.items())
      require(key == "context" || key == "prompt" || key == "choices" || key == "answer" || key == "stop",
              fmt::format("the key '{}', must be one of prompt, choices, answer, context, stop", printable(key)));
  }

  Item item() const {
    Item item{.context = text("context", ""), .prompt = text("prompt", ""), .stop = text("stop", "\n")};
    require(!item.prompt.empty(), "no prompt");
    require(line_.contains("answer"), "no answer");
    if (line_.contains("choices")) {
      item.choices = texts(line_["choices"], "choices");
      require(item.choices.size() >= 2, "fewer than two choices");
      item.answer = index_of_answer(item.choices);
      return item;
    }
    const nlohmann::json& answer = line_["answer"];
    item.answers = texts(answer.is_array() ? answer : nlohmann::json::array({answer}), "answer");
    require(!item.answers.empty(), "no answer");
    return item;
  }

 private:
  void require(bool fine, const std::string& what) const { LK_REQUIRE(fine, kCorruptFile, "{}: {}", place_, what); }

  std::string text(const char* key, const char* otherwise) const {
    if (!line_.contains(key)) return otherwise;
    require(line_[key].is_string(), fmt::format("{} must be a text", key));
    return line_[key].get<std::string>();
  }

  std::vector<std::string> texts(const nlohmann::json& list, const char* key) const {
    require(list.is_array(), fmt::format("{} must be a list of texts", key));
    std::vector<std::string> all;
    for (const nlohmann::json& one : list) {
      require(one.is_string() && !one.get_ref<const std::string&>().empty(),
              fmt::format("{} must be texts that are not empty", key));
      all.push_back(one.get<std::string>());
    }
    return all;
  }

  size_t index_of_answer(const std::vector<std::string>& choices) const {
    const nlohmann::json& answer = line_["answer"];
    size_t index = choices.size();
    if (answer.is_number_unsigned()) index = std::min<uint64_t>(answer.get<uint64_t>(), choices.size());
    if (answer.is_string()) {
      const auto& word = answer.get_ref<const std::string&>();
      index = static_cast<size_t>(std::find(choices.begin(), choices.end(), word) - choices.begin());
    }
    require(index < choices.size(), "the answer must be a choice, or its index from 0");
    return index;
  }

  const nlohmann::json& line_;
  const std::string& place_;
};

}  // namespace

std::vector<Item> parse_items(std::string_view text, const std::string& file) {
  std::vector<Item> items;
  for (int64_t number = 1; !text.empty(); ++number) {
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string place = fmt::format("[items] {}: line {}", file, number);
    items.push_back(LineReader(parse_json(line, place), place).item());
  }
  return items;
}

}  // namespace lowkey
