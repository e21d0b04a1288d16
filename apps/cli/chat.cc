#include "apps/cli/chat.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <ctime>
#include <filesystem>
#include <iostream>

#include "apps/cli/options.h"
#include "apps/cli/signals.h"
#include "base/error.h"

namespace lowkey::cli {
namespace {

std::tm local_time() {
  const std::time_t seconds = std::time(nullptr);
  std::tm now{};
  localtime_r(&seconds, &now);
  return now;
}

std::vector<ChatMessage> beginning(const ChatOptions& o) {
  if (o.system.empty()) return {};
  return {{"system", o.system}};
}

// A line, or several of which all but the last end in a backslash. False at the end of the input.
bool read_turn(std::string* turn) {
  turn->clear();
  fmt::print(stderr, "> ");
  wait_for_input(true);
  bool more = true;
  for (std::string line; more;) {
    if (!std::getline(std::cin, line)) break;
    more = line.ends_with('\\');
    if (more) line.back() = '\n';
    *turn += line;
  }
  wait_for_input(false);
  return !more || !turn->empty();
}

}  // namespace

void add_chat(CLI::App& verb, ChatOptions& o) {
  verb.add_flag("--chat", o.one_turn, "-p and -f are one turn of a conversation, not a text to go on from");
  verb.add_option("--chat-template", o.chat_template,
                  fmt::format("how a conversation is written: {}, or a file; without it as the model says",
                              fmt::join(builtin_chat_templates(), ", ")));
  verb.add_option("--system", o.system, "what the model is told before a conversation");
}

std::optional<ChatTemplate> find_chat_template(const ChatOptions& o, const TokenizerSpec& spec) {
  if (!o.chat_template.empty()) {
    if (const std::string_view known = builtin_chat_template(o.chat_template); !known.empty())
      return ChatTemplate(known, o.chat_template);
    LK_REQUIRE(std::filesystem::exists(o.chat_template), kInvalidArgument,
               "--chat-template {}: must be one of {}, or a file", o.chat_template,
               fmt::join(builtin_chat_templates(), ", "));
    return ChatTemplate(read_whole(o.chat_template), o.chat_template);
  }
  if (!spec.chat_template.empty()) return ChatTemplate(spec.chat_template, "the model's chat template");
  const std::string_view name = detect_chat_template(spec);
  if (name.empty()) return std::nullopt;
  return ChatTemplate(builtin_chat_template(name), std::string(name));
}

std::vector<int32_t> first_turn(const ChatOptions& o, const Tokenizer& tokenizer, const ChatTemplate& chat_template,
                                const std::string& text) {
  std::vector<ChatMessage> messages = beginning(o);
  messages.push_back({"user", text});
  return encode_chat(tokenizer, chat_template, messages, local_time());
}

void chat(const ChatOptions& o, const Tokenizer& tokenizer, const ChatTemplate& chat_template, int64_t context,
          const std::string& text, const std::function<Result(std::vector<int32_t> prompt)>& answer) {
  fmt::print(stderr, "/reset begins anew, /exit or Ctrl-D ends; Ctrl-C stops an answer; \\ at a line's end goes on.\n");
  std::vector<ChatMessage> messages = beginning(o);
  std::string turn = text;
  while (!turn.empty() || read_turn(&turn)) {
    const std::string said = std::exchange(turn, "");
    if (said == "/exit" || said == "/quit") break;
    if (said == "/reset") messages = beginning(o);
    if (said.empty() || said == "/reset") continue;
    messages.push_back({"user", said});
    std::vector<int32_t> prompt = encode_chat(tokenizer, chat_template, messages, local_time());
    if (std::ssize(prompt) >= context) {
      fmt::print(stderr, "The conversation has {} tokens, the context holds {}: /reset begins anew.\n", prompt.size(),
                 context);
      messages.pop_back();
      continue;
    }
    messages.push_back({"assistant", answer(std::move(prompt)).text});
    fmt::print("\n");
    std::fflush(stdout);
  }
}

}  // namespace lowkey::cli
