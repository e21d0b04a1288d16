#include "lab/agreement.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "attention/dense.h"
#include "base/error.h"
#include "lab/perplexity.h"
#include "lab/replay.h"

namespace lowkey {
namespace {

// log(sum(exp(x))), of at least one x.
double log_sum(std::span<const float> x) noexcept {
  const double max = *std::max_element(x.begin(), x.end());
  double sum = 0;
  for (float value : x) sum += std::exp(value - max);
  return max + std::log(sum);
}

}  // namespace

double log_likelihood(std::span<const float> logits, int32_t token) noexcept {
  return logits[static_cast<size_t>(token)] - log_sum(logits);
}

LogitComparison compare_logits(std::span<const float> dense, std::span<const float> other, int32_t target) noexcept {
  const double dense_norm = log_sum(dense), norm = log_sum(other);
  LogitComparison c;
  for (size_t i = 0; i < dense.size(); ++i) {
    const double log_p = dense[i] - dense_norm, log_q = other[i] - norm;
    c.kl += std::exp(log_p) * (log_p - log_q);
  }
  const auto t = static_cast<size_t>(target);
  c.dense_nll = dense_norm - dense[t], c.nll = norm - other[t];
  c.same_top = std::max_element(dense.begin(), dense.end()) - dense.begin() ==
               std::max_element(other.begin(), other.end()) - other.begin();
  return c;
}

namespace {

// One window after another: the dense prefix and what dense attention predicts after it.
class WindowReader {
 public:
  WindowReader(const Context& context, const Model& model, const AgreementOptions& options)
      : context_(context),
        model_(model),
        options_(options),
        vocabulary_(model.shape().vocabulary),
        prefix_(context, model, options.kv_type, options.chunk),
        dense_logits_(static_cast<size_t>(options.scored * vocabulary_)),
        logits_(static_cast<size_t>(std::min<int64_t>(options.chunk, options.scored) * vocabulary_)),
        compared_(static_cast<size_t>(options.scored)) {}

  // window: [context + 1]. False when `go_on` ends it.
  bool open(std::span<const int32_t> window, const std::function<bool()>& go_on) {
    window_ = window;
    if (!prefix_.read(window.first(prefix_tokens()), [&](int64_t) { return go_on(); })) return false;
    const Dense dense;
    run(dense, dense, [&](size_t begin, size_t count) {
      std::copy_n(logits_.begin(), static_cast<int64_t>(count) * vocabulary_,
                  dense_logits_.begin() + static_cast<int64_t>(begin) * vocabulary_);
    });
    return true;
  }

  WindowAgreement compare(const ComparedMethod& compared) {
    const auto start = std::chrono::steady_clock::now();
    WindowAgreement result;
    const Observer observer(*compared.method, compared.always, options_.observe_every, result.observed);
    run(*compared.method, observer, [&](size_t begin, size_t count) { compare_rows(begin, count); });
    for (const LogitComparison& c : compared_) {
      result.kl += c.kl, result.nll += c.nll, result.dense_nll += c.dense_nll;
      result.same_top += c.same_top ? 1 : 0;
    }
    for (double* mean : {&result.kl, &result.nll, &result.dense_nll, &result.same_top})
      *mean /= static_cast<double>(options_.scored);
    result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return result;
  }

 private:
  size_t prefix_tokens() const { return static_cast<size_t>(options_.context - options_.scored); }
  std::span<const float> row(const std::vector<float>& logits, size_t r) const {
    const auto width = static_cast<size_t>(vocabulary_);
    return std::span(logits).subspan(r * width, width);
  }

  // Reads the scored tokens with the method, which may be observed, behind the prefix as `keeps` has it: of the prefix,
  // which some methods read themselves, nothing is observed. after_chunk(begin, count) finds their logits in logits_.
  void run(const Method& keeps, const Method& method, const std::function<void(size_t, size_t)>& after_chunk) {
    Branch branch = prefix_.fork(keeps, options_.scored);
    const std::span<const int32_t> tokens = window_.subspan(prefix_tokens(), static_cast<size_t>(options_.scored));
    const size_t chunk = method.steps_matter() ? 1 : static_cast<size_t>(options_.chunk);
    for (size_t begin = 0; begin < tokens.size();) {
      const size_t count = std::min(chunk, tokens.size() - begin);
      advance(context_, model_, method, branch, tokens.subspan(begin, count),
              f32_view(logits_.data(), {static_cast<int64_t>(count), vocabulary_}));
      after_chunk(begin, count);
      begin += count;
    }
  }

  void compare_rows(size_t begin, size_t count) {
    context_.threads.dynamic(static_cast<int64_t>(count), [&](int64_t i, int) {
      const size_t at = begin + static_cast<size_t>(i);
      compared_[at] = compare_logits(row(dense_logits_, at), row(logits_, static_cast<size_t>(i)),
                                     window_[prefix_tokens() + at + 1]);
    });
  }

  const Context& context_;
  const Model& model_;
  const AgreementOptions& options_;
  int64_t vocabulary_;
  DensePrefix prefix_;
  std::span<const int32_t> window_;
  std::vector<float> dense_logits_;        // [scored, V]
  std::vector<float> logits_;              // [chunk, V], of the method at work
  std::vector<LogitComparison> compared_;  // [scored]
};

void check(const AgreementOptions& o) {
  LK_REQUIRE(o.context >= 2 && o.windows >= 0 && o.chunk >= 1, kInvalidArgument,
             "[agreement] context={} windows={} chunk={}, must be >= 2, >= 0, >= 1", o.context, o.windows, o.chunk);
  LK_REQUIRE(o.scored >= 1 && o.scored < o.context, kInvalidArgument, "[agreement] scored={}, must be 1 to {}",
             o.scored, o.context - 1);
  LK_REQUIRE(o.observe_every >= 0, kInvalidArgument, "[agreement] observe_every={}, must be >= 0", o.observe_every);
}

}  // namespace

std::vector<std::vector<WindowAgreement>> agreement(const Context& context, const Model& model,
                                                    std::span<const ComparedMethod> methods,
                                                    std::span<const int32_t> stream, const AgreementOptions& options,
                                                    const AgreementProgress& progress,
                                                    const Units<WindowAgreement>& units) {
  check(options);
  // The last position of a window is judged by the token after it.
  const auto begins = window_begins(static_cast<int64_t>(stream.size()) - 1, options.context, options.windows);
  WindowReader reader(context, model, options);
  std::vector<std::vector<WindowAgreement>> results(methods.size());
  const auto total = static_cast<int64_t>(begins.size() * methods.size());
  int64_t done = 0;
  for (size_t w = 0; w < begins.size(); ++w) {
    const auto window = stream.subspan(static_cast<size_t>(begins[w]), static_cast<size_t>(options.context) + 1);
    bool open = false;
    for (size_t m = 0; m < methods.size(); ++m, ++done) {
      if (auto known = units.find(m, w)) {
        results[m].push_back(std::move(*known));
        continue;
      }
      if (!open && !reader.open(window, [&] { return progress(done, total, ""); })) return results;
      open = true;
      if (!progress(done, total, methods[m].name)) return results;
      results[m].push_back(reader.compare(methods[m]));
      results[m].back().begin = begins[w];
      units.keep(m, w, results[m].back());
    }
  }
  return results;
}

AgreementSummary summarise(std::span<const WindowAgreement> windows) {
  LK_REQUIRE(!windows.empty(), kInvalidArgument, "[agreement] no windows");
  AgreementSummary s;
  std::vector<double> kl, difference, dense;
  for (const WindowAgreement& w : windows) {
    kl.push_back(w.kl);
    difference.push_back(w.nll - w.dense_nll);
    dense.push_back(w.dense_nll);
    s.same_top += w.same_top / static_cast<double>(windows.size());
    s.seconds += w.seconds / static_cast<double>(windows.size());
    s.observed.add(w.observed);
  }
  const auto percent = [](double nats) { return 100 * std::expm1(nats); };
  const Estimate d = estimate(difference);
  s.kl = estimate(kl), s.kl_interval = bootstrap(kl);
  s.dense_perplexity = std::exp(estimate(dense).mean);
  s.perplexity = s.dense_perplexity * std::exp(d.mean);
  s.increase = {.mean = percent(d.mean), .error = 100 * std::exp(d.mean) * d.error, .low = d.low, .high = d.high};
  s.increase_interval = bootstrap(difference);
  for (double* end : {&s.increase_interval.low, &s.increase_interval.high})
    if (std::isfinite(*end)) *end = percent(*end);
  if (windows.size() > 1) s.increase.low = percent(d.low), s.increase.high = percent(d.high);
  return s;
}

}  // namespace lowkey
