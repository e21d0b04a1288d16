// Values as text: Python's str() and repr(), and JSON.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "text/jinja/value.h"
#include "text/utf8.h"

namespace lowkey::jinja {
namespace {

constexpr int kMostDepth = 64;

// The shortest digits that read back as the same number, as Python writes them.
std::string shown(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char digits[40];
  const double size = std::abs(value);
  const bool power = value != 0 && (size < 1e-4 || size >= 1e16);
  const auto format = power ? std::chars_format::scientific : std::chars_format::fixed;
  std::string text(digits, std::to_chars(digits, digits + sizeof(digits), value, format).ptr);
  if (!power && text.find('.') == text.npos) text += ".0";
  return text;
}

void append_number(const Value& value, MarkedText* to) {
  if (value.kind == Value::kReal) {
    to->append(shown(value.real));
  } else {
    to->append(std::to_string(value.integer));
  }
}

std::string_view word_of(const Value& value, bool json) noexcept {
  if (value.kind == Value::kBoolean)
    return json ? (value.boolean ? "true" : "false") : value.boolean ? "True" : "False";
  return json ? "null" : "None";
}

std::string quoted(std::string_view text) {
  const char quote = text.find('\'') != text.npos && text.find('"') == text.npos ? '"' : '\'';
  std::string shown(1, quote);
  for (char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    if (c == quote || c == '\\') {
      shown.append({'\\', c});
    } else if (c == '\n' || c == '\r' || c == '\t') {
      shown.append({'\\', c == '\n' ? 'n' : c == '\r' ? 'r' : 't'});
    } else if (byte < 0x20 || byte == 0x7F) {
      shown.append(fmt::format("\\x{:02x}", byte));
    } else {
      shown.push_back(c);
    }
  }
  return shown + quote;
}

void append_repr(const Value& value, MarkedText* to, Budget* budget, int depth) {
  if (depth > kMostDepth) budget->refuse("values nested too deep to write");
  budget->take(8);
  switch (value.kind) {
    case Value::kText:
      budget->take(2 * value.text->size());
      return to->append_made(quoted(value.bytes()), *value.text, 0, value.text->size());
    case Value::kList:
      to->append("[");
      for (const Value& item : *value.list) {
        if (&item != value.list->data()) to->append(", ");
        append_repr(item, to, budget, depth + 1);
      }
      return to->append("]");
    case Value::kMap:
    case Value::kNamespace:
      to->append("{");
      for (const auto& member : value.members()) {
        if (&member != value.members().data()) to->append(", ");
        append_repr(text_of(member.first), to, budget, depth + 1);
        to->append(": ");
        append_repr(member.second, to, budget, depth + 1);
      }
      return to->append("}");
    case Value::kInteger:
    case Value::kReal:
      return append_number(value, to);
    case Value::kBoolean:
    case Value::kNone:
      return to->append(word_of(value, false));
    default:
      return;  // undefined is nothing; nobody prints macros
  }
}

class JsonWriter {
 public:
  JsonWriter(const JsonStyle& style, Budget* budget) : style_(style), budget_(budget) {}

  void write(const Value& value, int depth) {
    if (depth > kMostDepth) budget_->refuse("values nested too deep to write");
    budget_->take(8);
    switch (value.kind) {
      case Value::kText:
        return write_text(*value.text);
      case Value::kList:
        return write_all('[', ']', value.list->size(), depth, [&](size_t i) { write((*value.list)[i], depth + 1); });
      case Value::kMap:
      case Value::kNamespace:
        return write_map(value.members(), depth);
      case Value::kInteger:
      case Value::kReal:
        return append_number(value, &to_);
      case Value::kBoolean:
      case Value::kNone:
        return to_.append(word_of(value, true));
      default:
        budget_->refuse(fmt::format("tojson of {}", name(value.kind)));
    }
  }
  MarkedText take() { return std::move(to_); }

 private:
  void write_map(const Map& map, int depth) {
    budget_->take(map.size() * sizeof(size_t));
    std::vector<size_t> order(map.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    if (style_.sort)
      std::sort(order.begin(), order.end(),
                [&](size_t a, size_t b) { return map[a].first->bytes() < map[b].first->bytes(); });
    write_all('{', '}', map.size(), depth, [&](size_t i) {
      write_text(*map[order[i]].first);
      to_.append(": ");
      write(map[order[i]].second, depth + 1);
    });
  }

  template <class Write>
  void write_all(char open, char close, size_t count, int depth, Write write) {
    to_.append({&open, 1});
    for (size_t i = 0; i < count; ++i) {
      if (i > 0) to_.append(style_.indent < 0 ? ", " : ",");
      break_line(depth + 1);
      write(i);
    }
    if (count > 0) break_line(depth);
    to_.append({&close, 1});
  }

  void break_line(int depth) {
    if (style_.indent < 0) return;
    const auto spaces = static_cast<size_t>(style_.indent * depth);
    budget_->take(spaces);
    to_.append("\n" + std::string(spaces, ' '));
  }

  void write_text(const MarkedText& text) {
    budget_->take(2 * text.size());
    to_.append("\"");
    for (size_t at = 0; at < text.size();) {
      const Utf8Symbol symbol = utf8_at(text.bytes(), at);
      write_symbol(text, at, symbol);
      at += symbol.size;
    }
    to_.append("\"");
  }

  void write_symbol(const MarkedText& text, size_t at, Utf8Symbol symbol) {
    constexpr std::string_view kNamed = "\"\\\n\r\t\b\f", kNames = "\"\\nrtbf";
    const char32_t c = symbol.value;
    const size_t named = c < 0x80 ? kNamed.find(static_cast<char>(c)) : kNamed.npos;
    if (named != kNamed.npos) {
      to_.append_made(std::string{'\\', kNames[named]}, text, at, at + 1);
    } else if (c < 0x20 || (style_.ascii && c >= 0x7F && c <= 0xFFFF)) {
      to_.append_made(fmt::format("\\u{:04x}", static_cast<uint32_t>(c)), text, at, at + symbol.size);
    } else if (style_.ascii && c > 0xFFFF && c != kInvalidSymbol) {
      const uint32_t rest = c - 0x10000;
      to_.append_made(fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (rest >> 10), 0xDC00 + (rest & 0x3FF)), text, at,
                      at + symbol.size);
    } else {
      to_.append(text, at, at + symbol.size);
    }
  }

  const JsonStyle& style_;
  Budget* budget_;
  MarkedText to_;
};

}  // namespace

void append_shown(const Value& value, MarkedText* to, Budget* budget) {
  if (!value.is_text()) return append_repr(value, to, budget, 0);
  budget->take(value.text->size());
  to->append(*value.text);
}

MarkedText to_json(const Value& value, const JsonStyle& style, Budget* budget) {
  JsonWriter writer(style, budget);
  writer.write(value, 0);
  return writer.take();
}

}  // namespace lowkey::jinja
