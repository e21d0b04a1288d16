// Values of a running template, and the heap they live in until it ends.
#pragma once

#include <cstdint>
#include <deque>
#include <nlohmann/json_fwd.hpp>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja/syntax.h"
#include "text/marked_text.h"

namespace lowkey::jinja {

struct Value;
using List = std::vector<Value>;
using Map = std::vector<std::pair<const MarkedText*, Value>>;  // in the order of insertion

// Small, and copied freely; what it points to belongs to the heap or the parsed template and does not change, but for
// namespaces.
struct Value {
  enum Kind : uint8_t {
    kUndefined,
    kNone,
    kBoolean,
    kInteger,
    kReal,
    kText,
    kList,
    kMap,
    kNamespace,  // a map that {% set ns.x = ... %} changes
    kMacro,
    kFunction,  // of the language, by name
  };
  Kind kind;
  union {
    bool boolean;
    int64_t integer;
    double real;
    const MarkedText* text;
    const List* list;
    const Map* map;
    Map* space;
    const Statement* macro;
    const char* function;
  };

  Value(Kind k = kUndefined) noexcept : kind(k), integer(0) {}

  bool is_text() const noexcept { return kind == kText; }
  bool is_number() const noexcept { return kind == kBoolean || kind == kInteger || kind == kReal; }
  bool is_map() const noexcept { return kind == kMap || kind == kNamespace; }
  double as_real() const noexcept;      // of a number
  int64_t as_integer() const noexcept;  // of a number, rounded towards 0
  std::string_view bytes() const noexcept { return text->bytes(); }
  const Map& members() const noexcept { return *map; }
};

inline Value none() noexcept { return Value::kNone; }
inline Value boolean(bool value) noexcept {
  Value made(Value::kBoolean);
  made.boolean = value;
  return made;
}
inline Value integer(int64_t value) noexcept {
  Value made(Value::kInteger);
  made.integer = value;
  return made;
}
inline Value real(double value) noexcept {
  Value made(Value::kReal);
  made.real = value;
  return made;
}
inline Value text_of(const MarkedText* text) noexcept {
  Value made(Value::kText);
  made.text = text;
  return made;
}
inline Value function(const char* name) noexcept {
  Value made(Value::kFunction);
  made.function = name;
  return made;
}

bool truth(const Value&) noexcept;
std::string_view name(Value::Kind) noexcept;  // for errors
// Null when there is none.
const Value* find(const Map&, std::string_view key) noexcept;

// What a render may use: templates come in files of strangers. Throws kInvalidArgument when it is used up.
class Budget {
 public:
  Budget(const std::string& source, size_t input_bytes)
      : source_(source),
        steps_(400'000 + static_cast<int64_t>(input_bytes)),
        bytes_((int64_t{4} << 20) + 64 * static_cast<int64_t>(input_bytes)) {}
  void step(int line) {
    line_ = line;
    if (--steps_ < 0) refuse("runs too long");
  }
  // Memory taken, or text read from end to end.
  void take(size_t bytes) {
    if (bytes > static_cast<size_t>(bytes_)) refuse("takes too much memory");
    bytes_ -= static_cast<int64_t>(bytes);
  }
  int line() const noexcept { return line_; }
  // Throws kInvalidArgument with the template's name and the line.
  [[noreturn]] void refuse(std::string_view what) const;

 private:
  const std::string& source_;
  int64_t steps_, bytes_;
  int line_ = 0;
};

// Everything made while a template runs: freed all at once at the end, so that no chain of values is freed by
// recursion.
class Heap {
 public:
  explicit Heap(Budget* budget) : budget_(budget) {}

  Value text(MarkedText text);
  Value text(std::string_view own) { return this->text(MarkedText(own)); }
  Value list(List list);
  Value map(Map map);
  Value space();
  // Its strings are a stranger's, but for those directly in the outermost object, and for roles that are plain words.
  Value from_json(const nlohmann::ordered_json& value, bool trusted = false);
  // Changes a map or adds to one.
  void set(Map* map, const MarkedText* key, Value value);
  Budget& budget() noexcept { return *budget_; }

 private:
  Budget* budget_;
  std::deque<MarkedText> texts_;
  std::deque<List> lists_;
  std::deque<Map> maps_;
};

// Python's str(): what {{ value }} writes. And its repr(), which puts texts in quotes.
void append_shown(const Value&, MarkedText* to, Budget*);
bool equal(const Value&, const Value&, Budget*, int depth = 0);
// As Python's json.dumps writes it; indent < 0: on one line.
struct JsonStyle {
  int64_t indent = -1;
  bool ascii = false, sort = false;
};
MarkedText to_json(const Value&, const JsonStyle&, Budget*);

}  // namespace lowkey::jinja
