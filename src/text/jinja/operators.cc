// Attributes, items, slices and the binary signs.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/printable.h"
#include "text/jinja/library.h"
#include "text/utf8.h"

namespace lowkey::jinja {
namespace {

// Where each character begins, and the end.
std::vector<size_t> symbol_starts(std::string_view text, Heap* heap) {
  heap->budget().take(8 * text.size());
  std::vector<size_t> starts;
  for (size_t at = 0; at < text.size(); at += utf8_at(text, at).size) starts.push_back(at);
  starts.push_back(text.size());
  return starts;
}

// Python's: from the end when negative, held within [low, high].
int64_t bound(const Value& value, int64_t otherwise, int64_t size, int64_t low, int64_t high) {
  if (value.kind == Value::kUndefined || value.kind == Value::kNone) return otherwise;
  const int64_t at = value.as_integer();
  return std::clamp(at < 0 ? at + size : at, low, high);
}

std::vector<int64_t> slice_places(int64_t size, const Value& begin, const Value& end, const Value& step, Heap* heap) {
  for (const Value& part : {begin, end, step})
    if (part.kind != Value::kUndefined && part.kind != Value::kNone && !part.is_number())
      heap->budget().refuse("a slice must be of whole numbers");
  const bool given = step.is_number();
  const int64_t by = given ? step.as_integer() : 1;
  if (by == 0) heap->budget().refuse("a slice with a step of 0");
  std::vector<int64_t> places;
  if (by > 0) {
    const int64_t last = bound(end, size, size, 0, size);
    for (int64_t at = bound(begin, 0, size, 0, size); at < last; at += std::min(by, size)) places.push_back(at);
  } else {
    const int64_t last = bound(end, -1, size, -1, size - 1);
    for (int64_t at = bound(begin, size - 1, size, -1, size - 1); at > last; at += std::max(by, -size))
      places.push_back(at);
  }
  heap->budget().take(8 * places.size());
  return places;
}

Value add(const Value& a, const Value& b, Heap* heap) {
  MarkedText text = *a.text;
  heap->budget().take(b.text->size());
  text.append(*b.text);
  return heap->text(std::move(text));
}

Value repeat(const Value& text, int64_t times, Heap* heap) {
  MarkedText repeated;
  for (int64_t i = 0; i < times; ++i) {
    heap->budget().take(text.text->size() + 1);
    repeated.append(*text.text);
  }
  return heap->text(std::move(repeated));
}

Value compute_real(std::string_view sign, double a, double b, Heap* heap) {
  if (sign == "+") return real(a + b);
  if (sign == "-") return real(a - b);
  if (sign == "*") return real(a * b);
  if (sign == "**") return real(std::pow(a, b));
  if (b == 0) heap->budget().refuse("a division by zero");
  if (sign == "/") return real(a / b);
  if (sign == "//") return real(std::floor(a / b));
  return real(a - b * std::floor(a / b));
}

Value compute(std::string_view sign, int64_t a, int64_t b, Heap* heap) {
  int64_t result = 0;
  bool over = false;
  if (sign == "+") over = __builtin_add_overflow(a, b, &result);
  if (sign == "-") over = __builtin_sub_overflow(a, b, &result);
  if (sign == "*") over = __builtin_mul_overflow(a, b, &result);
  if (sign == "/") return compute_real(sign, static_cast<double>(a), static_cast<double>(b), heap);
  if (sign == "//" || sign == "%") {
    if (b == 0) heap->budget().refuse("a division by zero");
    if (b == -1) return compute(sign == "%" ? "*" : "-", 0, sign == "%" ? 0 : a, heap);
    const int64_t whole = a / b - ((a % b != 0 && (a < 0) != (b < 0)) ? 1 : 0);
    result = sign == "%" ? a - whole * b : whole;
  }
  if (sign == "**") {
    if (b < 0) return compute_real(sign, static_cast<double>(a), static_cast<double>(b), heap);
    result = 1;
    if (b > 64 && a != 0 && a != 1 && a != -1) over = true;
    for (int64_t i = 0; i < b && !over && i <= 64; ++i) over = __builtin_mul_overflow(result, a, &result);
    if (b > 64 && a == -1) result = b % 2 == 0 ? 1 : -1;
  }
  if (over) heap->budget().refuse("a whole number too large");
  return integer(result);
}

}  // namespace

Value get_attribute(const Value& object, std::string_view name, Heap* heap) {
  if (object.kind == Value::kUndefined) heap->budget().refuse(fmt::format("undefined has no \"{}\"", printable(name)));
  if (!object.is_map()) return {};
  heap->budget().take(object.members().size() / 8);
  const Value* found = find(object.members(), name);
  return found == nullptr ? Value{} : *found;
}

Value get_item(const Value& object, const Value& key, Heap* heap) {
  if (object.kind == Value::kUndefined) heap->budget().refuse("undefined has no items");
  if (object.is_map() && key.is_number())  // as a map keeps them
    return get_attribute(object, apply_filter("string", key, {}, heap).bytes(), heap);
  if (object.is_map()) return key.is_text() ? get_attribute(object, key.bytes(), heap) : Value{};
  if (!key.is_number()) return {};
  if (object.kind == Value::kList) {
    const auto size = std::ssize(*object.list);
    const int64_t at = key.as_integer() < 0 ? key.as_integer() + size : key.as_integer();
    return at < 0 || at >= size ? Value{} : (*object.list)[static_cast<size_t>(at)];
  }
  if (!object.is_text()) return {};
  const auto starts = symbol_starts(object.bytes(), heap);
  const auto size = std::ssize(starts) - 1;
  const int64_t at = key.as_integer() < 0 ? key.as_integer() + size : key.as_integer();
  if (at < 0 || at >= size) return {};
  return heap->text(object.text->part(starts[static_cast<size_t>(at)], starts[static_cast<size_t>(at) + 1]));
}

Value get_slice(const Value& object, const Value& begin, const Value& end, const Value& step, Heap* heap) {
  if (object.kind == Value::kList) {
    List items;
    for (int64_t at : slice_places(std::ssize(*object.list), begin, end, step, heap))
      items.push_back((*object.list)[static_cast<size_t>(at)]);
    return heap->list(std::move(items));
  }
  if (!object.is_text()) heap->budget().refuse(fmt::format("a slice of {}", name(object.kind)));
  const auto starts = symbol_starts(object.bytes(), heap);
  MarkedText text;
  for (int64_t at : slice_places(std::ssize(starts) - 1, begin, end, step, heap))
    text.append(*object.text, starts[static_cast<size_t>(at)], starts[static_cast<size_t>(at) + 1]);
  return heap->text(std::move(text));
}

Value join_binary(std::string_view sign, const Value& a, const Value& b, Heap* heap) {
  if (sign == "~") {
    MarkedText text;
    append_shown(a, &text, &heap->budget());
    append_shown(b, &text, &heap->budget());
    return heap->text(std::move(text));
  }
  if (a.is_number() && b.is_number()) {
    if (a.kind == Value::kReal || b.kind == Value::kReal) return compute_real(sign, a.as_real(), b.as_real(), heap);
    return compute(sign, a.as_integer(), b.as_integer(), heap);
  }
  if (sign == "+" && a.is_text() && b.is_text()) return add(a, b, heap);
  if (sign == "+" && a.kind == Value::kList && b.kind == Value::kList) {
    heap->budget().take((a.list->size() + b.list->size()) * sizeof(Value));
    List items = *a.list;
    items.insert(items.end(), b.list->begin(), b.list->end());
    return heap->list(std::move(items));
  }
  if (sign == "*" && a.is_text() && b.is_number()) return repeat(a, b.as_integer(), heap);
  if (sign == "*" && a.is_number() && b.is_text()) return repeat(b, a.as_integer(), heap);
  heap->budget().refuse(fmt::format("{} {} {}", name(a.kind), sign, name(b.kind)));
}

bool contains(const Value& whole, const Value& part, Heap* heap) {
  if (whole.kind == Value::kUndefined) return false;
  if (whole.is_text() && part.is_text()) {
    heap->budget().take(whole.text->size() / 4 + 1);
    return whole.bytes().find(part.bytes()) != std::string_view::npos;
  }
  if (whole.kind == Value::kList)
    return std::any_of(whole.list->begin(), whole.list->end(), [&](const Value& item) {
      heap->budget().take(4);
      return equal(item, part, &heap->budget());
    });
  if (whole.is_map()) return part.is_text() && find(whole.members(), part.bytes()) != nullptr;
  heap->budget().refuse(fmt::format("{} in {}", name(part.kind), name(whole.kind)));
}

bool less(const Value& a, const Value& b, Heap* heap) {
  if (a.is_number() && b.is_number()) {
    if (a.kind == Value::kReal || b.kind == Value::kReal) return a.as_real() < b.as_real();
    return a.as_integer() < b.as_integer();
  }
  if (a.is_text() && b.is_text()) return a.bytes() < b.bytes();
  heap->budget().refuse(fmt::format("{} < {}", name(a.kind), name(b.kind)));
}

List items_of(const Value& value, Heap* heap) {
  List items;
  if (value.kind == Value::kUndefined) return items;
  if (value.kind == Value::kList) {
    heap->budget().take(value.list->size() * sizeof(Value));
    return *value.list;
  }
  if (value.is_map()) {
    heap->budget().take(value.members().size() * sizeof(Value));
    for (const auto& [key, member] : value.members()) items.push_back(text_of(key));
    return items;
  }
  if (!value.is_text()) heap->budget().refuse(fmt::format("{} has no items to go through", name(value.kind)));
  const auto starts = symbol_starts(value.bytes(), heap);
  for (size_t i = 0; i + 1 < starts.size(); ++i)
    items.push_back(heap->text(value.text->part(starts[i], starts[i + 1])));
  return items;
}

}  // namespace lowkey::jinja
