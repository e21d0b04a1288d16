#include "lab/bench_selection.h"

#include <algorithm>
#include <chrono>
#include <random>

#include "attention/fit_calibration.h"
#include "base/error.h"
#include "kv/cache.h"
#include "lab/dram_probe.h"

namespace lowkey {
namespace {

constexpr int64_t kWorkingSet = int64_t{512} << 20;  // bytes of cache gone through in turn
constexpr int64_t kFillTokens = 1024;

using Clock = std::chrono::steady_clock;
double seconds(Clock::duration d) { return std::chrono::duration<double>(d).count(); }

double median(std::vector<double> x) {
  std::sort(x.begin(), x.end());
  return x[x.size() / 2];
}

std::vector<float> noise(int64_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<size_t>(n));
  for (float& value : x) value = normal(random);
  return x;
}

struct Times {
  std::vector<double> total, score, select, attend;
};

// One method's cache of `length` tokens in `layers` layers, and its steps.
class Subject {
 public:
  Subject(const Context& context, const BenchAttentionOptions& o, const BenchedMethod& m, int64_t length, int layers)
      : context_(context),
        method_(*m.method),
        shape_{layers, o.heads, o.kv_heads, o.head_dim, o.heads * o.head_dim},
        length_(length),
        cache_({.layers = layers,
                .kv_heads = o.kv_heads,
                .head_dim = o.head_dim,
                .dtype = o.kv_type,
                .page_tokens = o.page_tokens,
                .max_tokens = length,
                .plane_bytes = m.method->planes(shape_, o.kv_type, o.page_tokens)}),
        sequence_(cache_.open()),
        q_(noise(int64_t{o.heads} * o.head_dim, 7)),
        out_(q_.size()) {
    fill();
  }

  // All layers once; per layer.
  void run(Times& times) {
    double score = 0, select = 0, attend = 0;
    const Clock::time_point start = Clock::now();
    for (int layer = 0; layer < shape_.layers; ++layer) {
      Scratch::Frame frame(context_.scratch);
      const KvPages kv = cache_.pages(sequence_, layer);
      const LayerStep step = this->step(frame, kv, 1);
      const View q{q_.data(), DType::kF32, {1, shape_.heads, shape_.head_dim}};
      const View out{out_.data(), DType::kF32, {1, shape_.heads, shape_.head_dim}};
      const Selection selection = method_.select(step, q);
      const Clock::time_point selected = Clock::now();
      method_.attend(step, q, selection, out);
      attend += seconds(Clock::now() - selected);
      score += selection.score_seconds, select += selection.select_seconds;
      score_bytes_ = selection.index_bytes;
      attend_bytes_ = selection.bytes_read(step) - selection.index_bytes;
    }
    const double total = seconds(Clock::now() - start);
    for (auto [list, value] :
         {std::pair{&times.total, total}, {&times.score, score}, {&times.select, select}, {&times.attend, attend}})
      list->push_back(value / shape_.layers);
  }

  // The last token of every layer again; per layer.
  double append_seconds() {
    const std::vector<float> x = noise(2 * int64_t{shape_.kv_heads} * shape_.head_dim, 3);
    const Clock::time_point start = Clock::now();
    for (int layer = 0; layer < shape_.layers; ++layer) append(x, layer, 1);
    return seconds(Clock::now() - start) / shape_.layers;
  }

  int64_t score_bytes() const { return score_bytes_; }
  int64_t attend_bytes() const { return attend_bytes_; }

 private:
  LayerStep step(Scratch::Frame& frame, const KvPages& kv, int64_t count) {
    auto* counts = frame.take<int32_t>(1);
    auto* positions = frame.take<int32_t>(count);
    auto* pages = frame.take<KvPages>(1);
    counts[0] = static_cast<int32_t>(count), pages[0] = kv;
    for (int64_t i = 0; i < count; ++i) positions[i] = static_cast<int32_t>(kv.length - count + i);
    return {.context = context_,
            .frame = frame,
            .shape = shape_,
            .layer = 0,  // as far as the method knows: its calibration is for one
            .projections = none_,
            .kv = {pages, 1},
            .counts = {counts, 1},
            .positions = {positions, static_cast<size_t>(count)},
            .inverse_frequency = {},
            .rope_layout = {}};
  }

  void append(const std::vector<float>& x, int layer, int64_t count) {
    Scratch::Frame frame(context_.scratch);
    const LayerStep step = this->step(frame, cache_.pages(sequence_, layer), count);
    auto* data = const_cast<float*>(x.data());
    const View k{data, DType::kF32, {count, shape_.kv_heads, shape_.head_dim}};
    const View v{data + x.size() / 2, DType::kF32, {count, shape_.kv_heads, shape_.head_dim}};
    const View q{out_.data(), DType::kF32, {0, shape_.heads, shape_.head_dim}};
    method_.append(step, {.q = q, .k = k, .v = v});
  }

  void fill() {
    const std::vector<float> x = noise(2 * kFillTokens * shape_.kv_heads * shape_.head_dim, 1);
    for (int64_t at = 0; at < length_; at += kFillTokens) {
      const int64_t count = std::min(kFillTokens, length_ - at);
      LK_REQUIRE(cache_.grow(sequence_, count), kInternal, "[bench attention] no room for {} tokens", count);
      for (int layer = 0; layer < shape_.layers; ++layer) append(x, layer, count);
    }
  }

  const Context& context_;
  const Method& method_;
  AttentionShape shape_;
  Projections none_;
  int64_t length_;
  KvCache cache_;
  KvCache::SequenceId sequence_;
  std::vector<float> q_, out_;
  int64_t score_bytes_ = 0, attend_bytes_ = 0;
};

std::vector<BenchSelectionResult> at_context(const Context& context, const BenchAttentionOptions& o, int64_t length,
                                             const std::vector<BenchedMethod>& methods, DramProbe& probe) {
  const int64_t layer_bytes = row_bytes(o.kv_type, int64_t{2} * o.head_dim) * o.kv_heads * length;
  const auto layers = static_cast<int>(std::clamp<int64_t>(kWorkingSet / layer_bytes, 1, 1024));
  std::vector<std::unique_ptr<Subject>> subjects;
  for (const BenchedMethod& m : methods) subjects.push_back(std::make_unique<Subject>(context, o, m, length, layers));
  std::vector<Times> times(methods.size());
  std::vector<std::vector<double>> appends(methods.size());
  std::vector<double> rates;
  for (int i = 0; i <= o.repetitions; ++i) {  // the first round only warms up
    if (i == 1) times.assign(methods.size(), {}), appends.assign(methods.size(), {}), rates.clear();
    rates.push_back(probe.read());
    for (size_t m = 0; m < methods.size(); ++m) {
      subjects[m]->run(times[m]);
      appends[m].push_back(subjects[m]->append_seconds());
    }
  }
  std::vector<BenchSelectionResult> results;
  for (size_t m = 0; m < methods.size(); ++m)
    results.push_back({.name = methods[m].name,
                       .context = length,
                       .seconds = median(times[m].total),
                       .score_seconds = median(times[m].score),
                       .select_seconds = median(times[m].select),
                       .attend_seconds = median(times[m].attend),
                       .score_bytes = subjects[m]->score_bytes(),
                       .attend_bytes = subjects[m]->attend_bytes(),
                       .append_seconds = median(appends[m]),
                       .probe_bytes_per_second = median(rates)});
  return results;
}

}  // namespace

Calibration synthetic_calibration(const Context& context, const AttentionShape& shape) {
  const auto dim = static_cast<size_t>(shape.head_dim), heads = static_cast<size_t>(shape.layers * shape.kv_heads);
  KeyStatistics s;
  s.layers = shape.layers, s.kv_heads = shape.kv_heads, s.head_dim = shape.head_dim, s.tokens = 1 << 20;
  s.pre_mean.assign(heads * dim, 0), s.post_mean = s.pre_mean;
  s.pre_covariance.assign(heads * dim * dim, 0), s.query_moment = s.pre_covariance;
  for (size_t head = 0; head < heads; ++head)
    for (size_t d = 0; d < dim; ++d) {
      const size_t at = (head * dim + d) * dim + d;
      s.pre_covariance[at] = 1 / (1 + static_cast<double>(d) / 16), s.query_moment[at] = 1;
    }
  s.post_covariance = s.pre_covariance;
  return fit_calibration(context, s, {.codebook_bits = {}}, [](int64_t, int64_t) { return true; });
}

std::vector<BenchSelectionResult> bench_selection(const Context& context, const BenchAttentionOptions& o,
                                                  const std::vector<BenchedMethod>& methods) {
  check_bench_attention(o);
  DramProbe probe(context);
  std::vector<BenchSelectionResult> results;
  for (int64_t length : o.contexts)
    for (BenchSelectionResult& r : at_context(context, o, length, methods, probe)) results.push_back(std::move(r));
  return results;
}

}  // namespace lowkey
