// Renderer: runs a parsed template. It reaches nothing but the values it was given, and stops when its budget is used
// up.
#pragma once

#include <ctime>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja/library.h"
#include "text/jinja/value.h"

namespace lowkey::jinja {

class Renderer {
 public:
  // `variables` is a map; `now` is what strftime_now shows.
  Renderer(Heap* heap, const Value& variables, const std::tm& now);

  // Throws kInvalidArgument: what the template cannot do with these values, or refuses itself.
  MarkedText run(const Block& block);

 private:
  enum class Flow { kOn, kBreak, kContinue };
  struct Scope {
    std::vector<std::pair<std::string_view, Value>> names;
    bool barrier = false;  // of a macro: beyond it only the outermost scope is seen
  };
  class Nested;

  Flow run_block(const Block&);
  Flow run_statement(const Statement&);
  Flow run_if(const Statement&);
  Flow run_for(const Statement&);
  void run_set(const Statement&);
  void run_output(const Statement&);
  List chosen_items(const Statement&);
  void bind(const Statement&, const Value& item);
  void define(std::string_view name, const Value& value);
  Value look_up(std::string_view name) const;
  void write(const MarkedText& text);

  Value evaluate(const Expression&);
  Value evaluate_binary(const Expression&);
  Value evaluate_items(const Expression&);
  Value evaluate_map(const Expression&);
  Value evaluate_slice(const Expression&);
  Value evaluate_call(const Expression&);
  Arguments evaluate_arguments(const Expression&);
  Value call_macro(const Statement&, const Arguments&);
  Value call_function(std::string_view name, const Arguments&);
  Value make_range(const Arguments&);

  Heap* heap_;
  Budget& budget_;
  std::tm now_;
  std::vector<Scope> scopes_;
  MarkedText* out_ = nullptr;
  int depth_ = 0;
};

}  // namespace lowkey::jinja
