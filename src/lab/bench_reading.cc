#include "lab/bench_reading.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <random>

#include "attention/method.h"
#include "base/error.h"
#include "kv/cache.h"
#include "lab/statistics.h"
#include "ops/add.h"
#include "ops/gelu.h"
#include "ops/layernorm.h"
#include "ops/matmul.h"
#include "ops/quantize.h"
#include "ops/rmsnorm.h"
#include "ops/swiglu.h"

namespace lowkey {
namespace {

constexpr int64_t kInputRows = 4096;  // of noise; longer texts go through them again
constexpr float kEpsilon = 1e-5f;

using Clock = std::chrono::steady_clock;
double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

void check(const BenchReadingOptions& o) {
  constexpr int kMostHeads = 1024, kMostDim = 1024, kMostFfn = 1 << 20;
  LK_REQUIRE(o.kv_heads >= 1 && o.heads >= o.kv_heads && o.heads <= kMostHeads && o.heads % o.kv_heads == 0,
             kInvalidArgument, "[bench reading] heads={} kv_heads={}, must be a multiple, at most {}", o.heads,
             o.kv_heads, kMostHeads);
  LK_REQUIRE(o.head_dim >= 8 && o.head_dim % 8 == 0 && o.head_dim <= kMostDim && o.ffn >= 8 && o.ffn % 8 == 0 &&
                 o.ffn <= kMostFfn,
             kInvalidArgument, "[bench reading] head_dim={} ffn={}, must be multiples of 8, at most {} and {}",
             o.head_dim, o.ffn, kMostDim, kMostFfn);
  LK_REQUIRE(o.repetitions >= 1 && o.step >= 1 && !o.lengths.empty(), kInvalidArgument,
             "[bench reading] repetitions={} step={} and {} lengths, must be >= 1", o.repetitions, o.step,
             o.lengths.size());
  LK_REQUIRE(o.weights == DType::kF32 || o.weights == DType::kF16 || o.weights == DType::kBF16, kInvalidArgument,
             "[bench reading] weights {}, must be f32, f16 or bf16", name(o.weights));
  for (int64_t length : o.lengths)
    LK_REQUIRE(length >= 1 && length <= (int64_t{1} << 24), kInvalidArgument,
               "[bench reading] length={}, must be 1 to 2^24", length);
}

// A matrix of noise, in rows of length about 1.
class Weights {
 public:
  Weights(const Context& context, DType type, int64_t outputs, int64_t inputs, std::mt19937& random) {
    std::uniform_real_distribution<float> uniform(-1, 1);
    const float scale = std::sqrt(3.f / static_cast<float>(inputs));
    std::vector<float> exact(static_cast<size_t>(outputs * inputs));
    for (float& x : exact) x = scale * uniform(random);
    bytes_.resize(static_cast<size_t>(outputs * row_bytes(type, inputs)));
    view_ = View(bytes_.data(), type, {outputs, inputs});
    quantize(context, {f32_view(exact.data(), {outputs, inputs}), view_});
  }
  View view() const { return view_; }

 private:
  std::vector<std::byte> bytes_;
  View view_;
};

// One layer, without its attention.
class Layer {
 public:
  Layer(const Context& context, const BenchReadingOptions& o)
      : o_(o),
        shape_{.layers = 1,
               .heads = o.heads,
               .kv_heads = o.kv_heads,
               .head_dim = o.head_dim,
               .width = o.heads * o.head_dim,
               .causal = !o.encoder},
        q_(context, o.weights, shape_.width, shape_.width, random_),
        k_(context, o.weights, o.kv_heads * o.head_dim, shape_.width, random_),
        v_(context, o.weights, o.kv_heads * o.head_dim, shape_.width, random_),
        output_(context, o.weights, shape_.width, shape_.width, random_),
        gate_(context, o.weights, o.encoder ? 8 : o.ffn, shape_.width, random_),
        up_(context, o.weights, o.ffn, shape_.width, random_),
        down_(context, o.weights, shape_.width, o.ffn, random_),
        ones_(static_cast<size_t>(std::max<int64_t>(shape_.width, o.ffn)), 1.f) {
    for (int d = 0; d < o.head_dim; d += 2)
      frequency_.push_back(static_cast<float>(std::pow(1e4, -static_cast<double>(d) / o.head_dim)));
  }

  const AttentionShape& shape() const { return shape_; }
  Projections projections() {
    if (!o_.encoder) return {.q = q_.view(), .k = k_.view(), .v = v_.view()};
    const auto bias = [&](View w) { return f32_view(ones_.data(), {w.rows()}); };
    return {.q = q_.view(),
            .k = k_.view(),
            .v = v_.view(),
            .q_bias = bias(q_.view()),
            .k_bias = bias(k_.view()),
            .v_bias = bias(v_.view())};
  }
  View frequency() { return o_.encoder ? View{} : f32_view(frequency_.data(), {std::ssize(frequency_)}); }

  // All that follows the attention of so many rows, and the norm before it. Seconds.
  double rest(const Context& context, int64_t rows) {
    Scratch::Frame frame(context.scratch);
    const View x = frame.take_f32({rows, shape_.width}), h = frame.take_f32({rows, shape_.width}),
               gate = frame.take_f32({rows, o_.encoder ? 8 : o_.ffn}), up = frame.take_f32({rows, o_.ffn}),
               gain = f32_view(ones_.data(), {shape_.width});
    std::fill_n(x.f32(), x.elements(), 0.5f);
    const auto start = Clock::now();
    for (int norms = 0; norms < 2; ++norms)
      o_.encoder ? layernorm(context, {x, gain, gain, kEpsilon, x}) : rmsnorm(context, {x, gain, kEpsilon, x});
    matmul(context, {x, output_.view(), h});
    add(context, {x, h});
    if (o_.encoder) {
      matmul(context, {x, up_.view(), up});
      add(context, {up, f32_view(ones_.data(), {o_.ffn})});
      gelu(context, {up, up});
    } else {
      const MatmulPart parts[] = {{gate_.view(), gate}, {up_.view(), up}};
      matmul_parts(context, x, parts, 2);
      swiglu(context, {gate, up, up});
    }
    matmul(context, {up, down_.view(), h});
    add(context, {x, h});
    return since(start);
  }

 private:
  BenchReadingOptions o_;
  AttentionShape shape_;
  std::mt19937 random_{1};
  Weights q_, k_, v_, output_, gate_, up_, down_;
  std::vector<float> ones_, frequency_;
};

struct Times {
  double project = 0, append = 0, attend = 0;
};

// Noise [rows, C] whose columns shrink.
std::vector<float> inputs(int64_t rows, int64_t width) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<size_t>(rows * width));
  for (size_t i = 0; i < x.size(); ++i)
    x[i] = normal(random) / std::sqrt(1 + static_cast<float>(static_cast<int64_t>(i) % width) / 16);
  return x;
}

// The whole text, in steps.
Times read_text(const Context& context, const BenchReadingOptions& o, Layer& layer, const Method& method,
                KvCache& cache, View x, int64_t length) {
  const AttentionShape& shape = layer.shape();
  const Projections projections = layer.projections();
  const auto id = cache.open();
  Times times;
  for (int64_t begin = 0, count; begin < length; begin += count) {
    count = o.encoder ? length : std::min({o.step, length - begin, x.rows() - begin % x.rows()});
    LK_REQUIRE(cache.grow(id, count), kInternal, "[bench reading] no room for {} tokens", count);
    const KvPages kv = cache.pages(id, 0);
    const auto tokens = static_cast<int32_t>(count);
    Scratch::Frame frame(context.scratch);
    auto* positions = frame.take<int32_t>(count);
    for (int64_t i = 0; i < count; ++i) positions[i] = static_cast<int32_t>(begin + i);
    const LayerStep step{.context = context,
                         .frame = frame,
                         .shape = shape,
                         .layer = 0,
                         .projections = projections,
                         .kv = {&kv, 1},
                         .counts = {&tokens, 1},
                         .positions = {positions, static_cast<size_t>(count)},
                         .inverse_frequency = layer.frequency(),
                         .rope_layout = {}};
    const Qkv qkv{.q = frame.take_f32({count, shape.heads, shape.head_dim}),
                  .k = frame.take_f32({count, shape.kv_heads, shape.head_dim}),
                  .v = frame.take_f32({count, shape.kv_heads, shape.head_dim})};
    const View out = frame.take_f32({count, shape.heads, shape.head_dim});
    const int64_t row = begin % x.rows();
    auto start = Clock::now();
    method.project(step, x.slice_rows(row, row + count), qkv);
    times.project += since(start), start = Clock::now();
    method.append(step, qkv);
    times.append += since(start), start = Clock::now();
    method.attend(step, qkv.q, method.select(step, qkv.q), out);
    times.attend += since(start);
    cache.evict(id, method.kept({.length = cache.length(id), .seen = cache.position(id), .count = tokens}));
  }
  cache.close(id);
  return times;
}

// One method at one length.
struct Subject {
  std::unique_ptr<Method> method;
  std::unique_ptr<KvCache> cache;
  std::vector<double> project, append, attend;
};

Subject make_subject(const BenchReadingOptions& o, const AttentionShape& shape, const std::string& spec,
                     int64_t length) {
  Subject s{.method = make_method(parse_attention_spec(spec), {.shape = shape, .calibration = nullptr})};
  LK_REQUIRE(!o.encoder || s.method->bidirectional(), kInvalidArgument,
             "[bench reading] {}: reads only what came before a token, must read whole texts", spec);
  KvShape kv{.layers = 1,
             .kv_heads = shape.kv_heads,
             .head_dim = shape.head_dim,
             .dtype = o.kv_type,
             .max_tokens = length,
             .plane_bytes = {}};
  kv.plane_bytes = s.method->planes(shape, kv.dtype, kv.page_tokens);
  s.cache = std::make_unique<KvCache>(kv);
  return s;
}

}  // namespace

std::vector<BenchReadingResult> bench_reading(const Context& context, const BenchReadingOptions& o,
                                              const std::vector<std::string>& attention,
                                              const std::function<void(int done, int total)>& after_run) {
  check(o);
  Layer layer(context, o);
  const int64_t longest = *std::max_element(o.lengths.begin(), o.lengths.end());
  const int64_t width = layer.shape().width, rows = std::min(longest, o.encoder ? longest : kInputRows);
  std::vector<float> noise = inputs(std::min(rows, kInputRows), width);
  noise.reserve(static_cast<size_t>(rows * width));
  while (std::ssize(noise) < rows * width)
    noise.insert(noise.end(), noise.begin(),
                 noise.begin() + std::min(kInputRows * width, rows * width - std::ssize(noise)));
  const int total = static_cast<int>(o.lengths.size() * attention.size()) * (o.repetitions + 1);
  int done = 0;
  std::vector<BenchReadingResult> results;
  for (int64_t length : o.lengths) {
    std::vector<Subject> subjects;
    for (const std::string& spec : attention) subjects.push_back(make_subject(o, layer.shape(), spec, length));
    std::vector<double> rests;
    const View x = f32_view(noise.data(), {o.encoder ? length : rows, width});
    const int64_t part = std::min(o.step, length);
    // The first round only warms up, its pages being touched for the first time. In a long prompt that is no part of
    // the time, nor in the first method's of a long text: what the others are compared with is slow there.
    for (int i = 0; i <= o.repetitions; ++i) {
      const double rest = layer.rest(context, part) * static_cast<double>(length) / static_cast<double>(part);
      if (i > 0) rests.push_back(rest);
      for (Subject& s : subjects) {
        ++done;
        if (i == 0 && length > kInputRows && (!o.encoder || &s == &subjects.front())) continue;
        const Times t = read_text(context, o, layer, *s.method, *s.cache, x, length);
        after_run(done, total);
        if (i > 0) s.project.push_back(t.project), s.append.push_back(t.append), s.attend.push_back(t.attend);
      }
    }
    for (size_t m = 0; m < subjects.size(); ++m) {
      const Subject& s = subjects[m];
      BenchReadingResult r{.attention = attention[m],
                           .length = length,
                           .project = spread(s.project).median,
                           .append = spread(s.append).median,
                           .attend = spread(s.attend).median,
                           .rest = spread(rests).median,
                           .attention_seconds = {}};
      for (size_t i = 0; i < s.attend.size(); ++i) r.attention_seconds.push_back(s.append[i] + s.attend[i]);
      results.push_back(std::move(r));
    }
  }
  return results;
}

namespace {

struct Line {
  double slope, r2;
};
Line fit_line(const std::vector<double>& x, const std::vector<double>& y) {
  const auto n = static_cast<double>(x.size());
  double mean_x = 0, mean_y = 0, xx = 0, xy = 0, yy = 0;
  for (size_t i = 0; i < x.size(); ++i) mean_x += x[i] / n, mean_y += y[i] / n;
  for (size_t i = 0; i < x.size(); ++i) {
    const double dx = x[i] - mean_x, dy = y[i] - mean_y;
    xx += dx * dx, xy += dx * dy, yy += dy * dy;
  }
  return {xy / xx, yy > 0 ? xy * xy / (xx * yy) : 1};
}

}  // namespace

Growth growth(const std::vector<double>& x, const std::vector<double>& y) {
  LK_REQUIRE(x.size() == y.size() && x.size() >= 2, kInvalidArgument,
             "[growth] {} and {} points, must be 2 and as many", x.size(), y.size());
  const auto logs = [](std::vector<double> values) {
    for (double& v : values) v = std::log(v);
    return values;
  };
  return {.exponent = fit_line(logs(x), logs(y)).slope, .r2 = fit_line(x, y).r2};
}

}  // namespace lowkey
