#include "text/jinja/value.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/printable.h"

namespace lowkey::jinja {
namespace {

constexpr int kMostDepth = 64;    // of values within values
constexpr size_t kOverhead = 64;  // bytes of a value on the heap beside its content

bool is_plain_word(std::string_view text) noexcept {
  return !text.empty() && text.size() <= 32 &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; });
}

}  // namespace

double Value::as_real() const noexcept {
  return kind == kReal ? real : static_cast<double>(kind == kBoolean ? boolean : integer);
}

int64_t Value::as_integer() const noexcept {
  if (kind == kBoolean) return boolean ? 1 : 0;
  if (kind == kInteger) return integer;
  constexpr double kMost = 9e18;
  return real >= -kMost && real <= kMost ? static_cast<int64_t>(real) : 0;
}

bool truth(const Value& value) noexcept {
  switch (value.kind) {
    case Value::kUndefined:
    case Value::kNone:
      return false;
    case Value::kBoolean:
      return value.boolean;
    case Value::kInteger:
      return value.integer != 0;
    case Value::kReal:
      return value.real != 0;
    case Value::kText:
      return value.text->size() > 0;
    case Value::kList:
      return !value.list->empty();
    case Value::kMap:
      return !value.map->empty();
    default:
      return true;
  }
}

std::string_view name(Value::Kind kind) noexcept {
  constexpr std::string_view kNames[] = {"undefined", "none",  "a boolean",   "an integer", "a number",  "a string",
                                         "a list",    "a map", "a namespace", "a macro",    "a function"};
  return kNames[kind];
}

const Value* find(const Map& map, std::string_view key) noexcept {
  for (const auto& [name, value] : map)
    if (name->bytes() == key) return &value;
  return nullptr;
}

void Budget::refuse(std::string_view what) const {
  throw Error(ErrorKind::kInvalidArgument, fmt::format("[chat] {}: line {}: {}", source_, line_, what));
}

Value Heap::text(MarkedText text) {
  budget_->take(kOverhead + text.size() + text.strangers().size() * sizeof(TextRange));
  return text_of(&texts_.emplace_back(std::move(text)));
}

Value Heap::list(List list) {
  budget_->take(kOverhead + list.size() * sizeof(Value));
  Value made(Value::kList);
  made.list = &lists_.emplace_back(std::move(list));
  return made;
}

Value Heap::map(Map map) {
  budget_->take(kOverhead + map.size() * sizeof(Map::value_type));
  Value made(Value::kMap);
  made.map = &maps_.emplace_back(std::move(map));
  return made;
}

Value Heap::space() {
  budget_->take(kOverhead);
  Value made(Value::kNamespace);
  made.space = &maps_.emplace_back();
  return made;
}

void Heap::set(Map* map, const MarkedText* key, Value value) {
  budget_->take(map->size());  // a look at each
  for (auto& [name, old] : *map)
    if (name->bytes() == key->bytes()) {
      old = value;
      return;
    }
  budget_->take(2 * sizeof(Map::value_type));
  map->emplace_back(key, value);
}

Value Heap::from_json(const nlohmann::ordered_json& value, bool trusted) {
  using Json = nlohmann::ordered_json;
  switch (value.type()) {
    case Json::value_t::boolean:
      return boolean(value.get<bool>());
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
      return integer(value.get<int64_t>());
    case Json::value_t::number_float:
      return real(value.get<double>());
    case Json::value_t::string: {
      const auto& text = value.get_ref<const std::string&>();
      return trusted ? this->text(text) : this->text(MarkedText::of_stranger(text));
    }
    case Json::value_t::array: {
      List items;
      for (const Json& item : value) items.push_back(from_json(item));
      return list(std::move(items));
    }
    case Json::value_t::object: {
      Map members;
      for (const auto& [key, member] : value.items()) {
        const bool role = key == "role" && member.is_string() && is_plain_word(member.get_ref<const std::string&>());
        const Value marked = trusted ? text(key) : text(MarkedText::of_stranger(key));
        members.emplace_back(marked.text, from_json(member, role || (trusted && member.is_string())));
      }
      return map(std::move(members));
    }
    default:
      return none();
  }
}

bool equal(const Value& a, const Value& b, Budget* budget, int depth) {
  if (depth > kMostDepth) budget->refuse("values nested too deep to compare");
  if (a.is_number() && b.is_number()) {
    if (a.kind == Value::kReal || b.kind == Value::kReal) return a.as_real() == b.as_real();
    return a.as_integer() == b.as_integer();
  }
  if (a.is_map() && b.is_map()) {
    if (a.members().size() != b.members().size()) return false;
    budget->take(a.members().size() * b.members().size());
    return std::all_of(a.members().begin(), a.members().end(), [&](const auto& member) {
      const Value* other = find(b.members(), member.first->bytes());
      return other != nullptr && equal(member.second, *other, budget, depth + 1);
    });
  }
  if (a.kind != b.kind) return false;
  switch (a.kind) {
    case Value::kText:
      if (a.text->size() == b.text->size()) budget->take(a.text->size() / 16);
      return a.bytes() == b.bytes();
    case Value::kList:
      budget->take(a.list->size());
      return std::equal(a.list->begin(), a.list->end(), b.list->begin(), b.list->end(),
                        [&](const Value& x, const Value& y) { return equal(x, y, budget, depth + 1); });
    case Value::kMacro:
      return a.macro == b.macro;
    case Value::kFunction:
      return std::string_view(a.function) == b.function;
    default:
      return true;  // undefined and none
  }
}

}  // namespace lowkey::jinja
