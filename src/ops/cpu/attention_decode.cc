// The door of attention_decode and the sharing of its work: every (sequence, KV head) is cut into runs of tokens
// (decode_chunk.h), the threads take runs one at a time, and who finishes the last run of a pair merges them all.
#include "ops/attention_decode.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "ops/check_kv.h"
#include "ops/cpu/decode_chunk.h"

namespace lowkey {
namespace {

void check_lists(const AttentionDecodeArgs& a) {
  if (a.tokens.empty() || a.kv.empty()) return;
  const auto kv_heads = static_cast<size_t>(a.kv[0].kv_heads), query_heads = static_cast<size_t>(a.q.dim(1));
  LK_REQUIRE(a.tokens.size() == a.kv.size() * kv_heads || a.tokens.size() == a.kv.size() * query_heads,
             kInvalidArgument, "[attention_decode] {} token lists for {} sequences of {} KV heads and {} query heads",
             a.tokens.size(), a.kv.size(), kv_heads, query_heads);
  const size_t heads = a.tokens.size() / a.kv.size();
  for (size_t i = 0; i < a.tokens.size(); ++i) {
    const TokenList& list = a.tokens[i];
    if (list.ids == nullptr) continue;
    const int64_t length = a.kv[i / heads].length;
    LK_REQUIRE(list.count >= 1 && list.count <= length, kInvalidArgument,
               "[attention_decode] {} listed tokens, must be 1 to {} (sequence {})", list.count, length, i / heads);
    LK_REQUIRE(list.ids[0] >= 0 && list.ids[list.count - 1] < length, kInvalidArgument,
               "[attention_decode] listed tokens {} to {}, must lie in [0, {}) (sequence {})", list.ids[0],
               list.ids[list.count - 1], length, i / heads);
  }
}

void check(const AttentionDecodeArgs& a) {
  LK_REQUIRE(a.q.rank == 3 && a.q.dtype == DType::kF32 && a.q.dim(0) == static_cast<int64_t>(a.kv.size()),
             kInvalidArgument, "[attention_decode] q={}, must be f32 [{}, H, D]", a.q.describe(), a.kv.size());
  LK_REQUIRE(a.out.dtype == DType::kF32 && a.out.rank == 3 && a.out.shape == a.q.shape, kInvalidArgument,
             "[attention_decode] out={}, must be shaped as q={}", a.out.describe(), a.q.describe());
  for (const KvPages& kv : a.kv) {
    check_kv("attention_decode", kv);
    LK_REQUIRE(kv.head_dim == a.q.dim(2) && a.q.dim(1) % kv.kv_heads == 0, kInvalidArgument,
               "[attention_decode] q={} against {} KV heads of {}", a.q.describe(), kv.kv_heads, kv.head_dim);
    LK_REQUIRE(kv.kv_heads == a.kv[0].kv_heads && kv.dtype == a.kv[0].dtype, kInvalidArgument,
               "[attention_decode] caches of different shape or type in one batch");
  }
  LK_REQUIRE(a.window >= 0 && a.cap >= 0, kInvalidArgument, "[attention_decode] window={} cap={}, must be >= 0",
             a.window, a.cap);
  check_lists(a);
}

// The work of one call, for each pair of a sequence and a set of query heads that read the same tokens of the same KV
// head: a KV head's whole group, or one head each. The runs of pair p are [first_run[p], first_run[p + 1]).
class Plan {
 public:
  Plan(const AttentionDecodeArgs& a, Scratch::Frame& frame) : a_(a) {
    const auto sequences = static_cast<int64_t>(a.kv.size());
    lists_ = a.tokens.empty() ? a.kv[0].kv_heads : static_cast<int64_t>(a.tokens.size()) / sequences;
    lists_per_head_ = lists_ / a.kv[0].kv_heads;
    dim_ = a.q.dim(2);
    group_ = a.q.dim(1) / lists_;
    pairs_ = sequences * lists_;
    first_run_ = frame.take<int64_t>(pairs_ + 1);
    pending_ = frame.take<int32_t>(pairs_);
    first_run_[0] = 0;
    for (int64_t p = 0; p < pairs_; ++p) {
      const int64_t count = this->count(p), run = decode_run(count);
      pending_[p] = static_cast<int32_t>((count + run - 1) / run);
      first_run_[p + 1] = first_run_[p] + pending_[p];
    }
    q_ = frame.take<float>(a.q.elements());
    const float scale = a.scale * std::numbers::log2e_v<float>;  // the kernels' exponentials are powers of two
    for (int64_t i = 0; i < a.q.elements(); ++i) q_[i] = a.q.f32()[i] * scale;
    states_ = frame.take<float>(runs() * group_ * state_floats(dim_));
  }

  int64_t runs() const noexcept { return first_run_[pairs_]; }

  void attend(int64_t run) const noexcept {
    const int64_t pair = std::upper_bound(first_run_, first_run_ + pairs_ + 1, run) - first_run_ - 1;
    const int64_t count = this->count(pair), length = decode_run(count);
    const int64_t begin = (run - first_run_[pair]) * length, first = this->first(pair);
    decode_chunk({.kv = &a_.kv[static_cast<size_t>(pair / lists_)],
                  .head = static_cast<int>(pair % lists_ / lists_per_head_),
                  .ids = a_.tokens.empty() ? nullptr : a_.tokens[static_cast<size_t>(pair)].ids,
                  .begin = first + begin,
                  .end = first + std::min(begin + length, count),
                  .q = q_ + pair * group_ * dim_,
                  .group = static_cast<int>(group_),
                  .cap = a_.cap * std::numbers::log2e_v<float>,
                  .state = state(run, 0)});
    if (std::atomic_ref(pending_[pair]).fetch_sub(1, std::memory_order_acq_rel) == 1)
      for (int64_t g = 0; g < group_; ++g) merge(pair, g);
  }

 private:
  bool listed(int64_t pair) const noexcept {
    return !a_.tokens.empty() && a_.tokens[static_cast<size_t>(pair)].ids != nullptr;
  }
  int64_t length(int64_t pair) const noexcept { return a_.kv[static_cast<size_t>(pair / lists_)].length; }
  int64_t count(int64_t pair) const noexcept {
    if (listed(pair)) return a_.tokens[static_cast<size_t>(pair)].count;
    return a_.window > 0 ? std::min(a_.window, length(pair)) : length(pair);
  }
  // The first token of those that are read without a list.
  int64_t first(int64_t pair) const noexcept { return listed(pair) ? 0 : length(pair) - count(pair); }

  float* state(int64_t run, int64_t g) const noexcept { return states_ + (run * group_ + g) * state_floats(dim_); }

  // The runs of a pair, in their order, into the row of one query head.
  void merge(int64_t pair, int64_t g) const noexcept {
    const int64_t begin = first_run_[pair], end = first_run_[pair + 1];
    float* out = a_.out.f32() + (pair * group_ + g) * dim_;
    float max = state(begin, g)[dim_], total = 0;
    for (int64_t run = begin + 1; run < end; ++run) max = std::max(max, state(run, g)[dim_]);
    std::fill_n(out, dim_, 0.f);
    for (int64_t run = begin; run < end; ++run) {
      const float* partial = state(run, g);
      const float weight = std::exp2(partial[dim_] - max);
      total += weight * partial[dim_ + 1];
      for (int64_t i = 0; i < dim_; ++i) out[i] += weight * partial[i];
    }
    const float inverse = 1.f / total;
    for (int64_t i = 0; i < dim_; ++i) out[i] *= inverse;
  }

  const AttentionDecodeArgs& a_;
  int64_t lists_, lists_per_head_;  // of a sequence, of a KV head
  int64_t dim_, group_, pairs_;
  int64_t* first_run_;  // [pairs + 1]
  int32_t* pending_;    // [pairs], runs not finished yet
  float* q_;            // [B, H, D], scaled
  float* states_;       // [runs, G, state_floats(D)]
};

}  // namespace

void attention_decode(const Context& context, const AttentionDecodeArgs& a) {
  check(a);
  if (a.kv.empty()) return;
  Scratch::Frame frame(context.scratch);
  const Plan plan(a, frame);
  if (plan.runs() == 1) return plan.attend(0);
  context.threads.dynamic(plan.runs(), [&](int64_t run, int) { plan.attend(run); });
}

}  // namespace lowkey
