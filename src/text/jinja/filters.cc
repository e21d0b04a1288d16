// Filters: {{ value | NAME }}.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "base/printable.h"
#include "text/jinja/library.h"
#include "text/utf8.h"

namespace lowkey::jinja {
namespace {

using Filter = Value (*)(const Value&, const Arguments&, Heap*);
struct Named {
  std::string_view name;
  Filter filter;
};

int64_t length_of(const Value& value, Heap* heap) {
  if (value.kind == Value::kUndefined) return 0;
  if (value.kind == Value::kList) return std::ssize(*value.list);
  if (value.is_map()) return std::ssize(value.members());
  if (!value.is_text()) heap->budget().refuse(fmt::format("length of {}", name(value.kind)));
  heap->budget().take(value.text->size() / 4);
  int64_t count = 0;
  for (size_t at = 0; at < value.text->size(); at += utf8_at(value.bytes(), at).size) ++count;
  return count;
}

const MarkedText* as_text(const Value& value, Heap* heap) {
  if (value.is_text()) return value.text;
  MarkedText text;
  append_shown(value, &text, &heap->budget());
  return heap->text(std::move(text)).text;
}

// attribute="a.b" of each item.
Value attribute_of(Value item, const Value& path, Heap* heap) {
  if (path.is_number()) return get_item(item, path, heap);
  if (!path.is_text()) return item;
  std::string_view rest = path.bytes();
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('.'), rest.size());
    if (item.kind == Value::kUndefined) return item;
    item = get_attribute(item, rest.substr(0, end), heap);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return item;
}

Value default_filter(const Value& value, const Arguments& given, Heap* heap) {
  const bool falsy = truth(given.get(1, "boolean")) && !truth(value);
  if (value.kind != Value::kUndefined && !falsy) return value;
  const Value otherwise = given.get(0, "default_value");
  return otherwise.kind == Value::kUndefined ? heap->text("") : otherwise;
}

Value join_filter(const Value& value, const Arguments& given, Heap* heap) {
  const Value separator = given.get(0, "d"), path = given.get(1, "attribute");
  MarkedText joined;
  bool first = true;
  for (const Value& item : items_of(value, heap)) {
    if (!first && separator.kind != Value::kUndefined) append_shown(separator, &joined, &heap->budget());
    append_shown(attribute_of(item, path, heap), &joined, &heap->budget());
    first = false;
  }
  return heap->text(std::move(joined));
}

// The rest of the arguments, after `count`, for the test or filter that they name.
Arguments rest_of(const Arguments& given, size_t count) {
  Arguments rest;
  rest.values.assign(given.values.begin() + static_cast<ptrdiff_t>(std::min(count, given.values.size())),
                     given.values.end());
  rest.keywords = given.keywords;
  return rest;
}

Value choose(const Value& value, const Arguments& given, Heap* heap, bool wanted, bool by_attribute) {
  List chosen;
  if (!truth(value)) return heap->list({});  // none too
  const size_t at = by_attribute ? 1 : 0;
  const Value path = by_attribute ? given.get(0, "attribute") : Value{}, test = given.get(at, "");
  const Arguments rest = rest_of(given, at + 1);
  for (const Value& item : items_of(value, heap)) {
    const Value looked_at = attribute_of(item, path, heap);
    const bool holds = test.is_text() ? apply_test(test.bytes(), looked_at, rest, heap) : truth(looked_at);
    if (holds == wanted) chosen.push_back(item);
  }
  return heap->list(std::move(chosen));
}

Value map_filter(const Value& value, const Arguments& given, Heap* heap) {
  List mapped;
  if (!truth(value)) return heap->list({});
  const Value path = given.values.empty() ? given.get(0, "attribute") : Value{};
  const Value otherwise = given.values.empty() ? given.get(1, "default") : Value{};
  for (const Value& item : items_of(value, heap)) {
    heap->budget().take(8);
    if (!given.values.empty()) {
      mapped.push_back(apply_filter(as_text(given.values[0], heap)->bytes(), item, rest_of(given, 1), heap));
      continue;
    }
    const Value found = attribute_of(item, path, heap);
    mapped.push_back(found.kind == Value::kUndefined ? otherwise : found);
  }
  return heap->list(std::move(mapped));
}

Value sorted(List items, const Arguments& given, Heap* heap, const Value& path) {
  const bool folds = !truth(given.get(1, "case_sensitive")), reverse = truth(given.get(0, "reverse"));
  heap->budget().take(64 * items.size());
  const auto key = [&](const Value& item) {
    const Value found = attribute_of(item, path, heap);
    return folds && found.is_text() ? heap->text(change_case(*found.text, Case::kLower)) : found;
  };
  std::vector<std::pair<Value, Value>> keyed;
  for (const Value& item : items) keyed.emplace_back(key(item), item);
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    return reverse ? less(b.first, a.first, heap) : less(a.first, b.first, heap);
  });
  for (size_t i = 0; i < items.size(); ++i) items[i] = keyed[i].second;
  return heap->list(std::move(items));
}

Value dictsort(const Value& value, const Arguments& given, Heap* heap) {
  if (!value.is_map()) heap->budget().refuse(fmt::format("dictsort of {}", name(value.kind)));
  List items;
  for (const auto& [key, member] : value.members()) items.push_back(heap->list({text_of(key), member}));
  Arguments options;
  options.keywords.emplace_back("reverse", given.get(2, "reverse"));
  return sorted(std::move(items), options, heap, integer(0));
}

Value unique(const Value& value, const Arguments&, Heap* heap) {
  List kept;
  for (const Value& item : items_of(value, heap)) {
    heap->budget().take(8 * kept.size());
    if (std::none_of(kept.begin(), kept.end(), [&](const Value& k) { return equal(k, item, &heap->budget()); }))
      kept.push_back(item);
  }
  return heap->list(std::move(kept));
}

Value json_filter(const Value& value, const Arguments& given, Heap* heap) {
  JsonStyle style;
  style.ascii = truth(given.get(0, "ensure_ascii"));
  if (const Value indent = given.get(1, "indent"); indent.is_number())
    style.indent = std::clamp<int64_t>(indent.as_integer(), 0, 64);
  style.sort = truth(given.get(3, "sort_keys"));
  return heap->text(to_json(value, style, &heap->budget()));
}

Value indent_filter(const Value& value, const Arguments& given, Heap* heap) {
  const MarkedText& text = *as_text(value, heap);
  const Value width = given.get(0, "width");
  const auto spaces = static_cast<size_t>(width.is_number() ? std::clamp<int64_t>(width.as_integer(), 0, 64) : 4);
  const std::string margin = width.is_text() ? std::string(width.bytes()) : std::string(spaces, ' ');
  const bool first = truth(given.get(1, "first")), blank = truth(given.get(2, "blank"));
  MarkedText indented(first ? margin : "");
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.bytes().find('\n', at), text.size());
    heap->budget().take(margin.size() + 1);
    if (at > 0 && (end > at || blank)) indented.append(margin);
    indented.append(text, at, std::min(end + 1, text.size()));
    at = end + 1;
  }
  return heap->text(std::move(indented));
}

Value number_filter(const Value& value, bool whole, const Value& otherwise) {
  if (value.is_number()) return whole ? integer(value.as_integer()) : real(value.as_real());
  double parsed = 0;
  if (value.is_text()) {
    const MarkedText text = strip(*value.text, {}, true, true);
    const char *begin = text.bytes().data(), *end = begin + text.size();
    const auto read = std::from_chars(begin, end, parsed);
    if (read.ec == std::errc() && read.ptr == end && begin != end)
      return whole ? integer(real(parsed).as_integer()) : real(parsed);
  }
  if (otherwise.kind != Value::kUndefined) return otherwise;
  return whole ? integer(0) : real(0);
}

Value round_filter(const Value& value, const Arguments& given, Heap* heap) {
  if (!value.is_number()) heap->budget().refuse(fmt::format("round of {}", name(value.kind)));
  const Value digits = given.get(0, "precision"), method = given.get(1, "method");
  const double scale = std::pow(10.0, digits.is_number() ? static_cast<double>(digits.as_integer()) : 0.0);
  const double scaled = value.as_real() * scale;
  const std::string_view word = method.is_text() ? method.bytes() : "common";
  return real((word == "ceil"    ? std::ceil(scaled)
               : word == "floor" ? std::floor(scaled)
                                 : std::nearbyint(scaled)) /
              scale);
}

Value extreme(const Value& value, const Arguments& given, Heap* heap, bool largest) {
  Value best;
  const Value path = given.get(1, "attribute");
  for (const Value& item : items_of(value, heap)) {
    const Value now = attribute_of(item, path, heap), then = attribute_of(best, path, heap);
    if (best.kind == Value::kUndefined || (largest ? less(then, now, heap) : less(now, then, heap))) best = item;
  }
  return best;
}

Value sum_filter(const Value& value, const Arguments& given, Heap* heap) {
  const Value start = given.get(1, "start");
  Value sum = start.kind == Value::kUndefined ? integer(0) : start;
  for (const Value& item : items_of(value, heap))
    sum = join_binary("+", sum, attribute_of(item, given.get(0, "attribute"), heap), heap);
  return sum;
}

Value reverse_filter(const Value& value, const Arguments&, Heap* heap) {
  List items = items_of(value, heap);
  std::reverse(items.begin(), items.end());
  if (!value.is_text()) return heap->list(std::move(items));
  MarkedText reversed;
  for (const Value& item : items) reversed.append(*item.text);
  return heap->text(std::move(reversed));
}

Value end_of(const Value& value, Heap* heap, bool last) {
  const List items = items_of(value, heap);
  if (items.empty()) return {};
  return last ? items.back() : items.front();
}

Value format_filter(const Value& value, const Arguments& given, Heap* heap) {
  const MarkedText& text = *as_text(value, heap);
  MarkedText made;
  size_t next = 0, from = 0;
  for (size_t at = 0; at + 1 < text.size(); ++at) {
    if (text.bytes()[at] != '%') continue;
    made.append(text, from, at);
    const char kind = text.bytes()[at + 1];
    if (kind == '%') made.append("%");
    if (kind == 's' || kind == 'd') append_shown(given.get(next++, ""), &made, &heap->budget());
    if (kind != '%' && kind != 's' && kind != 'd') heap->budget().refuse("format knows %s, %d and %% only");
    from = ++at + 1;
  }
  made.append(text, std::min(from, text.size()), text.size());
  return heap->text(std::move(made));
}

Value escape_filter(const Value& value, const Arguments&, Heap* heap) {
  const MarkedText& text = *as_text(value, heap);
  MarkedText escaped;
  for (size_t at = 0; at < text.size(); ++at) {
    constexpr std::string_view kSigns = "&<>\"'";
    constexpr std::array<std::string_view, 5> kNames = {"&amp;", "&lt;", "&gt;", "&#34;", "&#39;"};
    const size_t sign = kSigns.find(text.bytes()[at]);
    if (sign == kSigns.npos) {
      escaped.append(text, at, at + 1);
    } else {
      escaped.append_made(kNames[sign], text, at, at + 1);
    }
  }
  return heap->text(std::move(escaped));
}

using V = const Value&;
using A = const Arguments&;

constexpr std::array<Named, 40> kFilters = {{
    {"abs",
     [](V v, A, Heap* h) { return truth(boolean(less(v, integer(0), h))) ? join_binary("-", integer(0), v, h) : v; }},
    {"capitalize", [](V v, A a, Heap* h) { return text_method("capitalize", *as_text(v, h), a, h); }},
    {"count", [](V v, A, Heap* h) { return integer(length_of(v, h)); }},
    {"d", default_filter},
    {"default", default_filter},
    {"dictsort", dictsort},
    {"e", escape_filter},
    {"escape", escape_filter},
    {"first", [](V v, A, Heap* h) { return end_of(v, h, false); }},
    {"float", [](V v, A a, Heap*) { return number_filter(v, false, a.get(0, "default")); }},
    {"format", format_filter},
    {"indent", indent_filter},
    {"int", [](V v, A a, Heap*) { return number_filter(v, true, a.get(0, "default")); }},
    {"items", [](V v, A a, Heap* h) { return v.is_map() ? call_method("items", v, a, h) : h->list({}); }},
    {"join", join_filter},
    {"last", [](V v, A, Heap* h) { return end_of(v, h, true); }},
    {"length", [](V v, A, Heap* h) { return integer(length_of(v, h)); }},
    {"list", [](V v, A, Heap* h) { return h->list(items_of(v, h)); }},
    {"lower", [](V v, A a, Heap* h) { return text_method("lower", *as_text(v, h), a, h); }},
    {"map", map_filter},
    {"max", [](V v, A a, Heap* h) { return extreme(v, a, h, true); }},
    {"min", [](V v, A a, Heap* h) { return extreme(v, a, h, false); }},
    {"reject", [](V v, A a, Heap* h) { return choose(v, a, h, false, false); }},
    {"rejectattr", [](V v, A a, Heap* h) { return choose(v, a, h, false, true); }},
    {"replace", [](V v, A a, Heap* h) { return text_method("replace", *as_text(v, h), a, h); }},
    {"reverse", reverse_filter},
    {"round", round_filter},
    {"safe", [](V v, A, Heap*) { return v; }},
    {"select", [](V v, A a, Heap* h) { return choose(v, a, h, true, false); }},
    {"selectattr", [](V v, A a, Heap* h) { return choose(v, a, h, true, true); }},
    {"sort", [](V v, A a, Heap* h) { return sorted(items_of(v, h), a, h, a.get(2, "attribute")); }},
    {"string", [](V v, A, Heap* h) { return text_of(as_text(v, h)); }},
    {"sum", sum_filter},
    {"title", [](V v, A a, Heap* h) { return text_method("title", *as_text(v, h), a, h); }},
    {"tojson", json_filter},
    {"trim", [](V v, A a, Heap* h) { return text_method("strip", *as_text(v, h), a, h); }},
    {"unique", unique},
    {"upper", [](V v, A a, Heap* h) { return text_method("upper", *as_text(v, h), a, h); }},
    {"values", [](V v, A a, Heap* h) { return call_method("values", v, a, h); }},
    {"wordcount", [](V v, A, Heap* h) { return integer(length_of(text_method("split", *as_text(v, h), {}, h), h)); }},
}};

}  // namespace

Value apply_filter(std::string_view name, const Value& value, const Arguments& given, Heap* heap) {
  heap->budget().take(4);
  for (const Named& known : kFilters)
    if (known.name == name) return known.filter(value, given, heap);
  heap->budget().refuse(fmt::format("no filter \"{}\" here", printable(name)));
}

}  // namespace lowkey::jinja
