// The forms of atp against their formulas in f64, on one layer with weights of its own.
#include "attention/atp.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "attention/atp_metric.h"
#include "attention/calibration_cases.h"
#include "attention/spec.h"
#include "kv/cache.h"
#include "linalg/cluster_rows.h"
#include "linalg/orthonormal_rows.h"
#include "linalg/truncated_svd.h"

namespace lowkey {
namespace {

constexpr int kHeads = 4, kKvHeads = 2, kDim = 16, kWidth = 24, kTokens = 200;
constexpr int kSink = 2, kRecent = 10;
constexpr double kEps = std::numeric_limits<float>::epsilon();
using Floats = std::vector<float>;

Floats noise(int64_t count, unsigned seed, float scale) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  Floats x(static_cast<size_t>(count));
  for (float& value : x) value = normal(random);
  return x;
}

std::shared_ptr<const Calibration> calibration() {
  static const auto fitted = std::make_shared<const Calibration>(fit_world(KeyWorld(1, kKvHeads, kDim, 500), {}));
  return fitted;
}

// Inputs, and what the layer makes of them.
struct Layer {
  Floats x = noise(kTokens * kWidth, 1, 1), wq = noise(kHeads * kDim * kWidth, 2, 0.2f),
         wk = noise(kKvHeads * kDim * kWidth, 3, 0.2f), wv = noise(kKvHeads * kDim * kWidth, 4, 0.2f),
         bk = noise(kKvHeads * kDim, 5, 0.2f), bv = noise(kKvHeads * kDim, 6, 0.2f),
         wo = noise(kWidth * kHeads * kDim, 7, 0.2f);
  Floats q = Floats(kTokens * kHeads * kDim), k = Floats(kTokens * kKvHeads * kDim), v = k, out = q;

  Layer() {
    for (size_t i = 0; i < x.size(); ++i) x[i] = x[i] * static_cast<float>(std::pow(0.9, i % kWidth)) + 0.3f;
  }

  Projections weights() {
    return {.q = f32_view(wq.data(), {kHeads * kDim, kWidth}),
            .k = f32_view(wk.data(), {kKvHeads * kDim, kWidth}),
            .v = f32_view(wv.data(), {kKvHeads * kDim, kWidth}),
            .k_bias = f32_view(bk.data(), {kKvHeads * kDim}),
            .v_bias = f32_view(bv.data(), {kKvHeads * kDim}),
            .output = f32_view(wo.data(), {kWidth, kHeads * kDim})};
  }

  // Runs `spec` over the tokens, `chunk` a step; an encoder reads them at once.
  void encode(const std::string& spec) { run(spec, kTokens, false); }
  void run(const std::string& spec, int chunk, bool causal = true) {
    const AttentionShape shape{
        .layers = 1, .heads = kHeads, .kv_heads = kKvHeads, .head_dim = kDim, .width = kWidth, .causal = causal};
    const bool loki = spec.starts_with("loki");
    const auto method =
        make_method(parse_attention_spec(spec), {.shape = shape, .calibration = loki ? calibration() : nullptr});
    const int page_tokens = loki ? 64 : 32;
    const Context context(1);
    KvCache cache({.layers = 1,
                   .kv_heads = kKvHeads,
                   .head_dim = kDim,
                   .dtype = DType::kF32,
                   .page_tokens = page_tokens,
                   .max_tokens = 512,
                   .plane_bytes = method->planes(shape, DType::kF32, page_tokens)});
    const auto id = cache.open();
    Floats frequency(kDim / 2);
    for (size_t i = 0; i < frequency.size(); ++i) frequency[i] = static_cast<float>(std::pow(100, -2.0 * i / kDim));
    const Projections weights = this->weights();
    for (int32_t begin = 0; begin < kTokens; begin += chunk) {
      const int32_t count = std::min(chunk, kTokens - begin);
      ASSERT_TRUE(cache.grow(id, count));
      const KvPages kv = cache.pages(id, 0);
      std::vector<int32_t> positions;
      for (int32_t i = 0; i < count; ++i) positions.push_back(begin + i);
      Scratch::Frame frame(context.scratch);
      const LayerStep step{.context = context,
                           .frame = frame,
                           .shape = shape,
                           .layer = 0,
                           .projections = weights,
                           .kv = {&kv, 1},
                           .counts = {&count, 1},
                           .positions = positions,
                           .inverse_frequency = causal ? f32_view(frequency.data(), {kDim / 2}) : View{},
                           .rope_layout = RopeLayout::kHalf};
      const Qkv qkv{.q = f32_view(q.data() + begin * kHeads * kDim, {count, kHeads, kDim}),
                    .k = f32_view(k.data() + begin * kKvHeads * kDim, {count, kKvHeads, kDim}),
                    .v = f32_view(v.data() + begin * kKvHeads * kDim, {count, kKvHeads, kDim})};
      method->project(step, f32_view(x.data() + begin * kWidth, {count, kWidth}), qkv);
      method->append(step, qkv);
      method->attend(step, qkv.q, method->select(step, qkv.q),
                     f32_view(out.data() + begin * kHeads * kDim, {count, kHeads, kDim}));
      const int64_t seen = cache.position(id);
      cache.evict(id, method->kept({.length = cache.length(id), .seen = seen, .count = count}));
    }
  }

  const float* query(int t, int h) const { return q.data() + (t * kHeads + h) * kDim; }
  const float* key(int t, int h) const { return k.data() + (t * kKvHeads + h / (kHeads / kKvHeads)) * kDim; }
  const float* value(int t, int h) const { return v.data() + (t * kKvHeads + h / (kHeads / kKvHeads)) * kDim; }
};

// Things that share a softmax: each has a log weight and a value.
struct Softmax {
  std::vector<double> logs;
  std::vector<std::vector<double>> values;

  void add(double log, std::vector<double> value) { logs.push_back(log), values.push_back(std::move(value)); }
  std::vector<double> output() const {
    double norm = 0;
    for (double log : logs) norm += std::exp(log);
    std::vector<double> out(kDim, 0.0);
    for (size_t i = 0; i < logs.size(); ++i)
      for (size_t d = 0; d < kDim; ++d) out[d] += std::exp(logs[i]) / norm * values[i][d];
    return out;
  }
};

template <typename Q, typename K>
double score(const Q* query, const K* key) {
  double sum = 0;
  for (int d = 0; d < kDim; ++d) sum += double{query[d]} * key[d];
  return sum / std::sqrt(double{kDim});
}

int due(int length, int chunk) {
  const int old = length - kSink - kRecent;
  return old < chunk ? 0 : kSink + old / chunk * chunk;
}

// The exact tokens of row t.
void add_exact(const Layer& layer, int t, int h, int old_end, Softmax& s) {
  for (int i = 0; i <= t; ++i)
    if (i < kSink || i >= old_end)
      s.add(score(layer.query(t, h), layer.key(i, h)), {layer.value(i, h), layer.value(i, h) + kDim});
}

// Tokens [begin, end) in the first-order form: the mean over tokens of (1 + q . (k - mean k)) v.
void add_linear(const Layer& layer, int t, int h, int begin, int end, Softmax& s) {
  std::vector<double> mean_k(kDim, 0.0), value(kDim, 0.0);
  const double n = end - begin;
  for (int i = begin; i < end; ++i)
    for (int d = 0; d < kDim; ++d) mean_k[static_cast<size_t>(d)] += layer.key(i, h)[d] / n;
  const double centre = score(layer.query(t, h), mean_k.data());
  for (int i = begin; i < end; ++i)
    for (int d = 0; d < kDim; ++d)
      value[static_cast<size_t>(d)] +=
          (1 + score(layer.query(t, h), layer.key(i, h)) - centre) * layer.value(i, h)[d] / n;
  s.add(std::log(n) + centre, value);
}

// The principal keys of tokens [begin, begin + n), from the SVD of their inputs.
void add_principal(const Layer& layer, const LowRank& f, int t, int h, int begin, int n, Softmax& s) {
  for (int64_t r = 0; r < f.rank; ++r) {
    std::vector<double> key(kDim, 0.0), value(kDim, 0.0);
    for (int i = 0; i < n; ++i) {
      const double u = f.coefficients[static_cast<size_t>(i * f.rank + r)] / f.spectrum[static_cast<size_t>(r)];
      for (int d = 0; d < kDim; ++d) {
        key[static_cast<size_t>(d)] += u * layer.key(begin + i, h)[d] / std::sqrt(double(n));
        value[static_cast<size_t>(d)] += u * layer.value(begin + i, h)[d] / std::sqrt(double(n));
      }
    }
    s.add(score(layer.query(t, h), key.data()), value);
  }
}

void expect_outputs(const Layer& layer, double tolerance, auto&& expected) {
  for (int t = 0; t < kTokens; ++t)
    for (int h = 0; h < kHeads; ++h) {
      const std::vector<double> wanted = expected(t, h);
      for (int d = 0; d < kDim; ++d)
        ASSERT_NEAR(layer.out[static_cast<size_t>((t * kHeads + h) * kDim + d)], wanted[static_cast<size_t>(d)],
                    tolerance)
            << "row " << t << ", head " << h;
    }
}

// f32 sums over so many tokens, of values about 1.
constexpr double kRounding = 16 * kTokens * kEps;

TEST(AtpFactor, OfTheInputsRankIsDense) {
  Layer dense, factor;
  dense.run("dense", 50);
  factor.run("atp:r=all,min=0,sink=2,recent=10,chunk=20", 50);
  expect_outputs(factor, kRounding, [&](int t, int h) {
    const float* row = dense.out.data() + (t * kHeads + h) * kDim;
    return std::vector<double>(row, row + kDim);
  });
}

TEST(AtpFactor, WhatItLosesIsMeasuredWhereItIsTold) {
  // Of keys and values with few directions each form keeps the same; of these, the metric says which are lost.
  Layer dense, output, energy;
  dense.run("dense", 50);
  output.run("atp:r=8,min=0,sink=2,recent=10,chunk=60", 50);
  energy.run("atp:r=8,basis=energy,min=0,sink=2,recent=10,chunk=60", 50);
  const auto lost = [&](const Layer& layer) {
    double sum = 0;
    for (int t = 0; t < kTokens; ++t)
      for (int c = 0; c < kWidth; ++c) {
        double e = 0;
        for (int i = 0; i < kHeads * kDim; ++i)
          e += layer.wo[static_cast<size_t>(c * kHeads * kDim + i)] *
               (layer.out[static_cast<size_t>(t * kHeads * kDim + i)] -
                dense.out[static_cast<size_t>(t * kHeads * kDim + i)]);
        sum += e * e;
      }
    return sum;
  };
  EXPECT_GT(lost(output), 0);
  EXPECT_LT(lost(output), 0.9 * lost(energy));
}

TEST(LokiAtp, OfTheInputsRankIsLoki) {
  const std::string loki = "loki:index=bits:32,k=1/8,sink=2,recent=10,min=60,prefill=all";
  Layer chosen, both, dense;
  chosen.run(loki, 50);
  both.run(loki + "+atp:r=all,min=0,sink=2,recent=10,chunk=20", 37);
  dense.run("dense", 50);
  double error = 0;
  for (size_t i = 0; i < dense.out.size(); ++i) error = std::max(error, std::abs(double{chosen.out[i]} - dense.out[i]));
  EXPECT_GT(error, 100 * kRounding);
  expect_outputs(both, kRounding, [&](int t, int h) {
    const float* row = chosen.out.data() + (t * kHeads + h) * kDim;
    return std::vector<double>(row, row + kDim);
  });
}

TEST(AtpMetric, RootsAreEachOthersInverse) {
  Layer layer;
  layer.run("dense", kTokens);
  const Context context(1);
  Scratch::Frame frame(context.scratch);
  const AttentionShape shape{.layers = 1, .heads = kHeads, .kv_heads = kKvHeads, .head_dim = kDim, .width = kWidth};
  const Projections weights = layer.weights();
  const LayerStep step{.context = context,
                       .frame = frame,
                       .shape = shape,
                       .layer = 0,
                       .projections = weights,
                       .kv = {},
                       .counts = {},
                       .positions = {},
                       .inverse_frequency = {},
                       .rope_layout = RopeLayout::kHalf};
  constexpr int kNumbers = 2 * kKvHeads * kDim;
  Floats y;
  for (int t = 0; t < kTokens; ++t) {
    y.insert(y.end(), layer.key(t, 0), layer.key(t, 0) + kKvHeads * kDim);
    y.insert(y.end(), layer.value(t, 0), layer.value(t, 0) + kKvHeads * kDim);
  }
  const Floats mean(kNumbers, 0.f);
  const View rows = f32_view(y.data(), {kTokens, kNumbers});
  for (const MetricRoots& m : {output_metric(step, rows, mean.data()), equal_metric(step, rows, mean.data())}) {
    double size = 0;
    for (int block = 0; block < kNumbers; block += kDim) {
      const auto at = [&](const Floats& f, int i, int j) {
        return double{f[static_cast<size_t>(i * kNumbers + block + j)]};
      };
      for (int i = 0; i < kDim; ++i)
        for (int j = 0; j < kDim; ++j) {
          double product = 0;
          for (int k = 0; k < kDim; ++k) product += at(m.root, i, k) * at(m.inverse, k, j);
          EXPECT_NEAR(product, i == j, 1e4 * kEps);  // the condition of the root
        }
      for (int t = 0; t < kTokens; ++t)
        for (int i = 0; i < kDim; ++i) {
          double sum = 0;
          for (int j = 0; j < kDim; ++j) sum += at(m.root, i, j) * y[static_cast<size_t>(t * kNumbers + block + j)];
          size += sum * sum / kTokens;
        }
    }
    EXPECT_NEAR(size, kNumbers, 1e-3 * kNumbers);
  }
}

TEST(AtpCentroids, OfOneTokenEachIsDense) {
  Layer dense, one;
  dense.run("dense", 50);
  one.run("atp:form=centroids,r=all,min=0,sink=2,recent=10,chunk=20", 37);
  expect_outputs(one, kRounding, [&](int t, int h) {
    const float* row = dense.out.data() + (t * kHeads + h) * kDim;
    return std::vector<double>(row, row + kDim);
  });
}

TEST(AtpCentroids, OfTwoTokensWithTheirDirectionIsDense) {
  Layer dense, pairs, means;
  for (Layer* layer : {&dense, &pairs, &means})
    for (int t = 1; t < kTokens; t += 2)  // two tokens that are much alike
      for (int c = 0; c < kWidth; ++c) {
        float& x = layer->x[static_cast<size_t>(t * kWidth + c)];
        x = 0.2f * x + layer->x[static_cast<size_t>((t - 1) * kWidth + c)];
      }
  dense.encode("dense");  // without positions
  pairs.encode("atp:form=centroids,r=1/2,chunk=20");
  means.encode("atp:form=centroids,r=1/2,chunk=20,within=mean");
  double error = 0;
  for (size_t i = 0; i < dense.out.size(); ++i) error = std::max(error, std::abs(double{means.out[i]} - dense.out[i]));
  EXPECT_GT(error, 10 * kRounding);
  expect_outputs(pairs, 4 * kRounding, [&](int t, int h) {
    const float* row = dense.out.data() + (t * kHeads + h) * kDim;
    return std::vector<double>(row, row + kDim);
  });
}

TEST(AtpCentroids, CountWithTheLogarithmOfTheirTokens) {
  constexpr int kChunk = 30, kClusters = 6;
  Layer layer;
  layer.run("atp:form=centroids,r=6,within=mean,min=0,sink=2,recent=10,chunk=30", 41);
  const Context context(1);
  struct Cluster {
    double count = 0;
    std::vector<double> key = std::vector<double>(kDim), value = key;
  };
  std::vector<std::vector<Cluster>> clusters(kKvHeads);  // of all chunks, one after another
  for (int head = 0; head < kKvHeads; ++head)
    for (int begin = kSink; begin + kChunk <= kTokens; begin += kChunk) {
      Floats keys, centres(kClusters * kDim);
      std::vector<int32_t> codes(kChunk);
      const int query_head = head * (kHeads / kKvHeads);
      for (int t = begin; t < begin + kChunk; ++t)
        keys.insert(keys.end(), layer.key(t, query_head), layer.key(t, query_head) + kDim);
      cluster_rows(context, {.x = f32_view(keys.data(), {kChunk, kDim}),
                             .rounds = 8,
                             .centres = f32_view(centres.data(), {kClusters, kDim}),
                             .codes = codes});
      std::vector<Cluster> of_chunk(kClusters);
      for (int t = 0; t < kChunk; ++t) {
        Cluster& c = of_chunk[static_cast<size_t>(codes[static_cast<size_t>(t)])];
        ++c.count;
        for (size_t d = 0; d < kDim; ++d) {
          c.key[d] += layer.key(begin + t, query_head)[d];
          c.value[d] += layer.value(begin + t, query_head)[d];
        }
      }
      auto& all = clusters[static_cast<size_t>(head)];
      all.insert(all.end(), of_chunk.begin(), of_chunk.end());
    }
  expect_outputs(layer, 4 * kRounding, [&](int t, int h) {
    Softmax s;
    const int end = due(t + 1, kChunk);
    add_exact(layer, t, h, end, s);
    const int count = end == 0 ? 0 : (end - kSink) / kChunk * kClusters;
    for (int c = 0; c < count; ++c) {
      Cluster cluster = clusters[static_cast<size_t>(h / (kHeads / kKvHeads))][static_cast<size_t>(c)];
      for (double& x : cluster.key) x /= cluster.count;
      for (double& x : cluster.value) x /= cluster.count;
      s.add(std::log(cluster.count) + score(layer.query(t, h), cluster.key.data()), cluster.value);
    }
    return s.output();
  });
}

TEST(AtpLinear, IsTheCentredFirstOrderForm) {
  for (int chunk : {20, 64}) {
    Layer layer;
    layer.run("atp:form=linear,min=0,sink=2,recent=10,chunk=" + std::to_string(chunk), 37);
    expect_outputs(layer, kRounding, [&](int t, int h) {
      Softmax s;
      const int end = due(t + 1, chunk);
      add_exact(layer, t, h, end, s);
      if (end > 0) add_linear(layer, t, h, kSink, end, s);
      return s.output();
    });
  }
}

// The talk's (1 U + q K'^T) V', about the mean of keys, divided by its denominator n: from an orthonormal basis U [n,
// R] of all that the inputs and the constant span, turned by any rotation.
TEST(AtpLinear, IsTheSlidesFormInWhateverBasis) {
  constexpr int kSpan = kWidth + 1;
  Layer layer;
  layer.encode("atp:form=linear");
  Floats inputs;
  for (int t = 0; t < kTokens; ++t) {
    inputs.insert(inputs.end(), layer.x.begin() + t * kWidth, layer.x.begin() + (t + 1) * kWidth);
    inputs.push_back(1);
  }
  const LowRank f =
      truncated_svd(Context(1), f32_view(inputs.data(), {kTokens, kSpan}), {.way = SvdWay::kExact, .rank = kSpan});
  ASSERT_EQ(f.rank, kSpan);
  Floats rotation = noise(kSpan * kSpan, 8, 1), unit(kSpan * kSpan);
  ASSERT_EQ(orthonormal_rows(Context(1), f32_view(rotation.data(), {kSpan, kSpan})), kSpan);
  for (int i = 0; i < kSpan; ++i) unit[static_cast<size_t>(i * kSpan + i)] = 1;
  for (const Floats& turn : {unit, rotation}) {
    // u[r][t], and with it sum u, K' and V' of each head.
    std::vector<std::vector<double>> u(kSpan, std::vector<double>(kTokens));
    for (size_t r = 0; r < kSpan; ++r)
      for (size_t t = 0; t < kTokens; ++t)
        for (size_t j = 0; j < kSpan; ++j)
          u[r][t] += turn[r * kSpan + j] * f.coefficients[t * kSpan + j] / f.spectrum[j];
    expect_outputs(layer, 16 * kRounding, [&](int t, int h) {
      std::vector<double> mean(kDim, 0.0), out(kDim, 0.0);
      for (int i = 0; i < kTokens; ++i)
        for (int d = 0; d < kDim; ++d) mean[static_cast<size_t>(d)] += double{layer.key(i, h)[d]} / kTokens;
      for (size_t r = 0; r < kSpan; ++r) {
        double weight = 0;
        std::vector<double> value(kDim, 0.0);
        for (int i = 0; i < kTokens; ++i) {
          const double part = u[r][static_cast<size_t>(i)];
          weight += part * (1 + score(layer.query(t, h), layer.key(i, h)) - score(layer.query(t, h), mean.data()));
          for (int d = 0; d < kDim; ++d) value[static_cast<size_t>(d)] += part * layer.value(i, h)[d];
        }
        for (size_t d = 0; d < kDim; ++d) out[d] += weight * value[d] / kTokens;
      }
      return out;
    });
  }
}

TEST(AtpSoftmax, AttendsToPrincipalKeys) {
  constexpr int kChunk = 180, kRank = 6;  // one chunk only
  Layer layer;
  layer.run("atp:form=softmax,r=6,min=0,sink=2,recent=10,chunk=180", 199);
  const LowRank f = truncated_svd(Context(1), f32_view(layer.x.data() + kSink * kWidth, {kChunk, kWidth}),
                                  {.way = SvdWay::kBlock, .rank = kRank, .iterations = 1});
  expect_outputs(layer, 16 * kRounding, [&](int t, int h) {
    Softmax s;
    const int end = due(t + 1, kChunk);
    add_exact(layer, t, h, end, s);
    if (end > 0) add_principal(layer, f, t, h, kSink, kChunk, s);
    return s.output();
  });
}

TEST(AtpSoftmax, ChunksComeToTheSameAsOneFactor) {
  // With as many directions as the inputs have, what is kept of the old tokens is all that their SVD needs.
  Layer whole, pieces;
  whole.run("atp:form=softmax,r=24,min=0,sink=2,recent=10,chunk=180", 199);
  pieces.run("atp:form=softmax,r=24,min=0,sink=2,recent=10,chunk=30", 41);
  for (int h = 0; h < kHeads * kDim; ++h) {  // rows where both have shortened 180 tokens
    for (int t = 192; t < kTokens; ++t)
      EXPECT_NEAR(pieces.out[static_cast<size_t>(t * kHeads * kDim + h)],
                  whole.out[static_cast<size_t>(t * kHeads * kDim + h)], 64 * kRounding)
          << t;
  }
}

TEST(Atp, EncodersReadTheirWholeText) {
  Layer dense, factor, linear, softmax;
  dense.encode("dense");
  factor.encode("atp:r=all");
  expect_outputs(factor, kRounding, [&](int t, int h) {
    const float* row = dense.out.data() + (t * kHeads + h) * kDim;
    return std::vector<double>(row, row + kDim);
  });
  linear.encode("atp:form=linear");
  expect_outputs(linear, kRounding, [&](int t, int h) {
    Softmax s;
    add_linear(linear, t, h, 0, kTokens, s);
    return s.output();
  });
  softmax.encode("atp:form=softmax,r=1/20,linear=off");  // of the tokens
  const LowRank f =
      truncated_svd(Context(1), f32_view(softmax.x.data(), {kTokens, kWidth}), {.rank = kTokens / 20, .iterations = 1});
  expect_outputs(softmax, 16 * kRounding, [&](int t, int h) {
    Softmax s;
    add_principal(softmax, f, t, h, 0, kTokens, s);
    return s.output();
  });
  // So the last tokens reach the first rows, which no causal form allows (tests/atp_test.cc).
  for (const char* spec : {"atp:r=1/20", "atp:form=centroids,r=1/20", "atp:form=softmax,r=1/20", "atp:form=linear"}) {
    Layer before, after;
    std::fill(after.x.end() - kWidth, after.x.end(), 1.f);
    before.encode(spec), after.encode(spec);
    EXPECT_FALSE(std::equal(before.out.begin(), before.out.begin() + kHeads * kDim, after.out.begin())) << spec;
  }
  // With as many directions as the inputs have it is the same whether K' comes from X' or from the tokens' K.
  Layer from_tokens, from_factor;
  from_tokens.encode("atp:form=softmax,r=24,linear=off");
  from_factor.encode("atp:form=softmax,r=24,linear=on");
  expect_outputs(from_factor, 64 * kRounding, [&](int t, int h) {
    const float* row = from_tokens.out.data() + (t * kHeads + h) * kDim;
    return std::vector<double>(row, row + kDim);
  });
  Layer exact;
  exact.encode("atp:form=softmax,r=2,sink=200");  // nothing is left to shorten
  EXPECT_EQ(exact.out, dense.out);
}

}  // namespace
}  // namespace lowkey
