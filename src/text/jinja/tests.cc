// Tests: {{ value is NAME }}.
#include <array>

#include "base/error.h"
#include "base/printable.h"
#include "text/jinja/library.h"

namespace lowkey::jinja {
namespace {

using Test = bool (*)(const Value&);
struct Named {
  std::string_view name;
  Test test;
};

bool is_sequence(const Value& v) { return v.is_text() || v.kind == Value::kList || v.is_map(); }
bool is_odd(const Value& v) { return v.is_number() && v.as_integer() % 2 != 0; }

constexpr std::array<Named, 19> kPlain = {{
    {"defined", [](const Value& v) { return v.kind != Value::kUndefined; }},
    {"undefined", [](const Value& v) { return v.kind == Value::kUndefined; }},
    {"none", [](const Value& v) { return v.kind == Value::kNone; }},
    {"string", [](const Value& v) { return v.is_text(); }},
    {"mapping", [](const Value& v) { return v.kind == Value::kMap; }},
    {"sequence", is_sequence},
    {"iterable", [](const Value& v) { return is_sequence(v) || v.kind == Value::kUndefined; }},
    {"number", [](const Value& v) { return v.is_number(); }},
    {"integer", [](const Value& v) { return v.kind == Value::kInteger; }},
    {"float", [](const Value& v) { return v.kind == Value::kReal; }},
    {"boolean", [](const Value& v) { return v.kind == Value::kBoolean; }},
    {"true", [](const Value& v) { return v.kind == Value::kBoolean && v.boolean; }},
    {"false", [](const Value& v) { return v.kind == Value::kBoolean && !v.boolean; }},
    {"odd", is_odd},
    {"even", [](const Value& v) { return v.is_number() && !is_odd(v); }},
    {"callable", [](const Value& v) { return v.kind == Value::kMacro || v.kind == Value::kFunction; }},
    {"lower", [](const Value& v) { return v.is_text() && change_case(*v.text, Case::kLower).bytes() == v.bytes(); }},
    {"upper", [](const Value& v) { return v.is_text() && change_case(*v.text, Case::kUpper).bytes() == v.bytes(); }},
    {"escaped", [](const Value&) { return false; }},
}};

}  // namespace

bool apply_test(std::string_view name, const Value& value, const Arguments& given, Heap* heap) {
  heap->budget().take(1);
  for (const Named& plain : kPlain)
    if (plain.name == name) return plain.test(value);
  const Value other = given.get(0, "other");
  Budget* budget = &heap->budget();
  if (name == "eq" || name == "equalto" || name == "==" || name == "sameas") return equal(value, other, budget);
  if (name == "ne") return !equal(value, other, budget);
  if (name == "lt" || name == "lessthan") return less(value, other, heap);
  if (name == "gt" || name == "greaterthan") return less(other, value, heap);
  if (name == "le") return !less(other, value, heap);
  if (name == "ge") return !less(value, other, heap);
  if (name == "in") return contains(other, value, heap);
  if (name == "divisibleby" && value.is_number() && other.is_number() && other.as_integer() != 0)
    return other.as_integer() == -1 || value.as_integer() % other.as_integer() == 0;
  budget->refuse(fmt::format("no test \"{}\" here", printable(name)));
}

}  // namespace lowkey::jinja
