// A conversation with a model, at the terminal or as one turn.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "text/chat_template.h"

namespace lowkey::cli {

struct ChatOptions {
  bool one_turn = false;      // --chat: the prompt is what the user says
  std::string chat_template;  // a built-in one's name, or a file; "": the model's own
  std::string system;
};

void add_chat(CLI::App&, ChatOptions&);
// The template asked for, the model's, or a built-in one that its special tokens tell of; nothing when there is none.
// Throws kInvalidArgument, kNotFound, kCorruptFile, kUnsupported.
std::optional<ChatTemplate> find_chat_template(const ChatOptions&, const TokenizerSpec&);
// The ids of a conversation that begins with this.
std::vector<int32_t> first_turn(const ChatOptions&, const Tokenizer&, const ChatTemplate&, const std::string& text);

// Reads turns from standard input, the first of them `text` if it is not empty, until it ends or /exit. `answer`
// generates, and prints as it goes. An answer may be interrupted; what is there of it stays in the conversation.
void chat(const ChatOptions&, const Tokenizer&, const ChatTemplate&, int64_t context, const std::string& text,
          const std::function<Result(std::vector<int32_t> prompt)>& answer);

}  // namespace lowkey::cli
