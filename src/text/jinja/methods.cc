// Methods of texts, lists and maps, as Python has them.
#include <utf8proc.h>

#include <algorithm>

#include "base/error.h"
#include "base/printable.h"
#include "text/char_class.h"
#include "text/jinja/library.h"
#include "text/utf8.h"

namespace lowkey::jinja {
namespace {

constexpr int64_t kAll = INT64_MAX;

bool is_white(char32_t c) noexcept { return class_of(c) == CharClass::kSpace || (c >= 0x1C && c <= 0x1F); }

std::vector<Utf8Symbol> symbols_of(std::string_view text) {
  std::vector<Utf8Symbol> symbols;
  for (size_t at = 0; at < text.size(); at += symbols.back().size) symbols.push_back(utf8_at(text, at));
  return symbols;
}

int64_t most_of(const Value& value) noexcept {
  return value.is_number() && value.as_integer() >= 0 ? value.as_integer() : kAll;
}

// At white space, runs of it as one.
Value split_words(const MarkedText& text, int64_t most, Heap* heap) {
  List parts;
  const auto white = [&](size_t at) { return is_white(utf8_at(text.bytes(), at).value); };
  const auto skip = [&](size_t at, bool space) {
    while (at < text.size() && white(at) == space) at += utf8_at(text.bytes(), at).size;
    return at;
  };
  for (size_t at = skip(0, true); at < text.size();) {
    const size_t end = std::ssize(parts) == most ? text.size() : skip(at, false);
    parts.push_back(heap->text(text.part(at, end)));
    at = skip(end, true);
  }
  return heap->list(std::move(parts));
}

Value split(const MarkedText& text, const Value& separator, int64_t most, bool from_right, Heap* heap) {
  if (!separator.is_text()) return split_words(text, most, heap);
  const std::string_view by = separator.bytes(), bytes = text.bytes();
  if (by.empty()) heap->budget().refuse("split at an empty text");
  List parts;
  if (from_right) {
    size_t end = text.size();
    while (std::ssize(parts) < most) {
      const size_t found = end < by.size() ? bytes.npos : bytes.rfind(by, end - by.size());
      if (found == bytes.npos) break;
      parts.push_back(heap->text(text.part(found + by.size(), end)));
      end = found;
    }
    parts.push_back(heap->text(text.part(0, end)));
    std::reverse(parts.begin(), parts.end());
    return heap->list(std::move(parts));
  }
  size_t at = 0;
  for (size_t found; std::ssize(parts) < most && (found = bytes.find(by, at)) != bytes.npos; at = found + by.size())
    parts.push_back(heap->text(text.part(at, found)));
  parts.push_back(heap->text(text.part(at, text.size())));
  return heap->list(std::move(parts));
}

Value split_lines(const MarkedText& text, Heap* heap) {
  List parts;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.bytes().find_first_of("\r\n", at), text.size());
    parts.push_back(heap->text(text.part(at, end)));
    at = end + (text.bytes().compare(end, 2, "\r\n") == 0 ? 2 : 1);
  }
  return heap->list(std::move(parts));
}

// Whether `affix`, a text or one of a list of texts, is at that end.
bool has_affix(const MarkedText& text, const Value& affix, bool at_start, Heap* heap) {
  if (affix.kind == Value::kList)
    return std::any_of(affix.list->begin(), affix.list->end(),
                       [&](const Value& one) { return has_affix(text, one, at_start, heap); });
  if (!affix.is_text()) heap->budget().refuse(fmt::format("startswith or endswith of {}", name(affix.kind)));
  return at_start ? text.bytes().starts_with(affix.bytes()) : text.bytes().ends_with(affix.bytes());
}

bool all_symbols(const MarkedText& text, bool (*is)(char32_t)) {
  const auto symbols = symbols_of(text.bytes());
  return !symbols.empty() && std::all_of(symbols.begin(), symbols.end(), [&](Utf8Symbol s) { return is(s.value); });
}

int64_t find_place(const MarkedText& text, const Value& part, bool last) {
  const size_t found = last ? text.bytes().rfind(part.bytes()) : text.bytes().find(part.bytes());
  if (found == std::string::npos) return -1;
  return std::ssize(symbols_of(std::string_view(text.bytes()).substr(0, found)));
}

// "{}" and "{name}", without what may follow a colon.
Value format_braces(const MarkedText& text, const Arguments& given, Heap* heap) {
  MarkedText made;
  size_t at = 0, next = 0;
  for (size_t open; (open = text.bytes().find('{', at)) != std::string::npos;) {
    const size_t close = text.bytes().find('}', open);
    if (close == std::string::npos) heap->budget().refuse("format of a text with an open brace");
    made.append(text, at, open);
    const std::string name = text.bytes().substr(open + 1, close - open - 1);
    const Value value = name.empty() ? given.get(next++, "") : given.get(SIZE_MAX, name);
    if (value.kind == Value::kUndefined)
      heap->budget().refuse(fmt::format("format: no value for {{{}}}", printable(name)));
    append_shown(value, &made, &heap->budget());
    at = close + 1;
  }
  made.append(text, at, text.size());
  return heap->text(std::move(made));
}

Value map_method(std::string_view name, const Value& object, const Arguments& given, Heap* heap) {
  List items;
  heap->budget().take(object.members().size() * sizeof(Value));
  if (name == "get") {
    const Value key = given.get(0, "key"), *found = key.is_text() ? find(object.members(), key.bytes()) : nullptr;
    if (found != nullptr) return *found;
    const Value otherwise = given.get(1, "default");
    return otherwise.kind == Value::kUndefined ? none() : otherwise;
  }
  for (const auto& [key, value] : object.members()) {
    if (name == "keys") items.push_back(text_of(key));
    if (name == "values") items.push_back(value);
    if (name == "items") items.push_back(heap->list({text_of(key), value}));
  }
  return heap->list(std::move(items));
}

}  // namespace

Value Arguments::get(size_t i, std::string_view name) const noexcept {
  if (i < values.size()) return values[i];
  for (const auto& [key, value] : keywords)
    if (key == name) return value;
  return {};
}

MarkedText strip(const MarkedText& text, const Value& drop, bool left, bool right) {
  const auto symbols = symbols_of(text.bytes());
  const auto drops = drop.is_text() ? symbols_of(drop.bytes()) : std::vector<Utf8Symbol>();
  const auto dropped = [&](char32_t value) {
    if (!drop.is_text()) return is_white(value);
    return std::any_of(drops.begin(), drops.end(), [&](Utf8Symbol s) { return s.value == value; });
  };
  size_t begin = 0, end = text.size(), first = 0, last = symbols.size();
  while (left && first < last && dropped(symbols[first].value)) begin += symbols[first++].size;
  while (right && last > first && dropped(symbols[last - 1].value)) end -= symbols[--last].size;
  return text.part(begin, end);
}

MarkedText replace(const MarkedText& text, std::string_view from, const MarkedText& to, int64_t most, Budget* budget) {
  MarkedText replaced;
  if (from.empty()) budget->refuse("replace of an empty text");
  size_t at = 0;
  for (size_t found; most > 0 && (found = text.bytes().find(from, at)) != std::string::npos; --most) {
    budget->take(to.size() + 16);
    replaced.append(text, at, found);
    replaced.append(to);
    at = found + from.size();
  }
  replaced.append(text, at, text.size());
  return replaced;
}

MarkedText change_case(const MarkedText& text, Case wanted) {
  MarkedText changed;
  bool begins = true;
  for (size_t at = 0; at < text.size();) {
    const Utf8Symbol symbol = utf8_at(text.bytes(), at);
    const auto value = static_cast<utf8proc_int32_t>(symbol.value);
    const bool upper = wanted == Case::kUpper || (begins && wanted != Case::kLower);
    const utf8proc_int32_t other = symbol.value == kInvalidSymbol ? value
                                   : upper                        ? utf8proc_toupper(value)
                                                                  : utf8proc_tolower(value);
    if (other == value) {
      changed.append(text, at, at + symbol.size);
    } else {
      std::string bytes;
      append_utf8(static_cast<char32_t>(other), &bytes);
      changed.append_made(bytes, text, at, at + symbol.size);
    }
    begins = wanted == Case::kTitle && class_of(symbol.value) != CharClass::kLetter;
    at += symbol.size;
  }
  return changed;
}

Value text_method(std::string_view name, const MarkedText& text, const Arguments& given, Heap* heap) {
  heap->budget().take(text.size() / 2 + 1);
  const Value first = given.get(0, "sep");
  const auto needs_text = [&](const Value& value) {
    if (!value.is_text()) heap->budget().refuse(fmt::format("{} of {}", name, jinja::name(value.kind)));
  };
  if (name == "strip" || name == "lstrip" || name == "rstrip")
    return heap->text(strip(text, first, name != "rstrip", name != "lstrip"));
  if (name == "split" || name == "rsplit")
    return split(text, first, most_of(given.get(1, "maxsplit")), name == "rsplit", heap);
  if (name == "splitlines") return split_lines(text, heap);
  if (name == "startswith" || name == "endswith") return boolean(has_affix(text, first, name == "startswith", heap));
  if (name == "lower") return heap->text(change_case(text, Case::kLower));
  if (name == "upper") return heap->text(change_case(text, Case::kUpper));
  if (name == "title") return heap->text(change_case(text, Case::kTitle));
  if (name == "capitalize") {
    const auto begin = text.size() == 0 ? 0 : utf8_at(text.bytes(), 0).size;
    MarkedText whole = change_case(text.part(0, begin), Case::kUpper);
    whole.append(change_case(text.part(begin, text.size()), Case::kLower));
    return heap->text(std::move(whole));
  }
  if (name == "format") return format_braces(text, given, heap);
  if (name == "isdigit")
    return boolean(all_symbols(text, [](char32_t c) { return class_of(c) == CharClass::kNumber; }));
  if (name == "isalpha")
    return boolean(all_symbols(text, [](char32_t c) { return class_of(c) == CharClass::kLetter; }));
  if (name == "isspace") return boolean(all_symbols(text, is_white));
  if (name == "join") {
    Arguments separator;
    separator.values = {text_of(&text)};
    return apply_filter("join", first, separator, heap);
  }
  if (name == "replace") {
    const Value from = given.get(0, "old"), to = given.get(1, "new");
    needs_text(from), needs_text(to);
    return heap->text(replace(text, from.bytes(), *to.text, most_of(given.get(2, "count")), &heap->budget()));
  }
  if (name == "removeprefix" || name == "removesuffix") {
    needs_text(first);
    const bool prefix = name == "removeprefix", there = has_affix(text, first, prefix, heap);
    const size_t size = there ? first.text->size() : 0;
    return heap->text(prefix ? text.part(size, text.size()) : text.part(0, text.size() - size));
  }
  if (name == "find" || name == "rfind" || name == "index" || name == "count") {
    needs_text(first);
    if (name != "count") return integer(find_place(text, first, name == "rfind"));
    int64_t count = 0;
    const std::string_view part = first.bytes();
    for (size_t at = 0; !part.empty() && (at = text.bytes().find(part, at)) != std::string::npos; at += part.size())
      ++count;
    return integer(count);
  }
  heap->budget().refuse(fmt::format("a string has no method \"{}\" here", printable(name)));
}

Value call_method(std::string_view name, const Value& object, const Arguments& given, Heap* heap) {
  if (object.is_text()) return text_method(name, *object.text, given, heap);
  if (object.is_map() && (name == "get" || name == "keys" || name == "values" || name == "items"))
    return map_method(name, object, given, heap);
  if (object.kind == Value::kList && (name == "index" || name == "count")) {
    int64_t count = 0;
    for (size_t i = 0; i < object.list->size(); ++i) {
      if (!equal((*object.list)[i], given.get(0, ""), &heap->budget())) continue;
      if (name == "index") return integer(static_cast<int64_t>(i));
      ++count;
    }
    if (name == "index") heap->budget().refuse("index of what is not in the list");
    return integer(count);
  }
  heap->budget().refuse(fmt::format("{} has no method \"{}\" here", jinja::name(object.kind), printable(name)));
}

}  // namespace lowkey::jinja
