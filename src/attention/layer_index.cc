#include "attention/layer_index.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "linalg/nibbles.h"
#include "linalg/scalar_quantiser.h"

namespace lowkey {
namespace {

constexpr int kEntries = 16;
constexpr int kMaxNibbles = 256;

// The codes of one KV head before they are tied to a rotation.
struct HeadCodes {
  std::vector<int32_t> order;        // [D] coordinates of the basis as they lie in the nibbles
  std::vector<IndexNibble> nibbles;  // entries not yet set
  std::vector<float> entries;        // [sum of widths, 16]

  int used() const {  // R
    int used = 0;
    for (const IndexNibble& n : nibbles) used = std::max(used, n.begin + n.width);
    return used;
  }
};

std::vector<int> bits_of(const IndexSpec& spec, std::span<const float> variance, std::span<const float> weight) {
  const size_t dims = variance.size();
  if (spec.codes == IndexCodes::kBits) {
    std::vector<double> importance(dims);
    for (size_t i = 0; i < dims; ++i)
      importance[i] = double{variance[i]} * (spec.follow == BitsFollow::kScores ? double{weight[i]} : 1.0);
    return allocate_bits(importance, spec.bits);
  }
  const int each = spec.codes == IndexCodes::kSign ? 1 : spec.codes == IndexCodes::kInt4 ? 4 : 8;
  std::vector<int> bits(dims, 0);
  std::fill_n(bits.begin(), spec.dims == 0 ? static_cast<int>(dims) : spec.dims, each);
  return bits;
}

HeadCodes uniform_codes(const IndexSpec& spec, std::span<const float> variance, std::span<const float> weight) {
  const NibblePlan plan = plan_nibbles(bits_of(spec, variance, weight));
  std::vector<double> deviations;
  for (float v : variance) deviations.push_back(std::sqrt(v));
  HeadCodes codes{{plan.order.begin(), plan.order.end()}, {}, {}};
  for (size_t i = 0; i < plan.nibbles.size(); ++i) {
    const auto entries = uniform_entries(plan, static_cast<int>(i), deviations);
    codes.nibbles.push_back({plan.nibbles[i].begin, static_cast<int>(plan.nibbles[i].bits.size()), nullptr});
    codes.entries.insert(codes.entries.end(), entries.begin(), entries.end());
  }
  return codes;
}

HeadCodes stored_codes(const Codebooks& books, size_t head, size_t dims) {
  const auto part = [head](const auto& all, size_t size) { return std::span(all).subspan(head * size, size); };
  const auto order = part(books.order, dims);
  const auto entries = part(books.entries, static_cast<size_t>(books.rows) * kEntries);
  HeadCodes codes{{order.begin(), order.end()}, {}, {entries.begin(), entries.end()}};
  const auto nibbles = part(books.nibbles, static_cast<size_t>(books.bits / 4) * 2);
  for (size_t i = 0; i < nibbles.size(); i += 2) codes.nibbles.push_back({nibbles[i], nibbles[i + 1], nullptr});
  return codes;
}

const Codebooks& require_codebooks(const Calibration& calibration, const IndexSpec& spec) {
  const Codebooks* books = calibration.find_codebooks(spec.basis, spec.bits);
  std::string there;
  for (const Codebooks& c : calibration.codebooks)
    if (c.basis == spec.basis) there += fmt::format("{}{}", there.empty() ? "" : ", ", c.bits);
  LK_REQUIRE(books != nullptr, kInvalidArgument, "[index] pq:{} in the {} basis, the calibration has {}", spec.bits,
             name(spec.basis), there.empty() ? "no codebooks there" : there);
  return *books;
}

// Rows order[0 ... R) of a [D, D] basis, their columns as the model has them.
std::vector<float> rotation_rows(std::span<const float> basis, const HeadCodes& codes, int rows, RopeLayout layout) {
  const size_t dims = codes.order.size();
  std::vector<float> rotation(static_cast<size_t>(rows) * dims);
  for (size_t r = 0; r < static_cast<size_t>(rows); ++r) {
    const auto from = basis.subspan(static_cast<size_t>(codes.order[r]) * dims, dims);
    for (size_t d = 0; d < dims; ++d) rotation[r * dims + half_place(d, dims, layout)] = from[d];
  }
  return rotation;
}

}  // namespace

int index_nibbles(const IndexSpec& spec, int head_dim) {
  const bool by_bits = spec.codes == IndexCodes::kPq || spec.codes == IndexCodes::kBits;
  if (by_bits) {
    const int most = std::min(4 * kMaxNibbles, kMaxBits * head_dim);
    LK_REQUIRE(spec.bits >= 4 && spec.bits <= most && spec.bits % 4 == 0, kInvalidArgument,
               "[index] {} bits, must be 4 to {} and a multiple of 4 for heads of {}", spec.bits, most, head_dim);
    return spec.bits / 4;
  }
  LK_REQUIRE(spec.dims >= 0 && spec.dims <= head_dim, kInvalidArgument, "[index] d={}, must be 1 to {}, or 0 for all",
             spec.dims, head_dim);
  const int dims = spec.dims == 0 ? head_dim : spec.dims;
  const int bits = dims * (spec.codes == IndexCodes::kSign ? 1 : spec.codes == IndexCodes::kInt4 ? 4 : 8);
  LK_REQUIRE(bits % 4 == 0 && bits <= 4 * kMaxNibbles, kInvalidArgument,
             "[index] {} bits for d={}, must be a multiple of 4 and at most {}", bits, dims, 4 * kMaxNibbles);
  return bits / 4;
}

LayerIndex::LayerIndex(const Calibration& calibration, int layer, const IndexSpec& spec, RopeLayout layout) {
  const auto dims = static_cast<size_t>(calibration.head_dim);
  LK_REQUIRE(layer >= 0 && layer < calibration.layers, kInvalidArgument, "[index] layer {}, must be 0 to {}", layer,
             calibration.layers - 1);
  index_nibbles(spec, calibration.head_dim);
  const KeyBasis& basis = calibration.basis(spec.basis);
  std::vector<HeadCodes> codes;
  int rows = 0;  // R, the same for all heads
  for (int h = 0; h < calibration.kv_heads; ++h) {
    const size_t head = calibration.head(layer, h);
    const auto vector = [&](const std::vector<float>& v) { return std::span(v).subspan(head * dims, dims); };
    codes.push_back(spec.codes == IndexCodes::kPq ? stored_codes(require_codebooks(calibration, spec), head, dims)
                                                  : uniform_codes(spec, vector(basis.variance), vector(basis.weight)));
    rows = std::max(rows, codes.back().used());
  }
  const auto keep = [this](std::vector<float> numbers) { return numbers_.emplace_back(std::move(numbers)).data(); };
  for (int h = 0; h < calibration.kv_heads; ++h) {
    const size_t head = calibration.head(layer, h);
    HeadCodes& c = codes[static_cast<size_t>(h)];
    const auto matrix = [&](const std::vector<float>& m) {
      return std::span(m).subspan(head * dims * dims, dims * dims);
    };
    const float* entries = keep(std::move(c.entries));
    for (IndexNibble& nibble : c.nibbles) {
      nibble.entries = entries;
      entries += int64_t{nibble.width} * kEntries;
    }
    std::vector<float> mean(dims);
    for (size_t d = 0; d < dims; ++d) mean[half_place(d, dims, layout)] = calibration.mean[head * dims + d];
    IndexHead view{
        .rotation = f32_view(keep(rotation_rows(matrix(basis.key), c, rows, layout)), {rows, calibration.head_dim}),
        .query_rotation =
            f32_view(keep(rotation_rows(matrix(basis.query), c, rows, layout)), {rows, calibration.head_dim}),
        .mean = keep(std::move(mean)),
        .nibbles = nibbles_.emplace_back(std::move(c.nibbles))};
    heads_.push_back(view);
  }
}

}  // namespace lowkey
