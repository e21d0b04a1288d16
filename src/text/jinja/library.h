// What templates can call: filters, tests, methods of texts, lists and maps, and how attributes are looked up.
#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja/value.h"

namespace lowkey::jinja {

struct Arguments {
  List values;
  std::vector<std::pair<std::string_view, Value>> keywords;

  // The i-th, or the one of that name; undefined when neither is there.
  Value get(size_t i, std::string_view name) const noexcept;
};

// All throw kInvalidArgument for what the value cannot do, and for names not known here.
Value apply_filter(std::string_view name, const Value& value, const Arguments&, Heap*);
bool apply_test(std::string_view name, const Value& value, const Arguments&, Heap*);
Value call_method(std::string_view name, const Value& object, const Arguments&, Heap*);
Value text_method(std::string_view name, const MarkedText& text, const Arguments&, Heap*);

// object.name and object[key]: undefined when there is none.
Value get_attribute(const Value& object, std::string_view name, Heap*);
Value get_item(const Value& object, const Value& key, Heap*);
Value get_slice(const Value& object, const Value& begin, const Value& end, const Value& step, Heap*);
Value join_binary(std::string_view sign, const Value& a, const Value& b, Heap*);
bool contains(const Value& whole, const Value& part, Heap*);
bool less(const Value& a, const Value& b, Heap*);
// What a loop goes through: the items of a list, the keys of a map, the characters of a text; nothing if undefined.
List items_of(const Value&, Heap*);
// Without white space, or the characters of `drop`, at its ends.
MarkedText strip(const MarkedText&, const Value& drop, bool left, bool right);
MarkedText replace(const MarkedText&, std::string_view from, const MarkedText& to, int64_t most, Budget*);
enum class Case { kLower, kUpper, kTitle, kCapital };
MarkedText change_case(const MarkedText&, Case);

}  // namespace lowkey::jinja
