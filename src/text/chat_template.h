// ChatTemplate: how a model wants a conversation written. Templates come with models, in the language Jinja, from
// whoever made the file: they run in a sandbox (text/jinja) that reaches nothing, and stop after a bounded number of
// steps and bytes. What they write knows which of its bytes are the template's and which came from the conversation.
#pragma once

#include <ctime>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "text/marked_text.h"
#include "text/tokenizer.h"

namespace lowkey {

class ChatTemplate {
 public:
  // `source` names it in errors. Throws kCorruptFile, kUnsupported.
  explicit ChatTemplate(std::string_view text, std::string source = "chat template");
  ~ChatTemplate();
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;

  // `variables` is an object: messages, tools, add_generation_prompt, bos_token, ... Texts directly in it count as the
  // template's, as does a role that is a plain word; all others are a stranger's. `now` is for templates that write the
  // date. Throws kInvalidArgument: what the template refuses, cannot do, or does for too long.
  MarkedText render(const nlohmann::ordered_json& variables, const std::tm& now) const;

 private:
  struct Parsed;
  std::unique_ptr<const Parsed> parsed_;
};

struct ChatMessage {
  std::string role, content;
};

// Ids of a conversation, with what begins the model's answer: no part of a message becomes a special token.
// Throws kInvalidArgument.
std::vector<int32_t> encode_chat(const Tokenizer&, const ChatTemplate&, const std::vector<ChatMessage>&,
                                 const std::tm& now);

// Templates for models that bring none: llama2, llama3, chatml, mistral, phi3. Empty for another name.
std::string_view builtin_chat_template(std::string_view name) noexcept;
std::vector<std::string_view> builtin_chat_templates();
// Which of them the special tokens of a vocabulary speak for; "" when none does.
std::string_view detect_chat_template(const TokenizerSpec&);

// chat_template of tokenizer_config.json: a text, or one of several of which "default" is taken. "" when there is none.
std::string read_chat_template(std::string_view config_json, const std::string& source);
// Guards the added tokens that the template writes, or that look like its marks: no stranger's text becomes them.
void guard_marks(TokenizerSpec* spec);

}  // namespace lowkey
