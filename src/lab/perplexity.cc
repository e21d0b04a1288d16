#include "lab/perplexity.h"

#include <algorithm>
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
        chunk_(method.steps_matter() ? 1 : options.chunk),
        cache_(kv_shape(model.shape(), method, options.kv_type, options.context)),
        sequence_(cache_.open()),
        logits_(static_cast<size_t>(options.chunk) * static_cast<size_t>(model.shape().vocabulary)),
        rows_(static_cast<size_t>(options.chunk)) {
    std::iota(rows_.begin(), rows_.end(), 0);
  }

  // Of the window's tokens from `first` on, >= 1, the negative log-likelihood in sum. after_chunk(tokens) false: stop,
  // and the sum is of no use.
  double score(std::span<const int32_t> window, size_t first, const std::function<bool(int64_t)>& after_chunk) {
    cache_.truncate(sequence_, 0);
    double nll = 0;
    for (size_t begin = 0; begin < window.size();) {
      const size_t count = std::min(static_cast<size_t>(chunk_), window.size() - begin);
      nll += score_chunk(window, begin, count, first);
      begin += count;
      if (!after_chunk(static_cast<int64_t>(count))) break;
    }
    return nll;
  }

 private:
  double score_chunk(std::span<const int32_t> window, size_t begin, size_t count, size_t first) {
    LK_REQUIRE(cache_.grow(sequence_, static_cast<int64_t>(count)), kInternal, "[perplexity] the cache is full");
    const StepSequence sequence{sequence_, static_cast<int32_t>(count)};
    // Row i predicts token begin + i + 1.
    const size_t skipped = std::min(first > begin + 1 ? first - begin - 1 : 0, count);
    const auto rows = static_cast<int64_t>(count - skipped);
    const View logits = f32_view(logits_.data(), {rows, model_.shape().vocabulary});
    model_.forward(context_, method_, cache_,
                   {window.subspan(begin, count), {&sequence, 1}, {rows_.data() + skipped, count - skipped}, logits});
    if (rows == 0) return 0;
    std::vector<float> norms(count - skipped);
    logsumexp(context_, logits, f32_view(norms.data(), {rows}));
    double nll = 0;
    for (size_t i = 0; i < norms.size() && begin + skipped + i + 1 < window.size(); ++i)
      nll += norms[i] - logits.f32_row(static_cast<int64_t>(i))[window[begin + skipped + i + 1]];
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

std::vector<int64_t> window_begins(int64_t stream_tokens, int64_t context, int64_t windows, int64_t stride) {
  LK_REQUIRE(stride >= 0 && stride <= context, kInvalidArgument, "[windows] stride={}, must be 0 to {}", stride,
             context);
  if (stride == 0) stride = context;
  const int64_t pieces = stream_tokens < context ? 0 : (stream_tokens - context) / stride + 1;
  LK_REQUIRE(pieces >= 1, kInvalidArgument, "[windows] the text has {} tokens, a window needs {}", stream_tokens,
             context);
  const int64_t count = windows == 0 ? pieces : std::min(windows, pieces);
  std::vector<int64_t> begins;
  for (int64_t i = 0; i < count; ++i) begins.push_back(i * pieces / count * stride);
  return begins;
}

namespace {

void add(const WindowScore& window, PerplexityResult& result) {
  result.window_nll.push_back(window.nll);
  result.window_tokens.push_back(window.tokens);
  result.scored_tokens += window.tokens;
  result.seconds += window.seconds;
}

double perplexity_of(const PerplexityResult& r) {
  double nll = 0;
  for (size_t i = 0; i < r.window_nll.size(); ++i) nll += r.window_nll[i] * static_cast<double>(r.window_tokens[i]);
  return std::exp(nll / static_cast<double>(std::max<int64_t>(r.scored_tokens, 1)));
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

PerplexityResult perplexity(const Context& context, const Model& model, const Method& method,
                            std::span<const int32_t> stream, const PerplexityOptions& o,
                            const PerplexityProgress& progress, const Units<WindowScore>& units) {
  LK_REQUIRE(o.context >= 2 && o.windows >= 0 && o.chunk >= 1, kInvalidArgument,
             "[perplexity] context={} windows={} chunk={}, must be >= 2, >= 0, >= 1", o.context, o.windows, o.chunk);
  const auto begins = window_begins(static_cast<int64_t>(stream.size()), o.context, o.windows, o.stride);
  const int64_t total = static_cast<int64_t>(begins.size()) * o.context;
  const int64_t stride = o.stride == 0 ? o.context : o.stride;
  WindowScorer scorer(context, model, method, o);
  PerplexityResult result;
  int64_t done = 0;
  bool go_on = true;
  for (size_t i = 0; i < begins.size() && go_on; ++i) {
    const int64_t end = static_cast<int64_t>(i + 1) * o.context;  // of what is done then
    if (const auto known = units.find(0, i)) {
      add(*known, result);
      done = end;
      continue;
    }
    const auto start = std::chrono::steady_clock::now();
    const int64_t first = begins[i] == 0 ? 1 : std::max<int64_t>(o.context - stride, 1);
    const auto window = stream.subspan(static_cast<size_t>(begins[i]), static_cast<size_t>(o.context));
    const double nll = scorer.score(window, static_cast<size_t>(first), [&](int64_t tokens) {
      done += tokens;
      return go_on = progress(done, total);
    });
    if (!go_on && done < end) break;
    const int64_t tokens = o.context - first;
    const WindowScore score{nll / static_cast<double>(tokens), tokens, seconds_since(start)};
    units.keep(0, i, score);
    add(score, result);
  }
  result.perplexity = perplexity_of(result);
  return result;
}

PerplexityResult perplexity(const Context& context, const Model& model, const Tokenizer& tokenizer,
                            const Method& method, std::string_view text, const PerplexityOptions& options,
                            const PerplexityProgress& progress) {
  return perplexity(context, model, method, document_tokens(tokenizer, text), options, progress);
}

}  // namespace lowkey
