#include "attention/atp.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "attention/atp_centroids.h"
#include "attention/atp_factor.h"
#include "attention/atp_linear.h"
#include "attention/atp_softmax.h"
#include "attention/spec.h"
#include "base/error.h"
#include "ops/attention_prefill.h"

namespace lowkey {
namespace {

constexpr int64_t kFloatsTogether = 1024;  // of inputs, moved by a thread

LinearLayers read_linear(const Settings& settings, bool possible) {
  const std::string word = settings.choice("linear", {"auto", "on", "off"});
  if (word == "off" || !possible) {
    if (word == "on") settings.refuse("linear", "auto or off, but for form=softmax in encoders with sink=0 and min=0");
    return LinearLayers::kOff;
  }
  return word == "on" ? LinearLayers::kOn : LinearLayers::kAuto;
}

AtpRank read_rank(const Settings& settings, AtpRank fallback) {
  const std::string text = settings.text("r");
  if (text == "entropy") return {.amount = part(1), .energy = 0, .entropy = true};
  if (!text.ends_with('e')) return {.amount = settings.amount("r", fallback.amount)};
  double share = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size() - 1, share);
  if (error != std::errc() || end != text.data() + text.size() - 1 || !(share > 0 && share <= 1))
    settings.refuse("r", "a part of the width (1/4), a count, a share of the energy (0.99e), or entropy");
  return {.amount = part(1), .energy = share};
}

}  // namespace

std::unique_ptr<Method> Atp::make(const AttentionSpec& spec, const MethodInputs& inputs) {
  constexpr int64_t kMost = int64_t{1} << 31;
  const Settings settings(spec);
  const std::string form = settings.choice("form", {"factor", "centroids", "softmax", "linear"});
  AtpOptions o{.width = inputs.shape.width, .causal = inputs.shape.causal};
  if (!o.causal) o.sink = 0, o.min = 0;
  o.rank = read_rank(settings, o.rank);
  o.sink = settings.integer("sink", o.sink, 0, kMost);
  o.recent = settings.integer("recent", o.recent, 1, kMost);
  o.chunk = settings.integer("chunk", o.chunk, 1, kMost);
  o.min = settings.integer("min", o.min, 0, kMost);
  o.linear = read_linear(settings, form == "softmax" && !o.causal && o.sink == 0 && o.min == 0);
  for (const char* key : {"basis", "bits"})
    LK_REQUIRE(form == "factor" || !settings.has(key), kInvalidArgument, "[atp] form={} has no {}: only factor has",
               form, key);
  const std::string bits = settings.choice("bits", {"16", "8", "4"});
  o.bits = bits == "16" ? 16 : bits == "8" ? 8 : 4;
  LK_REQUIRE(form == "centroids" || !settings.has("within"), kInvalidArgument,
             "[atp] form={} has no clusters, so nothing within them", form);
  if (form == "factor")
    return std::make_unique<AtpFactor>(o, inputs.shape, settings.choice("basis", {"output", "energy"}) == "output");
  if (form == "centroids")
    return std::make_unique<AtpCentroids>(o, settings.choice("within", {"direction", "mean"}) == "direction");
  if (form == "linear") {
    LK_REQUIRE(!settings.has("r"), kInvalidArgument,
               "[atp] form=linear has no r: what it keeps of a head is [D, D] whatever the rank");
    return std::make_unique<AtpLinear>(o);
  }
  LK_REQUIRE(o.rank.energy == 0 && !o.rank.entropy, kInvalidArgument,
             "[atp] form=softmax: r={}, must be a count of keys or a part of the width", settings.text("r"));
  return std::make_unique<AtpSoftmax>(o);
}

int64_t Atp::rank(int64_t tokens) const noexcept {
  const int64_t wanted = options_.rank.amount.of(options_.causal ? options_.width : tokens);
  return std::min({wanted, options_.width, tokens});
}

int64_t Atp::due(int64_t length) const noexcept {
  const int64_t old = length - options_.sink - options_.recent;
  return length < options_.min || old < options_.chunk ? 0 : options_.sink + old / options_.chunk * options_.chunk;
}

std::vector<int64_t> Atp::planes(const AttentionShape& shape, DType kv_type, int page_tokens) const {
  require_float_cache("atp", kv_type);
  return {PlaneRows::page_bytes(page_tokens, shape.kv_heads, input_floats(shape.width))};
}

void Atp::project(const LayerStep& step, View x, const Qkv& qkv) const {
  Method::project(step, x, qkv);
  const int64_t floats = input_floats(x.columns());
  if (floats == 0) return;
  int64_t row = 0;
  for (size_t b = 0; b < step.kv.size(); row += step.counts[b], ++b) {
    const KvPages& kv = step.kv[b];
    const PlaneRows inputs{kv, kAtpInputs, floats, kv.page_tokens};
    for (int32_t i = 0; i < step.counts[b]; ++i)
      std::copy_n(x.f32_row(row + i), x.columns(), inputs.row(kv.length - step.counts[b] + i));
  }
}

// In pieces between the places where tokens are shortened.
void Atp::attend(const LayerStep& step, View q, const Selection& selection, View out) const {
  if (!step.projections.k) return Method::attend(step, q, selection, out);  // no model, so no inputs
  if (!step.shape.causal) return read_texts(step, q, out);
  int64_t row = 0;
  for (size_t b = 0; b < step.kv.size(); ++b) {
    const int64_t first = step.positions[static_cast<size_t>(row)], count = step.counts[b];
    int64_t done = due(first);
    for (int64_t begin = 0, end; begin < count; begin = end) {
      const int64_t wanted = due(first + begin + 1);
      if (wanted > done) shorten(step, {step.kv[b], done, wanted, first + count});
      done = wanted;
      for (end = begin + 1; end < count && due(first + end + 1) == done;) ++end;
      KvPages kv = step.kv[b];
      kv.length = rows(first + end, done);
      const auto lists = selection.tokens.empty()
                             ? selection.tokens
                             : selection.tokens.subspan(static_cast<size_t>((row + begin) * kv.kv_heads),
                                                        static_cast<size_t>((end - begin) * kv.kv_heads));
      read(step, {kv, rows_of(q, row + begin, end - begin), rows_of(out, row + begin, end - begin), done, lists});
    }
    row += count;
  }
}

void Atp::read_texts(const LayerStep& step, View q, View out) const {
  int64_t row = 0;
  for (size_t b = 0; b < step.kv.size(); ++b) {
    const int64_t count = step.counts[b];
    const int64_t end = count < options_.min || count <= options_.sink ? 0 : count;
    if (end > 0) shorten(step, {step.kv[b], 0, end, count});
    KvPages kv = step.kv[b];
    kv.length = rows(count, end);
    read(step, {kv, rows_of(q, row, count), rows_of(out, row, count), end});
    row += count;
  }
}

void Atp::read(const LayerStep& step, const Piece& piece) const {
  const float scale = step.shape.scale();
  if (piece.q.dim(0) > 1)
    return attention_prefill(
        step.context, {.q = piece.q, .kv = piece.kv, .scale = scale, .out = piece.out, .causal = step.shape.causal});
  attention_decode(step.context, {piece.q, {&piece.kv, 1}, {}, scale, piece.out});
}

void Atp::close_rows(const LayerStep& step, const KvPages& kv, int64_t from, int64_t to, int64_t last) const {
  const int64_t floats = input_floats(step.shape.width);
  const PlaneRows inputs{kv, kAtpInputs, floats, kv.page_tokens};
  step.context.threads.split(kv.kv_heads, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t head = begin; head < end; ++head)
      for (int64_t i = 0; i < last - from; ++i) move_row(step, kv, static_cast<int>(head), from + i, to + i);
  });
  step.context.threads.split(floats, kFloatsTogether, [&](int64_t begin, int64_t end, int) {  // columns, rows in order
    for (int64_t i = 0; i < last - from; ++i)
      std::copy_n(inputs.row(from + i) + begin, end - begin, inputs.row(to + i) + begin);
  });
}

int64_t PlaneRows::page_bytes(int64_t page_rows, int kv_heads, int64_t floats) noexcept {
  return (page_rows + kv_heads - 1) / kv_heads * floats * static_cast<int64_t>(sizeof(float));
}

float* PlaneRows::row(int64_t i) const noexcept {
  const int64_t within = i % page_rows;
  auto* page = reinterpret_cast<float*>(kv.plane_page(plane, static_cast<int>(within % kv.kv_heads), i / page_rows));
  return page + within / kv.kv_heads * floats;
}

}  // namespace lowkey
