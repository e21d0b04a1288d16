// lowkey run: generates text; with an encoder, prints embeddings or classes (embed.h).
#include <fmt/format.h>

#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "apps/cli/adapted_attention.h"
#include "apps/cli/chat.h"
#include "apps/cli/embed.h"
#include "apps/cli/methods.h"
#include "apps/cli/options.h"
#include "apps/cli/progress.h"
#include "apps/cli/signals.h"
#include "apps/cli/verbs.h"
#include "base/error.h"
#include "base/isa.h"
#include "engine/engine.h"
#include "model/encoder.h"
#include "model/tokenizer_loader.h"

namespace lowkey::cli {
namespace {

struct RunOptions {
  CommonOptions common;
  PromptOptions prompt;
  Request request;
  EngineOptions engine;
  ChatOptions chat;
  bool interactive = false;
  bool no_special = false;
  std::string pool;  // for encoders
};

void add_sampling(CLI::App& verb, Request& r) {
  verb.add_option("-n,--tokens", r.max_tokens, "most tokens to generate")->capture_default_str();
  verb.add_option("--temperature", r.sampler.temperature, "0: always the most probable token")->capture_default_str();
  verb.add_option("--top-k", r.sampler.top_k, "draw among the k most probable; 0: all")->capture_default_str();
  verb.add_option("--top-p", r.sampler.top_p, "draw among the fewest whose probability reaches p")
      ->capture_default_str();
  verb.add_option("--min-p", r.sampler.min_p, "draw among those at least p times as probable as the best")
      ->capture_default_str();
  verb.add_option("--repetition-penalty", r.sampler.repetition_penalty, "above 1: avoid recent tokens")
      ->capture_default_str();
  verb.add_option("--repetition-window", r.sampler.repetition_window, "how many tokens are recent")
      ->capture_default_str();
  verb.add_option("--seed", r.sampler.seed, "of the random draws")->capture_default_str();
  verb.add_option("--stop", r.stop, "end before this text; may be given several times");
  verb.add_flag("--ignore-end", r.ignore_end, "go on past the end-of-text token");
}

nlohmann::json report(const RunOptions& o, const OpenedMethod& opened, const Context& context, const Engine& engine,
                      const Result& r) {
  const double steps = static_cast<double>(std::max<int64_t>(r.decode_steps, 1));
  const int64_t read = r.prompt_tokens - r.reused_tokens;
  const KvShape& kv = engine.cache().shape();
  const int64_t held =  // rows in the pages that the text has in the end
      (kv.max_tokens + kv.page_tokens - 1) / kv.page_tokens * kv.page_tokens - engine.cache().free_tokens();
  return {{"model", o.common.model},
          {"attention", opened.spec},
          {"calibration", opened.calibration},
          {"calibration_context", opened.calibration_context},
          {"kv_type", o.common.kv_type},
          {"isa", name(active_isa())},
          {"threads", context.threads.count()},
          {"prompt_tokens", r.prompt_tokens},
          {"tokens", r.tokens},
          {"text", r.text},
          {"finish_reason", name(r.finish_reason)},
          {"prompt_seconds", r.prompt_seconds},
          {"prompt_tokens_per_second", r.prompt_seconds > 0 ? static_cast<double>(read) / r.prompt_seconds : 0.0},
          {"decode_steps", r.decode_steps},
          {"decode_seconds", r.decode_seconds},
          {"milliseconds_per_token", r.decode_seconds * 1e3 / steps},
          {"attention_bytes_per_token", static_cast<double>(r.attention_bytes) / steps},
          {"kv_bytes_per_token", engine.cache().bytes_per_token()},
          {"kv_bytes", held * engine.cache().bytes_per_token()},
          {"index_bytes_per_token", engine.cache().plane_bytes_per_token()},
          {"peak_resident_bytes", peak_resident_bytes()}};
}

void print_text(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

// Generates once, streaming to stdout unless --json.
Result answer(const RunOptions& o, Engine& engine, const Request& request) {
  Progress progress("reading", "tokens");
  const Events events{.on_prompt = [&](int64_t done, int64_t total) { progress.update(done, total); },
                      .on_token =
                          [&](int32_t, const std::string& text) {
                            progress.clear();
                            if (!o.common.json) print_text(text);
                          },
                      .cancelled = interrupted};
  return engine.generate(request, events);
}

void print_summary(const Result& r) {
  const int64_t read = r.prompt_tokens - r.reused_tokens;
  fmt::print(stderr, "\n[{} prompt tokens at {:.0f}/s, {} generated at {:.1f} ms each, ended by {}]\n", r.prompt_tokens,
             r.prompt_seconds > 0 ? static_cast<double>(read) / r.prompt_seconds : 0.0, r.tokens.size(),
             r.decode_seconds * 1e3 / static_cast<double>(std::max<int64_t>(r.decode_steps, 1)), name(r.finish_reason));
}

// Each line typed goes on the text so far, and the model goes on from there.
void converse(const RunOptions& o, const Tokenizer& tokenizer, Engine& engine, std::string text) {
  fmt::print(stderr, "Type a line; the model goes on from it. Ctrl-D ends.\n");
  for (std::string line; !interrupted();) {
    fmt::print(stderr, "> ");
    if (!std::getline(std::cin, line)) break;
    text += line;
    Request request = o.request;
    request.prompt = tokenizer.encode(text, {.add_bos = true, .parse_special = false});
    const Result result = answer(o, engine, request);
    text += result.text + "\n";
    print_text("\n");
  }
}

OpenedMethod open(const RunOptions& o, const Context& context, const Model& model, std::span<const int32_t> prompt) {
  const int64_t limit = o.engine.context > 0 ? o.engine.context : model.shape().context;
  return open_method(context, model, o.engine.kv_type,
                     {.spec = o.common.attention,
                      .calibration = o.common.calibration,
                      .model = o.common.model,
                      .prompt = prompt,
                      .tokens = std::min(limit, static_cast<int64_t>(prompt.size()) + o.request.max_tokens)});
}

void run_encoder(const RunOptions& o, const CLI::App& verb) {
  refuse_generation(verb);
  EmbedOptions options{.common = o.common,
                       .prompt = o.prompt,
                       .pool = o.pool,
                       .context = o.engine.context,
                       .parse_special = !o.no_special};
  if (verb.get_option("--kv-type")->count() == 0) options.common.kv_type.clear();
  embed(options);
}

// At the terminal: a conversation with a model that has a template for one, else a text that both go on with.
void interact(RunOptions& o, const CLI::App& verb, const Context& context, const Model& model,
              const Tokenizer& tokenizer) {
  const bool given = !o.prompt.text.empty() || !o.prompt.file.empty();
  const std::string text = given ? prompt_text(o.prompt) : "";
  const auto chat_template = find_chat_template(o.chat, tokenizer.spec());
  const auto prompt = chat_template && given ? first_turn(o.chat, tokenizer, *chat_template, text)
                                             : tokenizer.encode(text, {.add_bos = true, .parse_special = false});
  const OpenedMethod opened = open(o, context, model, prompt);
  Engine engine(context, model, tokenizer, *opened.method, o.engine);
  if (!chat_template) return converse(o, tokenizer, engine, text);
  if (verb.get_option("--tokens")->count() == 0) o.request.max_tokens = engine.context();
  chat(o.chat, tokenizer, *chat_template, engine.context(), text, [&](std::vector<int32_t> ids) {
    o.request.prompt = std::move(ids);
    return answer(o, engine, o.request);
  });
}

std::vector<int32_t> prompt_ids(const RunOptions& o, const Tokenizer& tokenizer) {
  const std::string text = prompt_text(o.prompt);
  if (!o.chat.one_turn) return tokenizer.encode(text, {.add_bos = true, .parse_special = !o.no_special});
  const auto chat_template = find_chat_template(o.chat, tokenizer.spec());
  LK_REQUIRE(chat_template.has_value(), kInvalidArgument,
             "--chat: {} says no chat template, must come with one or be given --chat-template", o.common.model);
  return first_turn(o.chat, tokenizer, *chat_template, text);
}

void run(RunOptions& o, const CLI::App& verb) {
  if (verb.get_option("--attention")->count() == 0) o.common.attention = adapted_attention(o.common.model);
  if (is_encoder(o.common.model)) return run_encoder(o, verb);
  LK_REQUIRE(o.pool.empty(), kInvalidArgument, "--pool {}: the model generates text, only encoders embed it", o.pool);
  const auto context = make_context(o.common);
  o.engine.kv_type = parse_kv_type(o.common.kv_type);
  parse_attention_spec(o.common.attention);  // a slip is told before a model is opened
  const auto model = open_model(o.common);
  const Tokenizer tokenizer = load_tokenizer(o.common.model);
  if (o.interactive) return interact(o, verb, *context, *model, tokenizer);
  o.request.prompt = prompt_ids(o, tokenizer);
  if (o.engine.context == 0)  // no more than this run can need, so that memory is not reserved for nothing
    o.engine.context = std::min<int64_t>(model->shape().context, static_cast<int64_t>(o.request.prompt.size()) +
                                                                     std::max<int64_t>(o.request.max_tokens, 1));
  const OpenedMethod opened = open(o, *context, *model, o.request.prompt);
  Engine engine(*context, *model, tokenizer, *opened.method, o.engine);
  const Result result = answer(o, engine, o.request);
  if (o.common.json)
    print_text(
        report(o, opened, *context, engine, result).dump(2, ' ', false, nlohmann::json::error_handler_t::replace) +
        "\n");
  else
    print_summary(result);
}

}  // namespace

void add_run(CLI::App& app) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* verb = app.add_subcommand(
      "run", "generate text from a prompt; with an encoder, embeddings or classes of texts (-f: one a line)");
  add_model(*verb, options->common);
  add_prompt(*verb, options->prompt);
  verb->add_flag("-i,--interactive", options->interactive,
                 "talk at the terminal; with a model that has no chat template: go on from the lines typed");
  add_chat(*verb, options->chat);
  add_sampling(*verb, options->request);
  add_attention(*verb, options->common);
  verb->add_option("--context", options->engine.context,
                   "most tokens of prompt and answer, or of a text; 0: what the model was trained for");
  verb->add_option("--chunk", options->engine.chunk, "prompt tokens a step")->capture_default_str();
  verb->add_flag("--no-special", options->no_special, "read '<|...|>' in the prompt as plain text");
  verb->add_option("--pool", options->pool,
                   "encoders: one vector a text, the mean of its tokens' or the first one (cls)")
      ->check(CLI::IsMember({"mean", "cls"}));
  add_execution(*verb, options->common);
  verb->callback([options, verb] { run(*options, *verb); });
}

}  // namespace lowkey::cli
