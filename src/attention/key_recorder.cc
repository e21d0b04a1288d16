// KeyRecorder: sums of products over the tokens of a step in f32, by ops/matmul, added up in f64. Keys are taken about
// a pivot (the mean of a head's first step), so that the large mean of some coordinates costs no digits.
#include <algorithm>

#include "attention/key_statistics.h"
#include "base/error.h"
#include "base/half.h"
#include "ops/matmul.h"

namespace lowkey {
namespace {

struct Sums {
  std::vector<float> pivot;      // [D]; empty before the first step
  std::vector<double> first;     // [D] of x - pivot
  std::vector<double> products;  // [D, D] of (x - pivot) (x - pivot)^T
};

struct Head {
  Sums pre, post, query;
  std::vector<uint16_t> sample;  // [n, D] f16
};

// Some of the rows of x, [T, H, D]: those of `heads` neighbouring heads from row `begin` on.
struct Rows {
  View x;
  int64_t first_head, heads, begin;
  int64_t count() const { return x.dim(0) - begin; }
  const float* row(int64_t i, int64_t head) const {
    return x.f32() + ((begin + i) * x.dim(1) + first_head + head) * x.dim(2);
  }
};

std::vector<float> mean_of(const Rows& rows) {
  std::vector<double> sum(static_cast<size_t>(rows.x.dim(2)), 0.0);
  for (int64_t i = 0; i < rows.count(); ++i)
    for (size_t d = 0; d < sum.size(); ++d) sum[d] += rows.row(i, 0)[d];
  std::vector<float> mean;
  for (double s : sum) mean.push_back(static_cast<float>(s / static_cast<double>(rows.count())));
  return mean;
}

void add_rows(const Context& context, const Rows& rows, Sums& sums) {
  const int64_t dims = rows.x.dim(2), count = rows.count(), columns = rows.heads * count;
  Scratch::Frame frame(context.scratch);
  const View transposed = frame.take_f32({dims, columns}), product = frame.take_f32({dims, dims});
  constexpr int64_t kGrain = 16;
  context.threads.split(count, kGrain, [&](int64_t begin, int64_t end, int) {
    for (int64_t head = 0; head < rows.heads; ++head)
      for (int64_t i = begin; i < end; ++i)
        for (int64_t d = 0; d < dims; ++d)
          transposed.f32_row(d)[head * count + i] = rows.row(i, head)[d] - sums.pivot[static_cast<size_t>(d)];
  });
  matmul(context, {transposed, transposed, product});
  for (int64_t d = 0; d < dims; ++d)
    for (int64_t c = 0; c < columns; ++c) sums.first[static_cast<size_t>(d)] += transposed.f32_row(d)[c];
  for (int64_t i = 0; i < dims * dims; ++i) sums.products[static_cast<size_t>(i)] += product.f32()[i];
}

void begin_sums(Sums& sums, std::vector<float> pivot) {
  sums.first.assign(pivot.size(), 0.0);
  sums.products.assign(pivot.size() * pivot.size(), 0.0);
  sums.pivot = std::move(pivot);
}

// Appends the mean, the covariance (about the mean) or second moment (about zero) of n rows, in the half layout.
void append_moments(const Sums& sums, int64_t n, RopeLayout layout, std::vector<double>* mean,
                    std::vector<double>& moment) {
  const size_t dims = sums.pivot.size();
  const auto count = static_cast<double>(n);
  for (size_t i = 0; i < dims; ++i) {
    const size_t from = half_place(i, dims, layout);
    if (mean != nullptr) mean->push_back(sums.pivot[from] + sums.first[from] / count);
    for (size_t j = 0; j < dims; ++j) {
      const size_t other = half_place(j, dims, layout);
      const double about_zero = sums.products[from * dims + other] / count;
      moment.push_back(mean == nullptr ? about_zero
                                       : about_zero - sums.first[from] / count * (sums.first[other] / count));
    }
  }
}

}  // namespace

struct KeyRecorder::State {
  AttentionShape shape;
  RecordOptions options;
  int64_t every = 1;   // one key of so many is sampled
  int64_t tokens = 0;  // counted by the last layer
  int64_t end = 0;     // of the positions
  RopeLayout layout = RopeLayout::kHalf;
  std::vector<float> inverse_frequency;
  std::vector<Head> heads;  // [L, KH]

  Head& head(int layer, int64_t kv_head) {
    return heads[static_cast<size_t>(int64_t{layer} * shape.kv_heads + kv_head)];
  }

  // Rows of the step that are counted: all from here on.
  int64_t first_counted(const LayerStep& step) const {
    int64_t first = 0;
    while (first < static_cast<int64_t>(step.positions.size()) &&
           step.positions[static_cast<size_t>(first)] < options.first)
      ++first;
    return first;
  }

  void add_pre(const LayerStep& step, View k) {
    const int64_t first = first_counted(step);
    if (first == k.dim(0)) return;
    for (int64_t h = 0; h < shape.kv_heads; ++h) {
      const Rows rows{k, h, 1, first};
      Sums& sums = head(step.layer, h).pre;
      if (sums.pivot.empty()) begin_sums(sums, mean_of(rows));
      add_rows(step.context, rows, sums);
    }
  }

  void add_post(const LayerStep& step, const Qkv& qkv) {
    const int64_t first = first_counted(step), group = shape.heads / shape.kv_heads;
    if (first == qkv.k.dim(0)) return;
    for (int64_t h = 0; h < shape.kv_heads; ++h) {
      Head& to = head(step.layer, h);
      const Rows keys{qkv.k, h, 1, first}, queries{qkv.q, h * group, group, first};
      if (to.post.pivot.empty()) {
        begin_sums(to.post, mean_of(keys));
        begin_sums(to.query, std::vector<float>(static_cast<size_t>(shape.head_dim), 0.0f));
      }
      add_rows(step.context, keys, to.post);
      add_rows(step.context, queries, to.query);
      add_sample(keys, to.sample);
    }
    layout = step.rope_layout;
    end = std::max<int64_t>(end, step.positions.back() + 1);
    const View f = step.inverse_frequency;
    inverse_frequency.assign(1, 0.f);  // without RoPE: a pair that stays
    if (f) inverse_frequency.assign(f.f32(), f.f32() + f.columns());
    if (step.layer == shape.layers - 1) tokens += qkv.k.dim(0) - first;
  }

  void add_sample(const Rows& keys, std::vector<uint16_t>& sample) const {
    const auto dims = static_cast<size_t>(shape.head_dim);
    for (int64_t i = 0; i < keys.count(); ++i) {
      if ((tokens + i) % every != 0 || static_cast<int64_t>(sample.size() / dims) == options.sample) continue;
      for (size_t d = 0; d < dims; ++d) sample.push_back(f32_to_f16(keys.row(i, 0)[d]));
    }
  }
};

KeyRecorder::KeyRecorder(const AttentionShape& shape, const RecordOptions& options)
    : state_(std::make_unique<State>()) {
  LK_REQUIRE(options.tokens >= 1 && options.sample >= 0 && options.first >= 0, kInvalidArgument,
             "[record] tokens={} sample={} first={}, must be >= 1, >= 0, >= 0", options.tokens, options.sample,
             options.first);
  state_->shape = shape;
  state_->options = options;
  if (options.sample > 0) state_->every = (options.tokens + options.sample - 1) / options.sample;
  state_->heads.resize(static_cast<size_t>(int64_t{shape.layers} * shape.kv_heads));
}

KeyRecorder::~KeyRecorder() = default;

void KeyRecorder::project(const LayerStep& step, View x, const Qkv& qkv) const {
  LK_REQUIRE(step.kv.size() == 1, kInvalidArgument, "[record] {} sequences in a step, must be 1", step.kv.size());
  project_unrotated(step, x, qkv);
  state_->add_pre(step, qkv.k);
  for (View rotated : {qkv.q, qkv.k}) rotate(step, rotated, step.positions);
  state_->add_post(step, qkv);
}

int64_t KeyRecorder::tokens() const noexcept { return state_->tokens; }

KeyStatistics KeyRecorder::statistics() const {
  const AttentionShape& shape = state_->shape;
  const int64_t tokens = state_->tokens;
  LK_REQUIRE(tokens > 0, kInvalidArgument, "[record] no token was counted, the text is too short");
  KeyStatistics all{.layers = shape.layers, .kv_heads = shape.kv_heads, .head_dim = shape.head_dim, .tokens = tokens};
  all.first = state_->options.first, all.end = state_->end;
  all.inverse_frequency = state_->inverse_frequency;
  const auto dims = static_cast<size_t>(shape.head_dim);
  all.sample_size = static_cast<int64_t>(state_->heads[0].sample.size() / dims);
  for (const Head& head : state_->heads) {
    append_moments(head.pre, tokens, state_->layout, &all.pre_mean, all.pre_covariance);
    append_moments(head.post, tokens, state_->layout, &all.post_mean, all.post_covariance);
    append_moments(head.query, tokens * (shape.heads / shape.kv_heads), state_->layout, nullptr, all.query_moment);
    for (size_t i = 0; i < head.sample.size(); ++i)
      all.sample.push_back(head.sample[i / dims * dims + half_place(i % dims, dims, state_->layout)]);
  }
  return all;
}

}  // namespace lowkey
