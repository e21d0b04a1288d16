#include "lab/needle_trials.h"

#include <algorithm>
#include <chrono>
#include <optional>

#include "base/error.h"
#include "base/printable.h"
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
    trial.said = printable(trial.said);
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

// A document and the codes that are asked for.
struct Haystack {
  int64_t length;
  int document;
  std::string_view text;
  std::vector<Needle> needles;
  size_t asked;  // the first of them; the others are distractors
};

std::vector<Haystack> haystacks(const Tokenizer& tokenizer, std::string_view text, const NeedleOptions& o) {
  const std::vector<double> depths = o.depths.empty() ? even_depths(o.codes) : o.depths;
  std::vector<Haystack> all;
  for (int64_t length : o.lengths) {
    const auto texts = long_texts(tokenizer, text, length);
    for (int d = 0; d < o.documents; ++d) {
      const std::string_view book = texts[static_cast<size_t>(d) % texts.size()];
      const auto needles = draw_needles(depths, o.distractors, static_cast<uint64_t>(d) + 1);
      if (!o.alone) {
        all.push_back({length, d, book, needles, depths.size()});
        continue;
      }
      for (size_t i = 0; i < depths.size(); ++i) {
        all.push_back({length, d, book, {needles[i]}, 1});
        all.back().needles.insert(all.back().needles.end(), needles.begin() + static_cast<int64_t>(depths.size()),
                                  needles.end());
      }
    }
  }
  return all;
}

void check(const NeedleOptions& o) {
  LK_REQUIRE(o.documents >= 1 && o.chunk >= 1 && (o.codes >= 1 || !o.depths.empty()) && !o.lengths.empty(),
             kInvalidArgument, "[needle] documents={} codes={} chunk={}, all must be >= 1, and a length given",
             o.documents, o.codes, o.chunk);
  for (int64_t length : o.lengths)
    LK_REQUIRE(length >= 1, kInvalidArgument, "[needle] length={}, must be >= 1", length);
}

}  // namespace

std::vector<std::vector<NeedleTrial>> needle_trials(const Context& context, const Model& model,
                                                    const Tokenizer& tokenizer, std::span<const ComparedMethod> methods,
                                                    std::string_view text, const NeedleOptions& options,
                                                    const NeedleProgress& progress, const Units<NeedleTrial>& units) {
  check(options);
  const std::vector<Haystack> stacks = haystacks(tokenizer, text, options);
  DensePrefix prefix(context, model, options.kv_type, options.chunk);
  std::vector<std::vector<NeedleTrial>> results(methods.size());
  size_t question = 0, questions = 0;
  for (const Haystack& h : stacks) questions += h.asked;
  const auto total = static_cast<int64_t>(questions * methods.size());
  int64_t done = 0;
  for (const Haystack& h : stacks) {
    bool open = false;
    for (size_t m = 0; m < methods.size(); ++m) {
      std::optional<Branch> branch;
      for (size_t i = 0; i < h.asked; ++i, ++done) {
        if (auto known = units.find(m, question + i)) {
          results[m].push_back(std::move(*known));
          continue;
        }
        const auto go_on = [&](int64_t) { return progress(done, total, ""); };
        if (!open && !prefix.read(hide_needles(tokenizer, h.text, h.needles, h.length), go_on)) return results;
        open = true;
        if (!progress(done, total, methods[m].name)) return results;
        if (!branch) branch.emplace(prefix.fork(*methods[m].method, kRoom));
        NeedleTrial trial = Asker(context, model, tokenizer, *methods[m].method).ask(*branch, h.needles[i]);
        trial.length = h.length, trial.document = h.document;
        units.keep(m, question + i, trial);
        results[m].push_back(std::move(trial));
      }
    }
    question += h.asked;
  }
  return results;
}

}  // namespace lowkey
