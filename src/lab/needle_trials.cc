#include "lab/needle_trials.h"

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "lab/replay.h"
#include "ops/softmax.h"

namespace lowkey {
namespace {

constexpr int kMostSaid = 12;   // tokens; a code takes no more than 7
constexpr int64_t kRoom = 128;  // tokens for a question and its answer

std::vector<int32_t> encode(const Tokenizer& tokenizer, std::string_view text) {
  return tokenizer.encode(text, {.add_bos = false, .parse_special = false});
}

class Asker {
 public:
  Asker(const Context& context, const Model& model, const Tokenizer& tokenizer, const Method& method)
      : context_(context), model_(model), tokenizer_(tokenizer), method_(method) {}

  NeedleTrial ask(const Branch& document, const Needle& needle) {
    const auto start = std::chrono::steady_clock::now();
    NeedleTrial trial{.needle = needle};
    Branch branch = document.copy();
    std::vector<float> logits = read(branch, encode(tokenizer_, needle_question(needle)), 1);
    trial.nll = answer_nll(branch, logits, needle);
    const size_t enough = needle.code.size() + 1;  // " 123456"; one character more shows where the number ends
    for (int i = 0; i < kMostSaid && trial.said.size() <= enough; ++i) {
      const auto id = static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
      if (tokenizer_.ends_generation(id)) break;
      trial.said += tokenizer_.piece(id);
      logits = read(branch, {id}, 1);
    }
    trial.found = answers_needle(needle, trial.said);
    trial.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return trial;
  }

 private:
  // The logits [rows, V] of the last `rows` tokens.
  std::vector<float> read(Branch& branch, const std::vector<int32_t>& tokens, size_t rows) {
    const auto count = static_cast<int64_t>(rows), vocabulary = int64_t{model_.shape().vocabulary};
    std::vector<float> logits(rows * static_cast<size_t>(vocabulary));
    advance(context_, model_, method_, branch, tokens, f32_view(logits.data(), {count, vocabulary}));
    return logits;
  }

  // What the answer costs when it is forced. logits: [V], of its first token.
  double answer_nll(const Branch& question, std::vector<float> logits, const Needle& needle) {
    std::vector<int32_t> answer = encode(tokenizer_, " " + needle.code);
    const std::vector<int32_t> given(answer.begin(), answer.end() - 1);
    if (!given.empty()) {
      Branch branch = question.copy();
      const std::vector<float> rest = read(branch, given, given.size());
      logits.insert(logits.end(), rest.begin(), rest.end());
    }
    std::vector<float> norms(answer.size());
    const auto rows = static_cast<int64_t>(answer.size()), vocabulary = int64_t{model_.shape().vocabulary};
    const View view = f32_view(logits.data(), {rows, vocabulary});
    logsumexp(context_, view, f32_view(norms.data(), {rows}));
    double nll = 0;
    for (size_t i = 0; i < answer.size(); ++i) nll += norms[i] - view.f32_row(static_cast<int64_t>(i))[answer[i]];
    return nll / static_cast<double>(rows);
  }

  const Context& context_;
  const Model& model_;
  const Tokenizer& tokenizer_;
  const Method& method_;
};

// The documents of `text` that are long enough.
std::vector<std::string_view> long_texts(const Tokenizer& tokenizer, std::string_view text, int64_t length) {
  std::vector<std::string_view> texts;
  while (!text.empty()) {
    const size_t end = text.find('\0');
    const std::string_view one = text.substr(0, end);
    if (static_cast<int64_t>(encode(tokenizer, one).size()) >= length) texts.push_back(one);
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
  }
  LK_REQUIRE(!texts.empty(), kInvalidArgument, "[needle] no document of the text has {} tokens", length);
  return texts;
}

}  // namespace

std::vector<std::vector<NeedleTrial>> needle_trials(const Context& context, const Model& model,
                                                    const Tokenizer& tokenizer, std::span<const ComparedMethod> methods,
                                                    std::string_view text, const NeedleOptions& options,
                                                    const NeedleProgress& progress) {
  LK_REQUIRE(options.context >= 1 && options.documents >= 1 && options.chunk >= 1, kInvalidArgument,
             "[needle] context={} documents={} chunk={}, all must be >= 1", options.context, options.documents,
             options.chunk);
  const auto texts = long_texts(tokenizer, text, options.context);
  DensePrefix prefix(context, model, options.kv_type, options.chunk);
  std::vector<std::vector<NeedleTrial>> results(methods.size());
  const int64_t total = int64_t{options.documents} * options.codes * static_cast<int64_t>(methods.size());
  int64_t done = 0;
  for (int d = 0; d < options.documents; ++d) {
    const auto needles = draw_needles(options.codes, static_cast<uint64_t>(d) + 1);
    const auto document =
        hide_needles(tokenizer, texts[static_cast<size_t>(d) % texts.size()], needles, options.context);
    if (!prefix.read(document, [&](int64_t) { return progress(done, total, ""); })) return results;
    for (size_t m = 0; m < methods.size(); ++m) {
      const Branch branch = prefix.fork(*methods[m].method, kRoom);
      Asker asker(context, model, tokenizer, *methods[m].method);
      for (const Needle& needle : needles) {
        if (!progress(done, total, methods[m].name)) return results;
        results[m].push_back(asker.ask(branch, needle));
        results[m].back().document = d;
        ++done;
      }
    }
  }
  return results;
}

}  // namespace lowkey
