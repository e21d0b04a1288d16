// A parsed template: statements and expressions, as plain trees. Both are bounded in depth, so walking them may
// recurse.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/marked_text.h"

namespace lowkey::jinja {

struct Expression {
  enum Kind {
    kText,     // text
    kInteger,  // integer
    kReal,     // real
    kTrue,
    kFalse,
    kNone,
    kName,       // name
    kList,       // parts
    kMap,        // parts: key, value, key, value, ...
    kAttribute,  // parts[0].name
    kItem,       // parts[0][parts[1]]
    kSlice,      // parts[0][parts[1]:parts[2]:parts[3]], each of the three may be null
    kCall,       // parts[0](parts[1..], keywords)
    kFilter,     // parts[0] | name(parts[1..], keywords)
    kTest,       // parts[0] is name(parts[1..])
    kNot,
    kNegate,
    kBinary,  // parts[0] name parts[1]: + - * / // % ** ~ and or in, and == != < <= > >=
    kChoice,  // parts[0] if parts[1] else parts[2], which may be null
  };
  Kind kind = kNone;
  int line = 0;
  int depth = 1;  // of the tree below
  std::string name;
  MarkedText text;
  int64_t integer = 0;
  double real = 0;
  std::vector<std::unique_ptr<Expression>> parts;
  std::vector<std::pair<std::string, std::unique_ptr<Expression>>> keywords;
};
using ExpressionPtr = std::unique_ptr<Expression>;

struct Statement;
using Block = std::vector<Statement>;

struct Statement {
  enum Kind {
    kText,      // text
    kOutput,    // value
    kIf,        // branches: condition and block; the last condition is null for else
    kFor,       // names in value if condition: block, otherwise
    kSet,       // names = value, or name.attribute = value
    kSetBlock,  // names = what the block writes, through `filters`
    kMacro,     // name(parameters): block
    kPlain,     // block
    kBreak,
    kContinue,
  };
  Kind kind = kPlain;
  int line = 0;
  MarkedText text;
  std::string name, attribute;
  std::vector<std::string> names;
  ExpressionPtr value, condition;
  std::vector<std::pair<ExpressionPtr, Block>> branches;
  std::vector<std::pair<std::string, ExpressionPtr>> parameters;  // and their defaults, or null
  Block block, otherwise;
};

}  // namespace lowkey::jinja
