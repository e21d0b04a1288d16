// ExpressionParser: the expressions of a template, by Jinja's precedence.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "text/jinja/lexer.h"
#include "text/jinja/syntax.h"

namespace lowkey::jinja {

class ExpressionParser {
 public:
  ExpressionParser(std::vector<Token> tokens, const std::string& source)
      : tokens_(std::move(tokens)), source_(source) {}

 protected:
  // Counts how deep parsing is within itself.
  class Nested {
   public:
    explicit Nested(ExpressionParser* parser);
    ~Nested() { --parser_->nesting_; }
    Nested(const Nested&) = delete;

   private:
    ExpressionParser* parser_;
  };

  ExpressionPtr parse_tuple();  // a, b, c: a list; or one expression
  ExpressionPtr parse_expression();
  ExpressionPtr parse_or();

  const Token& peek(size_t ahead = 0) const noexcept { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }
  const Token& next() noexcept { return at_ + 1 < tokens_.size() ? tokens_[at_++] : tokens_[at_]; }
  bool accept(std::string_view sign) noexcept;
  bool accept_name(std::string_view name) noexcept;
  void expect(Token::Kind kind, std::string_view shown);
  void expect_sign(std::string_view sign);
  std::string expect_name();
  [[noreturn]] void refuse(std::string_view what) const;
  [[noreturn]] void unsupported(std::string_view what) const;

 private:
  ExpressionPtr make(Expression::Kind kind, std::string name = "") const;
  ExpressionPtr join(Expression::Kind kind, std::string name, ExpressionPtr left, ExpressionPtr right = nullptr) const;
  void add(Expression* to, ExpressionPtr part) const;
  bool sees_name(std::string_view name) const noexcept { return peek().is(Token::kName, name); }

  ExpressionPtr parse_and();
  ExpressionPtr parse_not();
  ExpressionPtr parse_comparison();
  ExpressionPtr parse_sum();
  ExpressionPtr parse_concatenation();
  ExpressionPtr parse_product();
  ExpressionPtr parse_power();
  ExpressionPtr parse_unary(bool with_filters);
  ExpressionPtr parse_primary();
  ExpressionPtr parse_postfix(ExpressionPtr value);
  ExpressionPtr parse_filters(ExpressionPtr value);
  ExpressionPtr parse_subscript(ExpressionPtr value);
  ExpressionPtr parse_test(ExpressionPtr value);
  ExpressionPtr parse_list(std::string_view close, ExpressionPtr first = nullptr);
  ExpressionPtr parse_map();
  void parse_arguments(Expression* to);

  std::vector<Token> tokens_;
  const std::string& source_;
  size_t at_ = 0;
  int nesting_ = 0;
};

}  // namespace lowkey::jinja
