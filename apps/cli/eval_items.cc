// lowkey eval --task choice and --task generate: questions with known answers, from a file of JSON lines.
#include <fmt/format.h>

#include <algorithm>

#include "apps/cli/eval.h"
#include "apps/cli/eval_units.h"
#include "apps/cli/progress.h"
#include "apps/cli/signals.h"
#include "base/error.h"

namespace lowkey::cli {
namespace {

using Results = std::vector<std::vector<ItemResult>>;

// Those of the task, which are told by their choices.
std::vector<Item> items_of(const Evaluation& e, const char* task, bool choices) {
  LK_REQUIRE(!e.options.data.empty(), kInvalidArgument, "--task {} needs --data FILE", task);
  std::vector<Item> items = parse_items(e.data, e.options.data);
  std::erase_if(items, [&](const Item& item) { return item.choices.empty() == choices; });
  LK_REQUIRE(!items.empty(), kInvalidArgument, "--data {}: no line {} \"choices\", which --task {} asks",
             e.options.data, choices ? "with" : "without", task);
  return items;
}

Results measure(const Evaluation& e, const char* task, const std::vector<Item>& items) {
  Progress progress(task, "items x methods");
  return answer_items(
      e.context, e.model, e.tokenizer, e.methods, items,
      {.most = e.options.most, .chunk = e.options.chunk, .kv_type = e.kv_type()},
      [&](int64_t done, int64_t total, std::string_view method) {
        progress.retitle(std::string(method));
        progress.update(done, total);
        return !interrupted();
      },
      e.units<ItemResult>(task));
}

// json[key]: the part of results that `holds`; with its interval over items.
template <typename F>
void put_part(nlohmann::json& json, const std::string& key, size_t count, F&& holds) {
  std::vector<double> ones;
  for (size_t i = 0; i < count; ++i) ones.push_back(holds(i) ? 1 : 0);
  json[key] = estimate(ones).mean;
  json[key + "_interval"] = interval_json(bootstrap(ones));
}

nlohmann::json to_json(const ItemResult& r, const Item& item) {
  nlohmann::json json{{"right", r.right}, {"seconds", r.seconds}};
  if (item.choices.empty()) {
    json["said"] = r.said;
    return json;
  }
  json["nll"] = r.nll, json["answer"] = item.answer;
  json["chosen"] = r.chosen, json["chosen_by_byte"] = r.chosen_by_byte;
  return json;
}

nlohmann::json summary(const std::vector<ItemResult>& results, const std::vector<ItemResult>& dense,
                       const std::vector<Item>& items) {
  const bool choices = !items[0].choices.empty();
  const size_t both = std::min(results.size(), dense.size());
  nlohmann::json json{{"items", results.size()}, {"answers", nlohmann::json::array()}};
  put_part(json, "accuracy", results.size(), [&](size_t i) { return results[i].right; });
  if (choices) put_part(json, "accuracy_by_byte", results.size(), [&](size_t i) { return results[i].right_by_byte; });
  put_part(json, "as_dense", both,
           [&](size_t i) { return results[i].chosen == dense[i].chosen && results[i].said == dense[i].said; });
  double seconds = 0;
  for (size_t i = 0; i < results.size(); ++i) {
    seconds += results[i].seconds;
    json["answers"].push_back(to_json(results[i], items[i]));
  }
  json["seconds"] = seconds;
  return json;
}

void print_row(const std::string& spec, size_t width, const nlohmann::json& r) {
  const auto part = [&](const std::string& key) {
    const nlohmann::json& p = r[key + "_interval"];
    const std::string interval =
        p["low"].is_null() ? "-" : fmt::format("[{:.3f},{:.3f}]", p["low"].get<double>(), p["high"].get<double>());
    return fmt::format("{:>6.4f} {:>13}", r[key].get<double>(), interval);
  };
  const std::string by_byte = r.contains("accuracy_by_byte") ? part("accuracy_by_byte") + "  " : "";
  fmt::print("{:<{}}  {:>5}  {}  {}{}  {:>7.1f}\n", spec, width, r["items"].get<int>(), part("accuracy"), by_byte,
             part("as_dense"), r["seconds"].get<double>());
}

nlohmann::json eval_items(const Evaluation& e, const char* task, bool choices) {
  const std::vector<Item> items = items_of(e, task, choices);
  const Results results = measure(e, task, items);
  nlohmann::json json{{"data", e.options.data}, {"items", items.size()}, {"results", nlohmann::json::array()}};
  if (!e.options.common.json)
    fmt::print("\n{:<{}}  {:>5}  {:<20}  {}{:<20}  {:>7}\n", task, e.name_width(), "items", "right, 95 %",
               choices ? fmt::format("{:<20}  ", "by byte, 95 %") : "", "as dense, 95 %", "s");
  for (size_t m = 0; m < results.size(); ++m) {
    if (results[m].empty()) continue;  // interrupted
    nlohmann::json result = summary(results[m], results[0], items);
    result["attention"] = e.options.attention[m];
    if (!e.options.common.json) print_row(e.options.attention[m], e.name_width(), result);
    json["results"].push_back(std::move(result));
  }
  return json;
}

}  // namespace

nlohmann::json eval_choice(const Evaluation& e) { return eval_items(e, "choice", true); }
nlohmann::json eval_generate(const Evaluation& e) { return eval_items(e, "generate", false); }

}  // namespace lowkey::cli
