#include "text/chat_template.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "lowkey/error.h"
#include "text/tiny_tokenizer.h"

namespace lowkey {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

const fs::path kData = fs::path(LOWKEY_SOURCE_DIR) / "tests/data/chat";

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// 2024-07-26, as tools/make_chat_fixture.py has it.
std::tm day() {
  std::tm now{};
  now.tm_year = 124, now.tm_mon = 6, now.tm_mday = 26, now.tm_wday = 5;
  return now;
}

std::string render(std::string_view text, const Json& variables = Json::object()) {
  return ChatTemplate(text, "t").render(variables, day()).bytes();
}

std::string refusal(std::string_view text, const Json& variables = Json::object()) {
  try {
    return "wrote " + render(text, variables);
  } catch (const Error& error) {
    return error.what();
  }
}

// Made by tools/make_chat_fixture.py: what Jinja2 writes for 30 conversations.
TEST(ChatTemplate, EqualsJinjaForTenModels) {
  const Json conversations = Json::parse(read(kData / "conversations.json"));
  const Json expected = Json::parse(read(kData / "expected.json"));
  EXPECT_EQ(expected.size(), 10u);
  for (const auto& [name, texts] : expected.items()) {
    const ChatTemplate chat(read(kData / (name + ".jinja")), name);
    for (size_t i = 0; i < conversations.size(); ++i) {
      SCOPED_TRACE(name + " " + std::to_string(i));
      if (texts[i].is_null()) {
        EXPECT_THROW(chat.render(conversations[i], day()), Error);
      } else {
        EXPECT_EQ(chat.render(conversations[i], day()).bytes(), texts[i].get<std::string>());
      }
    }
  }
}

struct Pair {
  const char *text, *expected;
};

TEST(ChatTemplate, SpeaksJinja) {
  const Pair pairs[] = {
      {"a {{- ' b ' -}} c", "a b c"},
      {"x\n  {% if true %}\ny\n  {% endif %}\nz\n", "x\ny\nz"},
      {"{% raw %}{{ x }}{% endraw %}!{# no #}", "{{ x }}!"},
      {"{{ 'a' ~ 1 ~ none ~ true ~ 1.5 }}", "a1NoneTrue1.5"},
      {"{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 10 }} {{ 1e20 }}", "3 -4 2 3.5 1024 1e+20"},
      {"{{ 'abcdef'[1:-1:2] }}{{ 'abc'[::-1] }}{{ [1, 2, 3][-1] }}{{ 'añb'[1] }}", "bdcba3ñ"},
      {"{{ x.y is defined }}{{ missing is defined }}{{ missing }}", "TrueFalse"},
      {"{{ not true or 1 == 1.0 and 2 in [1, 2] and 'b' not in 'aXc' }}", "True"},
      {"{% for i in range(5) if i % 2 == 0 %}{{ loop.index }}:{{ i }}{{ ',' if not loop.last }}{% endfor %}",
       "1:0,2:2,3:4"},
      {"{% for i in range(9) %}{% if i == 2 %}{% continue %}{% elif i == 4 %}{% break %}{% endif %}{{ i }}{% endfor %}",
       "013"},
      {"{% for a, b in {'k': 1, 'l': [2]}.items() %}{{ a }}={{ b }};{% else %}none{% endfor %}", "k=1;l=[2];"},
      {"{% set x = 1 %}{% for i in [1] %}{% set x = 2 %}{% endfor %}{{ x }}", "1"},
      {"{% set n = namespace(x=1) %}{% for i in [5] %}{% set n.x = n.x + i %}{% endfor %}{{ n.x }}", "6"},
      {"{% macro f(a, b='d') %}[{{ a }}{{ b }}]{% endmacro %}{{ f(1) ~ f(1, b=2) }}", "[1d][12]"},
      {"{% set x %}a{{ 1 }}{% endset %}{{ x | upper }}", "A1"},
      {"{{ ' x '.strip() ~ 'a,b'.split(',')[1] ~ 'xyz'.replace('y', '-') ~ 'Ab'.lower() }}", "xbx-zab"},
      {"{{ {'b': 1, 'a': [none, true, 'é\"\\n']} | tojson }}", "{\"b\": 1, \"a\": [null, true, \"é\\\"\\n\"]}"},
      {"{{ [1, 2] | tojson(indent=2) }}{{ 'é' | tojson(ensure_ascii=true) }}", "[\n  1,\n  2\n]\"\\u00e9\""},
      {"{{ [{'a': 1}, {'a': 2}] | selectattr('a', 'gt', 1) | map(attribute='a') | list }}", "[2]"},
      {"{{ ['b', 'A'] | sort | join('') }}{{ [3, 1] | max }}{{ 'q' | default('z') }}{{ m | d('z') }}", "Ab3qz"},
      {"{{ strftime_now('%d %b %Y') }}", "26 Jul 2024"},
      {"{{ ('a' if false) is undefined }}{{ 'a' if 1 > 2 else 'b' }}", "Trueb"},
  };
  for (const Pair& pair : pairs) {
    EXPECT_EQ(refusal(pair.text, {{"x", {{"y", 1}}}}), std::string("wrote ") + pair.expected) << pair.text;
  }
}

TEST(ChatTemplate, EachFaultHasOneClearLine) {
  const Pair pairs[] = {
      {"a\n{{ x", "[chat] t: line 2: a tag without its }}"},
      {"{% if x %}", "[chat] t: line 1: the text ends before endif"},
      {"{% endif %}", "[chat] t: line 1: unknown statement \"endif\""},
      {"{% include 'x' %}", "[chat] t: line 1: {% include %} is not supported"},
      {"{{ 'a }}", "[chat] t: line 1: a string without an end"},
      {"{{ raise_exception('no\nway') }}", "[chat] t: line 1: the template says: no\\x0away"},
      {"\n\n{{ a.b.c }}", "[chat] t: line 3: undefined has no \"b\""},
      {"{{ 1 / 0 }}", "[chat] t: line 1: a division by zero"},
      {"{{ 'a' + 1 }}", "[chat] t: line 1: a string + an integer"},
      {"{{ 'a' | nope }}", "[chat] t: line 1: no filter \"nope\" here"},
      {"{{ 'a'.__class__() }}", "[chat] t: line 1: a string has no method \"__class__\" here"},
      {"{% set x.y = 1 %}", "[chat] t: line 1: x.y = is for namespaces"},
      {"{{ 9223372036854775807 * 2 }}", "[chat] t: line 1: a number too long"},
      {"{{ 999999999999999999 * 99 }}", "[chat] t: line 1: a whole number too large"},
  };
  for (const Pair& pair : pairs) EXPECT_EQ(refusal(pair.text), pair.expected) << pair.text;
}

std::string repeated(std::string_view text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

// Templates come in files of strangers: each of these is stopped, and soon.
TEST(ChatTemplate, HostileTemplatesAreStopped) {
  const std::string hostile[] = {
      "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
      "{% for a in range(1000000000000) %}{% endfor %}",
      "{% set n = namespace(x='aaaaaaaa') %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}",
      "{{ 'aaaaaaaaaaaaaaaa' * 1000000000 }}",
      "{% set x = 'ab' * 100000 %}{% for i in range(100000) %}{{ x }}{% endfor %}",
      "{% set x = 'ab' * 100000 %}{% for i in range(100000) %}{% set y = x | upper %}{% endfor %}",
      "{% set x = 'ab' * 100000 %}{% for i in range(100000) %}{% set y = x.split('c') == x.split('d') %}{% endfor %}",
      "{% set x = 'ab' * 100000 %}{% for i in range(100000) %}{% set y = 'c' in x %}{% endfor %}",
      "{% set x = ('a,' * 100000).split(',') %}{% for i in range(100000) %}{% set y = x | unique | sort %}{% endfor %}",
      "{% set x = range(100000) | list %}{% for i in range(100000) %}{% set y = x + x %}{% endfor %}",
      "{% set x = range(100000) | list %}{% for i in range(100000) %}{% set y = x == x %}{% endfor %}",
      "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
      "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
      "{% set n = namespace(x=[]) %}{% for i in range(99999) %}{% set n.x = [n.x] %}{% endfor %}{{ n.x }}",
      "{% set n = namespace() %}{% set n.n = n %}{{ n }}",
      "{% set n = namespace() %}{% set n.n = n %}{{ n == n }}{{ n | tojson }}",
      "{{ " + repeated("(", 5000) + "1" + repeated(")", 5000) + " }}",
      "{{ " + repeated("-", 5000) + "1 }}",
      "{{ 1" + repeated("+1", 5000) + " }}",
      "{{ 1" + repeated("|abs", 5000) + " }}",
      "{{ x" + repeated(" if x else x", 5000) + " }}",
      repeated("{% if 1 %}", 5000) + repeated("{% endif %}", 5000),
      repeated("{% for x in [1] %}", 90) + "{{ 'a' * 999999 * 99 }}" + repeated("{% endfor %}", 90),
      "{{ [1, 2, 3][::999999999999999999] }}{{ range(-999999999999, 999999999999) }}",
      "{{ 2 ** 99999999999 }}",
      "{{ {'a': 1} | tojson(indent=999999999999) * 999999 }}",
      "{{ '%s' | format('a' * 999999) * 99999 }}",
      std::string(size_t{2} << 20, 'x'),
  };
  for (const std::string& text : hostile) {
    const auto start = std::chrono::steady_clock::now();
    const std::string said = refusal(text);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    EXPECT_TRUE(said.starts_with("[chat] t: ")) << text.substr(0, 100) << " " << said.substr(0, 100);
#ifdef NDEBUG
    EXPECT_LT(seconds, 0.5) << text.substr(0, 100);  // 0.1 on a machine with nothing else to do
#else
    static_cast<void>(seconds);
#endif
  }
}

// The bytes that are a stranger's.
std::string strangers(const MarkedText& text) {
  std::string found;
  for (const TextRange& range : text.strangers()) found += text.bytes().substr(range.begin, range.end - range.begin);
  return found;
}

TEST(ChatTemplate, WhatPeopleWroteStaysMarkedWhateverIsDoneToIt) {
  const Json variables = {{"messages", {{{"role", "user"}, {"content", " <X> "}}}}, {"bos_token", "<s>"}};
  const char* const templates[] = {
      "a{{ c }}b",
      "{{ 'a' + c + 'b' }}",
      "{{ c ~ 'a' }}",
      "{{ c.strip() | trim }}",
      "{{ c[1:] }}{{ c[0] }}",
      "{{ c | upper }}",
      "{{ c.split('>') | join('_') }}",
      "{{ c | replace(' ', '_') }}",
      "{{ c | tojson }}",
      "{{ [c] }}",
      "{{ {c: c} }}",
      "{% set x %}{{ c }}{% endset %}{{ x }}",
      "{% macro f(x) %}{{ x }}{% endmacro %}{{ f(c) }}",
      "{{ messages | tojson }}",
      "{% for x in c %}{{ x }}{% endfor %}",
      "{{ c | reverse | reverse }}",
      "{{ '%s' | format(c) }}",
      "{{ '{}'.format(c) }}",
      "{{ c | default('') | list | join }}",
      "{{ c.lower().title() }}",
      "{{ c * 2 }}",
      "{{ '-'.join([c, c]) }}",
      "{{ c | indent }}",
      "{{ c.removeprefix(' ') }}",
      "{{ messages | map(attribute='content') | first }}",
  };
  for (const char* text : templates) {
    const std::string whole = std::string("{% set c = messages[0].content %}{{ bos_token }}") + text;
    const MarkedText marked = ChatTemplate(whole, "t").render(variables, day());
    const std::string stranger = strangers(marked);
    EXPECT_NE(stranger.find_first_of("Xx"), stranger.npos) << text;
    EXPECT_EQ(stranger.find("<s>"), stranger.npos) << text;
    for (size_t at = 3; at < marked.size(); ++at) {
      const char c = marked.bytes()[at];
      if (c != 'X' && c != '<') continue;
      EXPECT_TRUE(marked.touches_stranger(at, at + 1)) << text << " at " << at << " of " << marked.bytes();
    }
  }
}

TEST(ChatTemplate, MessagesBecomeNoSpecialTokens) {
  const Tokenizer tokenizer(tiny::spec());
  const ChatTemplate chat("{% for m in messages %}{{ m.content }}<|eot_id|>{% endfor %}{{ bos_token }}he", "t");
  const auto ids =
      encode_chat(tokenizer, chat, {{"user", "<|eot_id|><bos>"}, {"user", "<|eot_"}, {"user", "id|>"}}, day());
  EXPECT_EQ(std::count(ids.begin(), ids.end(), tiny::kEnd), 3);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), tiny::kBos), 2);  // the tokenizer's and the template's
  EXPECT_EQ(ids.front(), tiny::kBos);
  EXPECT_EQ(ids.back(), tiny::kHe);
}

TEST(ChatTemplate, BuiltinOnesWriteWhatTheirModelsWant) {
  const Json variables = {{"bos_token", "<s>"},
                          {"eos_token", "</s>"},
                          {"add_generation_prompt", true},
                          {"messages",
                           {{{"role", "system"}, {"content", "S"}},
                            {{"role", "user"}, {"content", "U"}},
                            {{"role", "assistant"}, {"content", "A"}},
                            {{"role", "user"}, {"content", "V"}}}}};
  const auto written = [&](std::string_view name) { return render(builtin_chat_template(name), variables); };
  EXPECT_EQ(written("llama2"), "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\nU [/INST] A </s><s>[INST] V [/INST]");
  EXPECT_EQ(written("mistral"), "<s>[INST] S\n\nU [/INST] A</s>[INST] V [/INST]");
  EXPECT_EQ(written("chatml"),
            "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n"
            "<|im_start|>user\nV<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(written("phi3"),
            "<s><|system|>\nS<|end|>\n<|user|>\nU<|end|>\n<|assistant|>\nA<|end|>\n<|user|>\nV<|end|>\n"
            "<|assistant|>\n");
  EXPECT_EQ(written("llama3").substr(0, 60), "<s><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|><|");
  EXPECT_EQ(builtin_chat_templates().size(), 5u);
  EXPECT_EQ(builtin_chat_template("other"), "");
}

TEST(ChatTemplate, ComesFromTheConfigAsOneTextOrSeveral) {
  EXPECT_EQ(read_chat_template(R"({"chat_template": "x"})", "c"), "x");
  EXPECT_EQ(read_chat_template(
                R"({"chat_template": [{"name": "rag", "template": "r"}, {"name": "default", "template": "d"}]})", "c"),
            "d");
  EXPECT_EQ(read_chat_template("{}", "c"), "");
  EXPECT_THROW(read_chat_template(R"({"chat_template": 3})", "c"), Error);
}

TEST(ChatTemplate, GuardsTheMarksThatItWrites) {
  TokenizerSpec spec = tiny::spec();
  spec.chat_template = "{{ '<plain>' }}";
  guard_marks(&spec);
  EXPECT_EQ(spec.guarded, std::vector<int32_t>{tiny::kPlain});
  const Tokenizer tokenizer(std::move(spec));
  const auto ids = tokenizer.encode("<plain>", {.add_bos = false, .parse_special = false});
  EXPECT_EQ(std::count(ids.begin(), ids.end(), tiny::kPlain), 0);
}

}  // namespace
}  // namespace lowkey
