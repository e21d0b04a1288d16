#include "text/jinja/expression_parser.h"

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "base/printable.h"

namespace lowkey::jinja {
namespace {

constexpr int kMostNesting = 100, kMostDepth = 300;

}  // namespace

ExpressionParser::Nested::Nested(ExpressionParser* parser) : parser_(parser) {
  if (++parser_->nesting_ > kMostNesting) parser_->refuse(fmt::format("nested deeper than {}", kMostNesting));
}

void ExpressionParser::refuse(std::string_view what) const {
  throw Error(ErrorKind::kCorruptFile, fmt::format("[chat] {}: line {}: {}", source_, peek().line, what));
}
void ExpressionParser::unsupported(std::string_view what) const {
  throw Error(ErrorKind::kUnsupported,
              fmt::format("[chat] {}: line {}: {} is not supported", source_, peek().line, what));
}

bool ExpressionParser::accept(std::string_view sign) noexcept {
  if (!peek().is(Token::kSign, sign)) return false;
  next();
  return true;
}
bool ExpressionParser::accept_name(std::string_view name) noexcept {
  if (!sees_name(name)) return false;
  next();
  return true;
}
void ExpressionParser::expect(Token::Kind kind, std::string_view shown) {
  if (peek().kind != kind) refuse(fmt::format("\"{}\" where {} must be", printable(peek().text, 40), shown));
  next();
}
void ExpressionParser::expect_sign(std::string_view sign) {
  if (!accept(sign)) refuse(fmt::format("\"{}\" where {} must be", printable(peek().text, 40), sign));
}
std::string ExpressionParser::expect_name() {
  if (peek().kind != Token::kName) refuse(fmt::format("\"{}\" where a name must be", printable(peek().text, 40)));
  return next().text;
}

ExpressionPtr ExpressionParser::make(Expression::Kind kind, std::string name) const {
  auto made = std::make_unique<Expression>();
  made->kind = kind;
  made->name = std::move(name);
  made->line = peek().line;
  return made;
}

void ExpressionParser::add(Expression* to, ExpressionPtr part) const {
  if (part) to->depth = std::max(to->depth, part->depth + 1);
  if (to->depth > kMostDepth) refuse(fmt::format("an expression deeper than {}", kMostDepth));
  to->parts.push_back(std::move(part));
}

ExpressionPtr ExpressionParser::join(Expression::Kind kind, std::string name, ExpressionPtr left,
                                     ExpressionPtr right) const {
  ExpressionPtr joined = make(kind, std::move(name));
  add(joined.get(), std::move(left));
  if (right) add(joined.get(), std::move(right));
  return joined;
}

ExpressionPtr ExpressionParser::parse_tuple() {
  ExpressionPtr first = parse_expression();
  if (!peek().is(Token::kSign, ",")) return first;
  ExpressionPtr list = join(Expression::kList, "", std::move(first));
  while (accept(",")) add(list.get(), parse_expression());
  return list;
}

ExpressionPtr ExpressionParser::parse_expression() {
  const Nested nested(this);
  ExpressionPtr value = parse_or();
  while (accept_name("if")) {
    ExpressionPtr condition = parse_or();
    value = join(Expression::kChoice, "", std::move(value), std::move(condition));
    add(value.get(), accept_name("else") ? parse_expression() : nullptr);
  }
  return value;
}

ExpressionPtr ExpressionParser::parse_or() {
  ExpressionPtr left = parse_and();
  while (accept_name("or")) left = join(Expression::kBinary, "or", std::move(left), parse_and());
  return left;
}

ExpressionPtr ExpressionParser::parse_and() {
  ExpressionPtr left = parse_not();
  while (accept_name("and")) left = join(Expression::kBinary, "and", std::move(left), parse_not());
  return left;
}

ExpressionPtr ExpressionParser::parse_not() {
  const Nested nested(this);
  if (accept_name("not")) return join(Expression::kNot, "", parse_not());
  return parse_comparison();
}

ExpressionPtr ExpressionParser::parse_comparison() {
  ExpressionPtr left = parse_sum();
  while (true) {
    const Token& token = peek();
    const bool sign = token.kind == Token::kSign && (token.text == "==" || token.text == "!=" || token.text == "<" ||
                                                     token.text == "<=" || token.text == ">" || token.text == ">=");
    if (sign) {
      const std::string name = next().text;
      left = join(Expression::kBinary, name, std::move(left), parse_sum());
    } else if (accept_name("in")) {
      left = join(Expression::kBinary, "in", std::move(left), parse_sum());
    } else if (sees_name("not") && peek(1).is(Token::kName, "in")) {
      next(), next();
      left = join(Expression::kNot, "", join(Expression::kBinary, "in", std::move(left), parse_sum()));
    } else {
      return left;
    }
  }
}

ExpressionPtr ExpressionParser::parse_sum() {
  ExpressionPtr left = parse_concatenation();
  while (peek().is(Token::kSign, "+") || peek().is(Token::kSign, "-")) {
    const std::string name = next().text;
    left = join(Expression::kBinary, name, std::move(left), parse_concatenation());
  }
  return left;
}

ExpressionPtr ExpressionParser::parse_concatenation() {
  ExpressionPtr left = parse_product();
  while (accept("~")) left = join(Expression::kBinary, "~", std::move(left), parse_product());
  return left;
}

ExpressionPtr ExpressionParser::parse_product() {
  ExpressionPtr left = parse_power();
  while (peek().is(Token::kSign, "*") || peek().is(Token::kSign, "/") || peek().is(Token::kSign, "//") ||
         peek().is(Token::kSign, "%")) {
    const std::string name = next().text;
    left = join(Expression::kBinary, name, std::move(left), parse_power());
  }
  return left;
}

ExpressionPtr ExpressionParser::parse_power() {
  ExpressionPtr left = parse_unary(true);
  while (accept("**")) left = join(Expression::kBinary, "**", std::move(left), parse_unary(true));
  return left;
}

ExpressionPtr ExpressionParser::parse_unary(bool with_filters) {
  const Nested nested(this);
  ExpressionPtr value;
  if (accept("-")) {
    value = join(Expression::kNegate, "", parse_unary(false));
  } else if (accept("+")) {
    value = parse_unary(false);
  } else {
    value = parse_primary();
  }
  value = parse_postfix(std::move(value));
  return with_filters ? parse_filters(std::move(value)) : std::move(value);
}

ExpressionPtr ExpressionParser::parse_primary() {
  const Token& token = peek();
  if (token.kind == Token::kString) {
    ExpressionPtr text = make(Expression::kText);
    while (peek().kind == Token::kString) text->text.append(next().text);  // "a" "b" is one
    return text;
  }
  if (token.kind == Token::kInteger || token.kind == Token::kReal) {
    ExpressionPtr number = make(token.kind == Token::kInteger ? Expression::kInteger : Expression::kReal);
    number->integer = std::strtoll(token.text.c_str(), nullptr, 10);
    number->real = std::strtod(token.text.c_str(), nullptr);
    next();
    return number;
  }
  if (accept("[")) return parse_list("]");
  if (accept("{")) return parse_map();
  if (accept("(")) {
    if (accept(")")) return make(Expression::kList);
    ExpressionPtr value = parse_expression();
    if (!peek().is(Token::kSign, ",")) return expect_sign(")"), std::move(value);
    next();
    return parse_list(")", std::move(value));
  }
  const std::string name = expect_name();
  if (name == "true" || name == "True") return make(Expression::kTrue);
  if (name == "false" || name == "False") return make(Expression::kFalse);
  if (name == "none" || name == "None") return make(Expression::kNone);
  return make(Expression::kName, name);
}

ExpressionPtr ExpressionParser::parse_list(std::string_view close, ExpressionPtr first) {
  ExpressionPtr list = make(Expression::kList);
  if (first) add(list.get(), std::move(first));
  while (!accept(close)) {
    add(list.get(), parse_expression());
    if (!peek().is(Token::kSign, close)) expect_sign(",");
  }
  return list;
}

ExpressionPtr ExpressionParser::parse_map() {
  ExpressionPtr map = make(Expression::kMap);
  while (!accept("}")) {
    add(map.get(), parse_expression());
    expect_sign(":");
    add(map.get(), parse_expression());
    if (!peek().is(Token::kSign, "}")) expect_sign(",");
  }
  return map;
}

// After the "(".
void ExpressionParser::parse_arguments(Expression* to) {
  while (!accept(")")) {
    if (peek().is(Token::kSign, "*") || peek().is(Token::kSign, "**")) unsupported("an argument with a star");
    if (peek().kind == Token::kName && peek(1).is(Token::kSign, "=")) {
      std::string name = next().text;
      next();
      ExpressionPtr value = parse_expression();
      to->depth = std::max(to->depth, value->depth + 1);
      to->keywords.emplace_back(std::move(name), std::move(value));
    } else {
      add(to, parse_expression());
    }
    if (!peek().is(Token::kSign, ")")) expect_sign(",");
  }
}

ExpressionPtr ExpressionParser::parse_subscript(ExpressionPtr value) {
  ExpressionPtr bounds[3];
  int colons = 0;
  while (!accept("]")) {
    if (accept(":")) {
      if (++colons > 2) refuse("a slice of more than three parts");
    } else {
      if (bounds[colons]) refuse("a subscript of two values");
      bounds[colons] = parse_expression();
    }
  }
  if (colons == 0 && !bounds[0]) refuse("an empty subscript");
  if (colons == 0) return join(Expression::kItem, "", std::move(value), std::move(bounds[0]));
  ExpressionPtr slice = join(Expression::kSlice, "", std::move(value));
  for (ExpressionPtr& bound : bounds) add(slice.get(), std::move(bound));
  return slice;
}

ExpressionPtr ExpressionParser::parse_postfix(ExpressionPtr value) {
  while (true) {
    if (accept(".")) {
      if (peek().kind == Token::kInteger) {  // a.0 is a[0]
        value = join(Expression::kItem, "", std::move(value), parse_primary());
      } else {
        value = join(Expression::kAttribute, expect_name(), std::move(value));
      }
    } else if (accept("[")) {
      value = parse_subscript(std::move(value));
    } else if (accept("(")) {
      value = join(Expression::kCall, "", std::move(value));
      parse_arguments(value.get());
    } else {
      return value;
    }
  }
}

// Filters, tests and calls may follow one another.
ExpressionPtr ExpressionParser::parse_filters(ExpressionPtr value) {
  while (true) {
    if (accept("|")) {
      value = join(Expression::kFilter, expect_name(), std::move(value));
      if (accept("(")) parse_arguments(value.get());
    } else if (accept_name("is")) {
      value = parse_test(std::move(value));
    } else if (accept("(")) {
      value = join(Expression::kCall, "", std::move(value));
      parse_arguments(value.get());
    } else {
      return value;
    }
  }
}

ExpressionPtr ExpressionParser::parse_test(ExpressionPtr value) {
  const bool negated = accept_name("not");
  ExpressionPtr test = join(Expression::kTest, "", std::move(value));
  if (peek().is(Token::kSign, "==")) {
    test->name = next().text;
  } else {
    test->name = expect_name();
  }
  const Token& token = peek();
  const bool operand =
      token.kind == Token::kString || token.kind == Token::kInteger || token.kind == Token::kReal ||
      token.is(Token::kSign, "[") || token.is(Token::kSign, "{") ||
      (token.kind == Token::kName && token.text != "else" && token.text != "or" && token.text != "and" &&
       token.text != "if" && token.text != "is" && token.text != "in" && token.text != "not");
  if (accept("(")) {
    parse_arguments(test.get());
  } else if (operand) {
    add(test.get(), parse_postfix(parse_primary()));
  }
  return negated ? join(Expression::kNot, "", std::move(test)) : std::move(test);
}

}  // namespace lowkey::jinja
