#include "lab/bench_selection.h"

#include <algorithm>
#include <cmath>

#include "attention/fit_calibration.h"
#include "base/error.h"
#include "lab/dram_probe.h"
#include "lab/layer_bench.h"
#include "lab/statistics.h"

namespace lowkey {
namespace {

constexpr int64_t kWorkingSet = int64_t{512} << 20;  // bytes of cache gone through in turn

double median(const std::vector<double>& x) { return spread(x).median; }

// All that was timed of one method.
struct Samples {
  std::vector<double> total, score, select, attend, append;
};

std::vector<BenchSelectionResult> at_context(const Context& context, const BenchAttentionOptions& o, int64_t length,
                                             const std::vector<BenchedMethod>& methods, DramProbe& probe) {
  const int64_t layer_bytes = kv_row_bytes(o.kv_type, o.head_dim) * o.kv_heads * length;
  const auto layers = static_cast<int>(std::clamp<int64_t>(kWorkingSet / layer_bytes, 1, 1024));
  const int64_t row = std::max<int64_t>(kv_row_bytes(o.kv_type, o.head_dim) / 128 * 128, 128);  // for the probe
  const AttentionShape shape{1, o.heads, o.kv_heads, o.head_dim, o.heads * o.head_dim};
  const KvShape kv{.layers = layers,
                   .kv_heads = o.kv_heads,
                   .head_dim = o.head_dim,
                   .dtype = o.kv_type,
                   .page_tokens = o.page_tokens,
                   .max_tokens = length,
                   .plane_bytes = {}};
  std::vector<std::unique_ptr<LayerBench>> benches;
  for (const BenchedMethod& m : methods)
    benches.push_back(std::make_unique<LayerBench>(context, *m.method, shape, kv, length));
  std::vector<Samples> samples(methods.size());
  std::vector<LayerTimes> last(methods.size());
  std::vector<double> rates, row_rates;
  for (int i = 0; i <= o.repetitions; ++i) {  // the first round only warms up
    if (i == 1) samples.assign(methods.size(), {}), rates.clear(), row_rates.clear();
    rates.push_back(probe.read());
    row_rates.push_back(probe.read_rows(row));
    for (size_t m = 0; m < methods.size(); ++m) {
      const LayerTimes t = last[m] = benches[m]->decode(length);
      samples[m].total.push_back(t.total), samples[m].score.push_back(t.score);
      samples[m].select.push_back(t.select), samples[m].attend.push_back(t.attend);
      samples[m].append.push_back(benches[m]->append_seconds());
    }
  }
  std::vector<BenchSelectionResult> results;
  for (size_t m = 0; m < methods.size(); ++m) {
    const Spread total = spread(samples[m].total);
    results.push_back({.name = methods[m].name,
                       .context = length,
                       .seconds = total.median,
                       .fastest = total.least,
                       .slowest = total.most,
                       .score_seconds = median(samples[m].score),
                       .select_seconds = median(samples[m].select),
                       .attend_seconds = median(samples[m].attend),
                       .score_bytes = last[m].score_bytes,
                       .attend_bytes = last[m].attend_bytes,
                       .append_seconds = median(samples[m].append),
                       .kv_bytes_per_token = benches[m]->bytes_per_token(),
                       .probe_bytes_per_second = median(rates),
                       .row_probe_bytes_per_second = median(row_rates)});
  }
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
  s.first = 16, s.end = 8192;
  for (size_t i = 0; i < dim / 2; ++i)
    s.inverse_frequency.push_back(std::pow(1e4f, -2 * static_cast<float>(i) / static_cast<float>(dim)));
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
