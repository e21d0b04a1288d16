#include "lab/perplexity.h"

#include <chrono>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "ops/softmax.h"

namespace lowkey {
namespace {

// Reads one window chunk by chunk and sums the negative log-likelihoods of its tokens.
class WindowScorer {
 public:
  WindowScorer(const Context& context, const Model& model, const Method& method, const PerplexityOptions& options)
      : context_(context),
        model_(model),
        method_(method),
        chunk_(method.evicts() ? 1 : options.chunk),
        cache_(kv_shape(model.shape(), method, options.kv_type, options.context)),
        sequence_(cache_.open()),
        logits_(static_cast<size_t>(options.chunk) * static_cast<size_t>(model.shape().vocabulary)),
        rows_(static_cast<size_t>(options.chunk)) {
    std::iota(rows_.begin(), rows_.end(), 0);
  }

  // after_chunk(tokens) false: stop, and the sum is of no use.
  double score(std::span<const int32_t> window, const std::function<bool(int64_t)>& after_chunk) {
    cache_.truncate(sequence_, 0);
    double nll = 0;
    for (size_t begin = 0; begin < window.size();) {
      const size_t count = std::min(static_cast<size_t>(chunk_), window.size() - begin);
      nll += score_chunk(window, begin, count);
      begin += count;
      if (!after_chunk(static_cast<int64_t>(count))) break;
    }
    return nll;
  }

 private:
  double score_chunk(std::span<const int32_t> window, size_t begin, size_t count) {
    LK_REQUIRE(cache_.grow(sequence_, static_cast<int64_t>(count)), kInternal, "[perplexity] the cache is full");
    const StepSequence sequence{sequence_, static_cast<int32_t>(count)};
    const auto rows = static_cast<int64_t>(count);
    const View logits = f32_view(logits_.data(), {rows, model_.shape().vocabulary});
    model_.forward(context_, method_, cache_,
                   {window.subspan(begin, count), {&sequence, 1}, {rows_.data(), count}, logits});
    std::vector<float> norms(count);
    logsumexp(context_, logits, f32_view(norms.data(), {rows}));
    double nll = 0;
    for (size_t i = 0; i < count && begin + i + 1 < window.size(); ++i)
      nll += norms[i] - logits.f32_row(static_cast<int64_t>(i))[window[begin + i + 1]];
    return nll;
  }

  const Context& context_;
  const Model& model_;
  const Method& method_;
  int chunk_;
  KvCache cache_;
  KvCache::SequenceId sequence_;
  std::vector<float> logits_;  // [chunk, V]
  std::vector<int32_t> rows_;  // 0, 1, 2, ...
};

}  // namespace

std::vector<int32_t> document_tokens(const Tokenizer& tokenizer, std::string_view text) {
  std::vector<int32_t> stream;
  while (!text.empty()) {
    const size_t end = text.find('\0');
    const auto ids = tokenizer.encode(text.substr(0, end), {.add_bos = true, .parse_special = false});
    stream.insert(stream.end(), ids.begin(), ids.end());
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
  }
  return stream;
}

std::vector<int64_t> window_begins(int64_t stream_tokens, int64_t context, int64_t windows) {
  const int64_t pieces = stream_tokens / context;
  LK_REQUIRE(pieces >= 1, kInvalidArgument, "[windows] the text has {} tokens, a window needs {}", stream_tokens,
             context);
  const int64_t count = windows == 0 ? pieces : std::min(windows, pieces);
  std::vector<int64_t> begins;
  for (int64_t i = 0; i < count; ++i) begins.push_back(i * pieces / count * context);
  return begins;
}

PerplexityResult perplexity(const Context& context, const Model& model, const Tokenizer& tokenizer,
                            const Method& method, std::string_view text, const PerplexityOptions& options,
                            const std::function<bool(int64_t, int64_t)>& progress) {
  LK_REQUIRE(options.context >= 2 && options.windows >= 0 && options.chunk >= 1, kInvalidArgument,
             "[perplexity] context={} windows={} chunk={}, must be >= 2, >= 0, >= 1", options.context, options.windows,
             options.chunk);
  const std::vector<int32_t> stream = document_tokens(tokenizer, text);
  const auto begins = window_begins(static_cast<int64_t>(stream.size()), options.context, options.windows);
  const auto windows = static_cast<int64_t>(begins.size());
  const auto start = std::chrono::steady_clock::now();
  WindowScorer scorer(context, model, method, options);
  PerplexityResult result;
  int64_t done = 0;
  bool go_on = true;
  for (int64_t i = 0; i < windows && go_on; ++i) {
    const std::span window(stream.data() + begins[static_cast<size_t>(i)], static_cast<size_t>(options.context));
    const double nll = scorer.score(window, [&](int64_t tokens) {
      done += tokens;
      return go_on = progress(done, windows * options.context);
    });
    if (!go_on && done < (i + 1) * options.context) break;
    result.window_nll.push_back(nll / static_cast<double>(options.context - 1));
    result.scored_tokens += options.context - 1;
  }
  const double mean = std::accumulate(result.window_nll.begin(), result.window_nll.end(), 0.0) /
                      static_cast<double>(std::max<size_t>(result.window_nll.size(), 1));
  result.perplexity = std::exp(mean);
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace lowkey
