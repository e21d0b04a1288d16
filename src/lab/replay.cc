#include "lab/replay.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "attention/dense.h"
#include "base/error.h"
#include "ops/quantize.h"
#include "ops/ref/kv_value.h"

namespace lowkey {

Branch Branch::copy() const {
  Branch twin(cache.shape());
  const int64_t length = cache.length(sequence);
  LK_REQUIRE(twin.cache.grow(twin.sequence, cache.position(sequence)), kInternal, "[replay] {} tokens do not fit",
             cache.position(sequence));
  twin.cache.evict(twin.sequence, length);  // positions go on where the original's do
  for (int layer = 0; layer < cache.shape().layers; ++layer) {
    const KvPages from = cache.pages(sequence, layer), to = twin.cache.pages(twin.sequence, layer);
    const int64_t pages = (length + from.page_tokens - 1) / from.page_tokens;
    for (int head = 0; head < from.kv_heads; ++head) {
      for (int64_t page = 0; page < pages; ++page) {
        std::memcpy(to.page(head, page), from.page(head, page), static_cast<size_t>(from.page_bytes()));
        for (int plane = 0; plane < static_cast<int>(cache.shape().plane_bytes.size()); ++plane)
          std::memcpy(to.plane_page(plane, head, page), from.plane_page(plane, head, page),
                      static_cast<size_t>(from.planes[static_cast<size_t>(plane)].page_bytes));
      }
    }
  }
  return twin;
}

void advance(const Context& context, const Model& model, const Method& method, Branch& branch,
             std::span<const int32_t> tokens, View logits) {
  const auto count = static_cast<int64_t>(tokens.size());
  LK_REQUIRE(branch.cache.grow(branch.sequence, count), kInvalidArgument, "[replay] no room for {} more tokens", count);
  std::vector<int32_t> rows(static_cast<size_t>(logits.rows()));
  std::iota(rows.begin(), rows.end(), static_cast<int32_t>(count - logits.rows()));
  const StepSequence sequence{branch.sequence, static_cast<int32_t>(count)};
  model.forward(context, method, branch.cache, {tokens, {&sequence, 1}, rows, logits});
}

KvShape DensePrefix::shape(int64_t tokens) const { return kv_shape(model_.shape(), Dense(), kv_type_, tokens); }

bool DensePrefix::read(std::span<const int32_t> tokens, const std::function<bool(int64_t)>& after_chunk) {
  tokens_.assign(tokens.begin(), tokens.end());
  branch_ = Branch(shape(std::max<int64_t>(static_cast<int64_t>(tokens.size()), 1)));
  for (size_t begin = 0; begin < tokens_.size();) {
    const size_t count = std::min(static_cast<size_t>(chunk_), tokens_.size() - begin);
    advance(context_, model_, Dense(), branch_, tokens.subspan(begin, count), {});
    begin += count;
    if (!after_chunk(static_cast<int64_t>(begin))) return false;
  }
  return true;
}

Branch DensePrefix::fork(const Method& method, int64_t room) const {
  Branch branch(kv_shape(model_.shape(), method, kv_type_, static_cast<int64_t>(tokens_.size()) + room));
  const int64_t replayed = method.replayable(static_cast<int64_t>(tokens_.size()));
  replay(method, replayed, branch);
  const std::span<const int32_t> tokens(tokens_);
  for (auto begin = static_cast<size_t>(replayed); begin < tokens.size(); begin += static_cast<size_t>(chunk_))
    advance(context_, model_, method, branch,
            tokens.subspan(begin, std::min(static_cast<size_t>(chunk_), tokens.size() - begin)), {});
  return branch;
}

namespace {

// Tokens [begin, begin + T) of one layer as f32, exactly: k, v [T, KH, D].
void read_rows(const Context& context, const KvPages& kv, int64_t begin, View k, View v) {
  const int64_t heads = kv.kv_heads, dim = kv.head_dim, half = kv.value_offset();
  context.threads.split(k.dim(0), 16, [&](int64_t first, int64_t end, int) {
    for (int64_t i = first; i < end; ++i) {
      for (int head = 0; head < heads; ++head) {
        const std::byte* row = kv.token(head, begin + i);
        if (has_scales(kv.dtype)) {
          for (int64_t d = 0; d < dim; ++d) {
            k.f32_row(i * heads + head)[d] = ref::kv_value(kv, row, d);
            v.f32_row(i * heads + head)[d] = ref::kv_value(kv, row, dim + d);
          }
          continue;
        }
        dequantize_row(kv.dtype, row, k.f32_row(i * heads + head), dim);
        dequantize_row(kv.dtype, row + half, v.f32_row(i * heads + head), dim);
      }
    }
  });
}

}  // namespace

// The steps of a forward pass, as far as append() sees them.
void DensePrefix::replay(const Method& method, int64_t tokens, Branch& branch) const {
  const AttentionShape& shape = model_.shape().attention;
  const Projections none;
  std::vector<int32_t> positions(static_cast<size_t>(chunk_));
  for (int64_t begin = 0; begin < tokens;) {
    const auto count = static_cast<int32_t>(std::min<int64_t>(chunk_, tokens - begin));
    LK_REQUIRE(branch.cache.grow(branch.sequence, count), kInternal, "[replay] the cache is full");
    std::iota(positions.begin(), positions.end(), static_cast<int32_t>(begin));
    for (int layer = 0; layer < shape.layers; ++layer) {
      Scratch::Frame frame(context_.scratch);
      const Qkv qkv{.q = {},
                    .k = frame.take_f32({count, shape.kv_heads, shape.head_dim}),
                    .v = frame.take_f32({count, shape.kv_heads, shape.head_dim})};
      read_rows(context_, branch_.cache.pages(branch_.sequence, layer), begin, qkv.k, qkv.v);
      const KvPages kv = branch.cache.pages(branch.sequence, layer);
      method.append({.context = context_,
                     .frame = frame,
                     .shape = shape,
                     .layer = layer,
                     .projections = none,
                     .kv = {&kv, 1},
                     .counts = {&count, 1},
                     .positions = {positions.data(), static_cast<size_t>(count)},
                     .inverse_frequency = {},
                     .rope_layout = shape.rope_layout},
                    qkv);
    }
    begin += count;
  }
}

}  // namespace lowkey
