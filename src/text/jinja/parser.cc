#include "text/jinja/parser.h"

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "base/printable.h"
#include "text/jinja/expression_parser.h"

namespace lowkey::jinja {
namespace {

using Words = std::initializer_list<std::string_view>;

class StatementParser : ExpressionParser {
 public:
  using ExpressionParser::ExpressionParser;

  Block parse_all() {
    Block block = parse_block({});
    if (peek().kind != Token::kEnd) refuse("no block is open that this could end");
    return block;
  }

 private:
  // Up to a block tag whose word is one of `ends`, which is left; or up to the end when there are none.
  Block parse_block(Words ends) {
    const Nested nested(this);
    Block block;
    while (true) {
      const Token& token = peek();
      if (token.kind == Token::kEnd) {
        if (ends.size() > 0) refuse(fmt::format("the text ends before {}", *(ends.end() - 1)));
        return block;
      }
      if (token.kind == Token::kText) {
        block.push_back(make(Statement::kText));
        block.back().text = MarkedText(next().text);
      } else if (token.kind == Token::kBeginOutput) {
        next();
        block.push_back(make(Statement::kOutput));
        block.back().value = parse_tuple();
        expect(Token::kEndOutput, "}}");
      } else {
        const Token& word = peek(1);
        if (std::find(ends.begin(), ends.end(), word.text) != ends.end()) return block;
        next();
        block.push_back(parse_statement());
      }
    }
  }

  // After "{%".
  Statement parse_statement() {
    const std::string word = expect_name();
    if (word == "if") return parse_if();
    if (word == "for") return parse_for();
    if (word == "set") return parse_set();
    if (word == "macro") return parse_macro();
    if (word == "break" || word == "continue") {
      Statement statement = make(word == "break" ? Statement::kBreak : Statement::kContinue);
      end_tag();
      return statement;
    }
    if (word == "generation") {  // marks what the model wrote, for training
      Statement statement = make(Statement::kPlain);
      end_tag();
      statement.block = parse_block({"endgeneration"});
      end_block();
      return statement;
    }
    for (std::string_view known : {"include", "import", "from", "extends", "block", "call", "filter", "with",
                                   "autoescape", "do", "trans", "debug"})
      if (word == known) unsupported(fmt::format("{{% {} %}}", word));
    refuse(fmt::format("unknown statement \"{}\"", printable(word)));
  }

  Statement parse_if() {
    Statement statement = make(Statement::kIf);
    while (true) {
      ExpressionPtr condition = parse_expression();
      end_tag();
      statement.branches.emplace_back(std::move(condition), parse_block({"elif", "else", "endif"}));
      next();
      const std::string word = expect_name();
      if (word == "elif") continue;
      end_tag();
      if (word == "endif") return statement;
      statement.branches.emplace_back(nullptr, parse_block({"endif"}));
      end_block();
      return statement;
    }
  }

  Statement parse_for() {
    Statement statement = make(Statement::kFor);
    statement.names = parse_names();
    if (expect_name() != "in") refuse("for without in");
    statement.value = parse_or();  // so that `if` stays for the loop
    if (accept_name("if")) statement.condition = parse_expression();
    if (peek().is(Token::kName, "recursive")) unsupported("a recursive loop");
    end_tag();
    statement.block = parse_block({"else", "endfor"});
    next();
    const bool otherwise = expect_name() == "else";
    end_tag();
    if (!otherwise) return statement;
    statement.otherwise = parse_block({"endfor"});
    end_block();
    return statement;
  }

  Statement parse_set() {
    Statement statement = make(Statement::kSet);
    statement.names = parse_names();
    if (statement.names.size() == 1 && accept(".")) statement.attribute = expect_name();
    if (accept("=")) {
      statement.value = parse_tuple();
      end_tag();
      return statement;
    }
    statement.kind = Statement::kSetBlock;
    if (peek().is(Token::kSign, "|")) unsupported("a filter on a set block");
    end_tag();
    statement.block = parse_block({"endset"});
    end_block();
    return statement;
  }

  Statement parse_macro() {
    Statement statement = make(Statement::kMacro);
    statement.name = expect_name();
    expect_sign("(");
    while (!accept(")")) {
      std::string name = expect_name();
      statement.parameters.emplace_back(std::move(name), accept("=") ? parse_expression() : nullptr);
      if (!peek().is(Token::kSign, ")")) expect_sign(",");
    }
    end_tag();
    statement.block = parse_block({"endmacro"});
    end_block();
    return statement;
  }

  std::vector<std::string> parse_names() {
    const bool bracket = accept("(");
    std::vector<std::string> names = {expect_name()};
    while (accept(",")) names.push_back(expect_name());
    if (bracket) expect_sign(")");
    return names;
  }

  void end_tag() { expect(Token::kEndBlock, "%}"); }
  void end_block() {  // "{% endfor %}", whose word was looked at
    next();
    next();
    if (peek().kind == Token::kName) next();  // {% endmacro name %}
    end_tag();
  }
  Statement make(Statement::Kind kind) {
    Statement statement;
    statement.kind = kind;
    statement.line = peek().line;
    return statement;
  }
};

}  // namespace

Block parse(std::string_view text, const std::string& source) {
  return StatementParser(cut_into_tokens(text, source), source).parse_all();
}

}  // namespace lowkey::jinja
