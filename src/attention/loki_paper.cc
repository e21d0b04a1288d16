#include "attention/loki_paper.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include "attention/calibration.h"
#include "attention/spec.h"
#include "base/error.h"
#include "linalg/basis.h"
#include "ops/rotate_heads.h"
#include "ops/score_keys.h"

namespace lowkey {
namespace {

// d of each layer: the same for all ("32"), or what any of its heads needs for a share of the variance ("0.9v").
std::vector<int> read_dims(const Settings& settings, const Calibration& calibration, const KeyBasis& basis) {
  const int dim = calibration.head_dim;
  const std::string text = settings.text("d");
  if (!text.ends_with('v'))
    return std::vector<int>(static_cast<size_t>(calibration.layers),
                            static_cast<int>(settings.integer("d", std::max(dim / 4, 1), 1, dim)));
  double share = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size() - 1, share);
  if (error != std::errc() || end != text.data() + text.size() - 1 || !(share > 0 && share <= 1))
    settings.refuse("d", fmt::format("1 to {}, or a share of the variance such as 0.9v", dim));
  std::vector<int> dims;
  for (int layer = 0; layer < calibration.layers; ++layer) {
    int most = 1;
    for (int head = 0; head < calibration.kv_heads; ++head) {
      const auto from = basis.spectrum.begin() + static_cast<int64_t>(calibration.head(layer, head)) * dim;
      most = std::max(most, rank_at(std::vector<double>(from, from + dim), share));
    }
    dims.push_back(most);
  }
  return dims;
}

// [L, KH, D, D] with the columns as the model's RoPE lays out coordinates.
std::vector<float> in_layout(const std::vector<float>& matrices, size_t dim, RopeLayout layout) {
  std::vector<float> placed(matrices.size());
  for (size_t i = 0; i < matrices.size(); ++i) placed[i / dim * dim + half_place(i % dim, dim, layout)] = matrices[i];
  return placed;
}

}  // namespace

std::unique_ptr<Method> LokiPaper::make(const AttentionSpec& spec, const MethodInputs& inputs) {
  const Settings settings(spec);
  for (const char* key : {"index", "basis", "p", "kmin"})
    LK_REQUIRE(!settings.has(key), kInvalidArgument, "[loki] form=paper has no setting '{}'", key);
  SelectiveOptions defaults{.k = part(0.25), .sink = 0, .recent = 0};
  defaults.per_query_head = true;
  const Calibration& calibration = *inputs.calibration;
  const BasisKind kind = settings.choice("rope", {"post", "pre"}) == "pre" ? BasisKind::kPre : BasisKind::kPost;
  const KeyBasis& basis = calibration.basis(kind);
  return std::make_unique<LokiPaper>(
      read_selective_options(settings, defaults), inputs.shape,
      in_layout(basis.key, static_cast<size_t>(calibration.head_dim), inputs.shape.rope_layout),
      read_dims(settings, calibration, basis));
}

LokiPaper::LokiPaper(const SelectiveOptions& options, const AttentionShape& shape, std::vector<float> rotations,
                     std::vector<int> dims)
    : Selective(options), shape_(shape), rotations_(std::move(rotations)), dims_(std::move(dims)) {}

View LokiPaper::rotation(int layer) const noexcept {
  const int64_t size = int64_t{shape_.kv_heads} * shape_.head_dim * shape_.head_dim;
  return f32_view(const_cast<float*>(rotations_.data()) + layer * size,
                  {shape_.kv_heads, shape_.head_dim, shape_.head_dim});
}

void LokiPaper::to_cache_space(const LayerStep& step, View q) const {
  rotate_heads(step.context, {.x = q, .matrix = rotation(step.layer)});
}

void LokiPaper::append(const LayerStep& step, const Qkv& qkv) const {
  Scratch::Frame frame(step.context.scratch);
  const View k = frame.take_f32({qkv.k.dim(0), qkv.k.dim(1), qkv.k.dim(2)});
  std::copy_n(qkv.k.f32(), k.elements(), k.f32());
  rotate_heads(step.context, {.x = k, .matrix = rotation(step.layer)});
  Method::append(step, {.q = qkv.q, .k = k, .v = qkv.v});
}

// q: [N, H, D], rotated here once more than in attend(): that is cheap beside the products with every key.
void LokiPaper::score(const LayerStep& step, std::span<const KvPages> rows, View q, View keys, View /*scores*/) const {
  to_cache_space(step, q);
  score_keys(step.context, {.q = q,
                            .kv = rows,
                            .dims = dims_[static_cast<size_t>(step.layer)],
                            .scale = shape_.scale(),
                            .per_query_head = true,
                            .keys = keys});
}

void LokiPaper::attend(const LayerStep& step, View q, const Selection& selection, View out) const {
  Scratch::Frame frame(step.context.scratch);
  const View rotated = frame.take_f32({q.dim(0), q.dim(1), q.dim(2)});
  std::copy_n(q.f32(), q.elements(), rotated.f32());
  to_cache_space(step, rotated);
  Method::attend(step, rotated, selection, out);
}

int64_t LokiPaper::score_bytes(const LayerStep& step, int64_t length) const noexcept {
  return length * row_bytes(step.kv[0].dtype, dims_[static_cast<size_t>(step.layer)]);
}

}  // namespace lowkey
