// A chat template, run on a conversation. Whatever it is, it ends soon, and what a stranger said stays marked.
#include <cstdint>
#include <nlohmann/json.hpp>

#include "fuzz/touch.h"
#include "text/chat_template.h"

using namespace lowkey;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto kVariables = nlohmann::ordered_json::parse(
      R"({"messages": [{"role": "user", "content": "\u0001\u0001"}], "bos_token": "<s>", "add_generation_prompt": true})");
  try {
    const ChatTemplate chat(std::string_view(reinterpret_cast<const char*>(data), size), "fuzz");
    const MarkedText text = chat.render(kVariables, std::tm{});
    size_t end = 0;
    for (const TextRange& range : text.strangers()) {
      if (range.begin < end || range.end <= range.begin || range.end > text.size()) std::abort();
      end = range.end;
    }
  } catch (const Error& error) {
    require_one_line(error);
  }
  return 0;
}
