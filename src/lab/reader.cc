#include "lab/reader.h"

#include <algorithm>

#include "lab/agreement.h"

namespace lowkey {

std::vector<float> Reader::read(Branch& branch, std::span<const int32_t> tokens) const {
  const int64_t vocabulary = model_.shape().vocabulary;
  std::vector<float> logits(static_cast<size_t>(vocabulary));
  for (size_t begin = 0; begin < tokens.size();) {
    const size_t count = std::min(static_cast<size_t>(chunk_), tokens.size() - begin);
    const bool last = begin + count == tokens.size();
    advance(context_, model_, method_, branch, tokens.subspan(begin, count),
            last ? f32_view(logits.data(), {1, vocabulary}) : View{});
    begin += count;
  }
  return logits;
}

double Reader::nll(const Branch& before, std::span<const float> logits, std::span<const int32_t> tokens) const {
  if (tokens.empty()) return 0;
  double nll = -log_likelihood(logits, tokens[0]);
  if (tokens.size() == 1) return nll;
  Branch branch = before.copy();
  const auto vocabulary = static_cast<size_t>(model_.shape().vocabulary);
  std::vector<float> rows(std::min(static_cast<size_t>(chunk_), tokens.size() - 1) * vocabulary);
  for (size_t begin = 0; begin + 1 < tokens.size();) {
    const size_t count = std::min(static_cast<size_t>(chunk_), tokens.size() - 1 - begin);
    advance(context_, model_, method_, branch, tokens.subspan(begin, count),
            f32_view(rows.data(), {static_cast<int64_t>(count), static_cast<int64_t>(vocabulary)}));
    for (size_t i = 0; i < count; ++i)
      nll -= log_likelihood(std::span(rows).subspan(i * vocabulary, vocabulary), tokens[begin + i + 1]);
    begin += count;
  }
  return nll;
}

std::string Reader::say(const Tokenizer& tokenizer, Branch& branch, std::vector<float> logits, int most,
                        const std::function<bool(const std::string&)>& enough) const {
  std::string said;
  for (int i = 0; i < most; ++i) {
    const auto id = static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
    if (tokenizer.ends_generation(id)) break;
    said += tokenizer.piece(id);
    if (enough(said) || i + 1 == most) break;
    logits = read(branch, {&id, 1});
  }
  return said;
}

}  // namespace lowkey
