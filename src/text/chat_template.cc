#include "text/chat_template.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "text/jinja/parser.h"
#include "text/jinja/renderer.h"
#include "text/json_field.h"

namespace lowkey {
namespace {

constexpr size_t kLongest = size_t{1} << 20;  // bytes of a template

struct Builtin {
  std::string_view name, mark, text;  // mark: a special token that tells of it
};

// In the order in which they are looked for.
constexpr std::array<Builtin, 5> kBuiltins = {{
    {"llama3", "<|start_header_id|>",
     "{{ bos_token }}{% for message in messages %}{{ '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' "
     "+ "
     "message.content | trim + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}"
     "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"},
    {"chatml", "<|im_start|>",
     "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
     "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"},
    {"phi3", "<|assistant|>",
     "{{ bos_token }}{% for message in messages %}{{ '<|' + message.role + '|>\\n' + message.content + '<|end|>\\n' }}"
     "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"},
    {"mistral", "[INST]",
     "{{ bos_token }}{% set ns = namespace(system='') %}{% for message in messages %}{% if message.role == 'system' %}"
     "{% set ns.system = message.content + '\\n\\n' %}{% elif message.role == 'user' %}"
     "{{ '[INST] ' + ns.system + message.content + ' [/INST]' }}{% set ns.system = '' %}{% else %}"
     "{{ ' ' + message.content | trim + eos_token }}{% endif %}{% endfor %}"},
    {"llama2", "",
     "{% set ns = namespace(system='') %}{% for message in messages %}{% if message.role == 'system' %}"
     "{% set ns.system = '<<SYS>>\\n' + message.content + '\\n<</SYS>>\\n\\n' %}{% elif message.role == 'user' %}"
     "{{ bos_token + '[INST] ' + ns.system + message.content | trim + ' [/INST]' }}{% set ns.system = '' %}{% else %}"
     "{{ ' ' + message.content | trim + ' ' + eos_token }}{% endif %}{% endfor %}"},
}};

}  // namespace

struct ChatTemplate::Parsed {
  std::string source;
  size_t size;
  jinja::Block block;
};

ChatTemplate::ChatTemplate(std::string_view text, std::string source) {
  LK_REQUIRE(text.size() <= kLongest, kUnsupported, "[chat] {}: {} bytes, must be <= {}", source, text.size(),
             kLongest);
  jinja::Block block = jinja::parse(text, source);
  parsed_ = std::make_unique<const Parsed>(std::move(source), text.size(), std::move(block));
}
ChatTemplate::~ChatTemplate() = default;
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;

MarkedText ChatTemplate::render(const nlohmann::ordered_json& variables, const std::tm& now) const {
  LK_REQUIRE(variables.is_object(), kInvalidArgument, "[chat] variables are {}, must be an object",
             variables.type_name());
  const size_t size = variables.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace).size();
  jinja::Budget budget(parsed_->source, size + parsed_->size);
  jinja::Heap heap(&budget);
  return jinja::Renderer(&heap, heap.from_json(variables, /*trusted=*/true), now).run(parsed_->block);
}

std::vector<int32_t> encode_chat(const Tokenizer& tokenizer, const ChatTemplate& chat,
                                 const std::vector<ChatMessage>& messages, const std::tm& now) {
  const TokenizerSpec& spec = tokenizer.spec();
  const auto token = [&](int32_t id) { return id < 0 ? std::string() : spec.tokens[static_cast<size_t>(id)]; };
  nlohmann::ordered_json variables = {{"add_generation_prompt", true},
                                      {"bos_token", token(spec.bos)},
                                      {"eos_token", token(spec.eos)},
                                      {"messages", nlohmann::ordered_json::array()}};
  for (const ChatMessage& message : messages)
    variables["messages"].push_back({{"role", message.role}, {"content", message.content}});
  const MarkedText text = chat.render(variables, now);
  auto ids = tokenizer.encode(text.bytes(), {.add_bos = false, .parse_special = true, .strangers = text.strangers()});
  const bool begins = spec.add_bos && !spec.wordpiece && (ids.empty() || ids.front() != spec.bos);
  if (begins) ids.insert(ids.begin(), spec.bos);  // a template may leave that to the tokenizer
  return ids;
}

std::string_view builtin_chat_template(std::string_view name) noexcept {
  for (const Builtin& builtin : kBuiltins)
    if (builtin.name == name) return builtin.text;
  return {};
}

std::vector<std::string_view> builtin_chat_templates() {
  std::vector<std::string_view> names;
  for (const Builtin& builtin : kBuiltins) names.push_back(builtin.name);
  return names;
}

std::string_view detect_chat_template(const TokenizerSpec& spec) {
  for (const Builtin& builtin : kBuiltins)
    for (const auto* ids : {&spec.special, &spec.added})
      for (int32_t id : *ids)
        if (!builtin.mark.empty() && spec.tokens[static_cast<size_t>(id)] == builtin.mark) return builtin.name;
  return {};
}

std::string read_chat_template(std::string_view config_json, const std::string& source) {
  const nlohmann::json document = parse_json(config_json, "[tokenizer] " + source);
  const JsonField field = JsonField(document, source)["chat_template"];
  if (field.missing() || field.is_text()) return field.text("");
  for (size_t i = 0; i < field.size(); ++i)
    if (field[i]["name"].text() == "default") return field[i]["template"].text();
  return "";
}

void guard_marks(TokenizerSpec* spec) {
  for (int32_t id : spec->added) {
    const std::string& token = spec->tokens[static_cast<size_t>(id)];
    const bool looks = token.starts_with("<|") || token.starts_with("<\uFF5C");  // a wide bar: DeepSeek
    const bool written =
        token.find_first_not_of(" \n\t") != token.npos && spec->chat_template.find(token) != token.npos;
    if (looks || written) spec->guarded.push_back(id);
  }
}

}  // namespace lowkey
