#include "text/jinja/renderer.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/printable.h"

namespace lowkey::jinja {
namespace {

constexpr int kMostDepth = 700;  // of statements, expressions and macros within one another

constexpr std::array<const char*, 5> kFunctions = {"raise_exception", "strftime_now", "range", "namespace", "dict"};

// The members of `loop`, in this order in its map.
enum LoopMember { kIndex, kIndex0, kRevindex, kRevindex0, kFirst, kLast, kLength, kPrevious, kNext, kLoopMembers };
constexpr std::array<std::string_view, kLoopMembers> kLoopNames = {"index", "index0", "revindex", "revindex0", "first",
                                                                   "last",  "length", "previtem", "nextitem"};

void update_loop(Map* loop, const List& items, size_t at) {
  const auto set = [&](LoopMember member, Value value) { (*loop)[member].second = value; };
  const auto i = static_cast<int64_t>(at), n = std::ssize(items);
  set(kIndex, integer(i + 1));
  set(kIndex0, integer(i));
  set(kRevindex, integer(n - i));
  set(kRevindex0, integer(n - i - 1));
  set(kFirst, boolean(i == 0));
  set(kLast, boolean(i + 1 == n));
  set(kLength, integer(n));
  set(kPrevious, i == 0 ? Value{} : items[at - 1]);
  set(kNext, i + 1 == n ? Value{} : items[at + 1]);
}

}  // namespace

// One level of nesting.
class Renderer::Nested {
 public:
  explicit Nested(Renderer* renderer) : renderer_(renderer) {
    if (++renderer_->depth_ > kMostDepth) renderer_->budget_.refuse(fmt::format("nested deeper than {}", kMostDepth));
  }
  ~Nested() { --renderer_->depth_; }
  Nested(const Nested&) = delete;

 private:
  Renderer* renderer_;
};

Renderer::Renderer(Heap* heap, const Value& variables, const std::tm& now)
    : heap_(heap), budget_(heap->budget()), now_(now), scopes_(1) {
  for (const char* name : kFunctions) define(name, function(name));
  for (const auto& [name, value] : variables.members()) define(name->bytes(), value);
}

MarkedText Renderer::run(const Block& block) {
  MarkedText out;
  out_ = &out;
  run_block(block);
  return out;
}

void Renderer::define(std::string_view name, const Value& value) {
  auto& names = scopes_.back().names;
  const auto known = std::find_if(names.begin(), names.end(), [&](const auto& named) { return named.first == name; });
  if (known != names.end()) {
    known->second = value;
  } else {
    names.emplace_back(name, value);
  }
}

Value Renderer::look_up(std::string_view name) const {
  for (size_t i = scopes_.size(); i-- > 0;) {
    for (const auto& [known, value] : scopes_[i].names)
      if (known == name) return value;
    if (scopes_[i].barrier) i = std::min<size_t>(i, 1);
  }
  return {};
}

void Renderer::write(const MarkedText& text) {
  budget_.take(text.size());
  out_->append(text);
}

Renderer::Flow Renderer::run_block(const Block& block) {
  const Nested nested(this);
  for (const Statement& statement : block)
    if (const Flow flow = run_statement(statement); flow != Flow::kOn) return flow;
  return Flow::kOn;
}

Renderer::Flow Renderer::run_statement(const Statement& s) {
  budget_.step(s.line);
  switch (s.kind) {
    case Statement::kText:
      write(s.text);
      return Flow::kOn;
    case Statement::kOutput:
      run_output(s);
      return Flow::kOn;
    case Statement::kIf:
      return run_if(s);
    case Statement::kFor:
      return run_for(s);
    case Statement::kSet:
    case Statement::kSetBlock:
      run_set(s);
      return Flow::kOn;
    case Statement::kMacro: {
      Value macro(Value::kMacro);
      macro.macro = &s;
      define(s.name, macro);
      return Flow::kOn;
    }
    case Statement::kPlain:
      return run_block(s.block);
    case Statement::kBreak:
      return Flow::kBreak;
    case Statement::kContinue:
      return Flow::kContinue;
  }
  return Flow::kOn;
}

void Renderer::run_output(const Statement& s) {
  const Value value = evaluate(*s.value);
  if (value.is_text()) return write(*value.text);
  MarkedText text;
  append_shown(value, &text, &budget_);
  write(text);
}

Renderer::Flow Renderer::run_if(const Statement& s) {
  for (const auto& [condition, block] : s.branches)
    if (condition == nullptr || truth(evaluate(*condition))) return run_block(block);
  return Flow::kOn;
}

void Renderer::bind(const Statement& s, const Value& value) {
  if (s.names.size() == 1) return define(s.names[0], value);
  const List parts = items_of(value, heap_);
  if (parts.size() != s.names.size())
    budget_.refuse(fmt::format("{} values for {} names", parts.size(), s.names.size()));
  for (size_t i = 0; i < parts.size(); ++i) define(s.names[i], parts[i]);
}

// The loop's items, without those its condition leaves out.
List Renderer::chosen_items(const Statement& s) {
  List items = items_of(evaluate(*s.value), heap_);
  if (!s.condition) return items;
  scopes_.emplace_back();
  std::erase_if(items, [&](const Value& item) {
    bind(s, item);
    return !truth(evaluate(*s.condition));
  });
  scopes_.pop_back();
  return items;
}

Renderer::Flow Renderer::run_for(const Statement& s) {
  const List items = chosen_items(s);
  if (items.empty()) return run_block(s.otherwise);
  static const auto kNames = [] {
    std::array<MarkedText, kLoopMembers> names;
    std::transform(kLoopNames.begin(), kLoopNames.end(), names.begin(), [](auto name) { return MarkedText(name); });
    return names;
  }();
  const Value loop = heap_->space();
  for (const MarkedText& name : kNames) heap_->set(loop.space, &name, {});
  scopes_.emplace_back();
  for (size_t i = 0; i < items.size(); ++i) {
    budget_.step(s.line);
    scopes_.back().names.clear();
    update_loop(loop.space, items, i);
    define("loop", loop);
    bind(s, items[i]);
    if (run_block(s.block) == Flow::kBreak) break;
  }
  scopes_.pop_back();
  return Flow::kOn;
}

void Renderer::run_set(const Statement& s) {
  Value value;
  if (s.kind == Statement::kSetBlock) {
    MarkedText text;
    MarkedText* const outer = std::exchange(out_, &text);
    run_block(s.block);
    out_ = outer;
    value = heap_->text(std::move(text));
  } else {
    value = evaluate(*s.value);
  }
  if (s.attribute.empty()) return bind(s, value);
  const Value space = look_up(s.names[0]);
  if (space.kind != Value::kNamespace)
    budget_.refuse(fmt::format("{}.{} = is for namespaces", s.names[0], s.attribute));
  heap_->set(space.space, heap_->text(s.attribute).text, value);
}

Value Renderer::evaluate(const Expression& e) {
  const Nested nested(this);
  budget_.step(e.line);
  switch (e.kind) {
    case Expression::kText:
      return text_of(&e.text);
    case Expression::kInteger:
      return integer(e.integer);
    case Expression::kReal:
      return real(e.real);
    case Expression::kTrue:
    case Expression::kFalse:
      return boolean(e.kind == Expression::kTrue);
    case Expression::kNone:
      return none();
    case Expression::kName:
      return look_up(e.name);
    case Expression::kList:
      return evaluate_items(e);
    case Expression::kMap:
      return evaluate_map(e);
    case Expression::kAttribute:
      return get_attribute(evaluate(*e.parts[0]), e.name, heap_);
    case Expression::kItem:
      return get_item(evaluate(*e.parts[0]), evaluate(*e.parts[1]), heap_);
    case Expression::kSlice:
      return evaluate_slice(e);
    case Expression::kCall:
      return evaluate_call(e);
    case Expression::kFilter:
      return apply_filter(e.name, evaluate(*e.parts[0]), evaluate_arguments(e), heap_);
    case Expression::kTest:
      return boolean(apply_test(e.name, evaluate(*e.parts[0]), evaluate_arguments(e), heap_));
    case Expression::kNot:
      return boolean(!truth(evaluate(*e.parts[0])));
    case Expression::kNegate:
      return join_binary("-", integer(0), evaluate(*e.parts[0]), heap_);
    case Expression::kBinary:
      return evaluate_binary(e);
    case Expression::kChoice:
      if (truth(evaluate(*e.parts[1]))) return evaluate(*e.parts[0]);
      return e.parts[2] ? evaluate(*e.parts[2]) : Value{};
  }
  return {};
}

Value Renderer::evaluate_binary(const Expression& e) {
  const Value a = evaluate(*e.parts[0]);
  const std::string_view sign = e.name;
  if (sign == "and") return truth(a) ? evaluate(*e.parts[1]) : a;
  if (sign == "or") return truth(a) ? a : evaluate(*e.parts[1]);
  const Value b = evaluate(*e.parts[1]);
  if (sign == "==") return boolean(equal(a, b, &budget_));
  if (sign == "!=") return boolean(!equal(a, b, &budget_));
  if (sign == "<") return boolean(less(a, b, heap_));
  if (sign == ">") return boolean(less(b, a, heap_));
  if (sign == "<=") return boolean(!less(b, a, heap_));
  if (sign == ">=") return boolean(!less(a, b, heap_));
  if (sign == "in") return boolean(contains(b, a, heap_));
  return join_binary(sign, a, b, heap_);
}

Value Renderer::evaluate_items(const Expression& e) {
  List items;
  for (const auto& part : e.parts) items.push_back(evaluate(*part));
  return heap_->list(std::move(items));
}

Value Renderer::evaluate_map(const Expression& e) {
  Map map;
  for (size_t i = 0; i + 1 < e.parts.size(); i += 2) {
    Value key = evaluate(*e.parts[i]);
    if (key.is_number()) key = apply_filter("string", key, {}, heap_);
    if (!key.is_text()) budget_.refuse(fmt::format("{} as the key of a map, must be a string", name(key.kind)));
    heap_->set(&map, key.text, evaluate(*e.parts[i + 1]));
  }
  return heap_->map(std::move(map));
}

Value Renderer::evaluate_slice(const Expression& e) {
  Value parts[4];
  for (size_t i = 0; i < 4; ++i)
    if (e.parts[i]) parts[i] = evaluate(*e.parts[i]);
  return get_slice(parts[0], parts[1], parts[2], parts[3], heap_);
}

Arguments Renderer::evaluate_arguments(const Expression& e) {
  Arguments arguments;
  for (size_t i = 1; i < e.parts.size(); ++i) arguments.values.push_back(evaluate(*e.parts[i]));
  for (const auto& [name, value] : e.keywords) arguments.keywords.emplace_back(name, evaluate(*value));
  return arguments;
}

Value Renderer::evaluate_call(const Expression& e) {
  const Expression& called = *e.parts[0];
  if (called.kind == Expression::kAttribute) {
    const Value object = evaluate(*called.parts[0]);
    if (object.kind == Value::kUndefined) budget_.refuse(fmt::format("undefined has no method \"{}\"", called.name));
    const Value* member = object.is_map() ? find(object.members(), called.name) : nullptr;
    if (member == nullptr || member->kind != Value::kMacro)
      return call_method(called.name, object, evaluate_arguments(e), heap_);
    return call_macro(*member->macro, evaluate_arguments(e));
  }
  const Value function = evaluate(called);
  const Arguments arguments = evaluate_arguments(e);
  if (function.kind == Value::kMacro) return call_macro(*function.macro, arguments);
  if (function.kind == Value::kFunction) return call_function(function.function, arguments);
  budget_.refuse(fmt::format("{} \"{}\" is called, must be a function", name(function.kind), printable(called.name)));
}

Value Renderer::call_macro(const Statement& macro, const Arguments& given) {
  const Nested nested(this);
  MarkedText text;
  MarkedText* const outer = std::exchange(out_, &text);
  scopes_.push_back({.names = {}, .barrier = true});
  for (size_t i = 0; i < macro.parameters.size(); ++i) {
    const auto& [name, otherwise] = macro.parameters[i];
    Value value = given.get(i, name);
    if (value.kind == Value::kUndefined && otherwise) value = evaluate(*otherwise);
    define(name, value);
  }
  run_block(macro.block);
  scopes_.pop_back();
  out_ = outer;
  return heap_->text(std::move(text));
}

Value Renderer::make_range(const Arguments& given) {
  const auto number = [&](size_t i) {
    if (!given.values[i].is_number()) budget_.refuse("range must be of whole numbers");
    return given.values[i].as_integer();
  };
  const size_t count = given.values.size();
  if (count < 1 || count > 3) budget_.refuse("range takes 1 to 3 numbers");
  const int64_t begin = count > 1 ? number(0) : 0, end = number(count > 1 ? 1 : 0), step = count > 2 ? number(2) : 1;
  if (step == 0) budget_.refuse("range with a step of 0");
  constexpr int64_t kMost = int64_t{1} << 40;
  if (std::max({std::abs(begin), std::abs(end), std::abs(step)}) > kMost) budget_.refuse("range of numbers too large");
  const int64_t size = step > 0 ? (end - begin + step - 1) / step : (begin - end - step - 1) / -step;
  budget_.take(static_cast<size_t>(std::max<int64_t>(size, 0)) * sizeof(Value));
  List items;
  for (int64_t i = 0; i < size; ++i) items.push_back(integer(begin + i * step));
  return heap_->list(std::move(items));
}

Value Renderer::call_function(std::string_view name, const Arguments& given) {
  if (name == "range") return make_range(given);
  if (name == "raise_exception") {
    MarkedText text;
    append_shown(given.get(0, "message"), &text, &budget_);
    budget_.refuse(fmt::format("the template says: {}", printable(text.bytes(), 300)));
  }
  if (name == "strftime_now") {
    char text[200];
    const Value format = given.get(0, "format");
    const size_t size =
        format.is_text() ? std::strftime(text, sizeof(text), std::string(format.bytes()).c_str(), &now_) : 0;
    return heap_->text(std::string_view(text, size));
  }
  Value space = heap_->space();
  for (const Value& value : given.values)
    if (value.is_map())
      for (const auto& [key, member] : value.members()) heap_->set(space.space, key, member);
  for (const auto& [key, value] : given.keywords) heap_->set(space.space, heap_->text(key).text, value);
  if (name == "dict") space.kind = Value::kMap, space.map = space.space;
  return space;
}

}  // namespace lowkey::jinja
