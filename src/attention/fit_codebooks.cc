#include "attention/fit_codebooks.h"

#include <algorithm>
#include <cmath>

#include "base/half.h"
#include "linalg/codebook.h"
#include "linalg/nibbles.h"
#include "linalg/scalar_quantiser.h"

namespace lowkey {
namespace {

constexpr double kLeastWeight = 1e-6;  // of the largest: a coordinate that queries never use keeps a scale

// The sampled keys of a head in a basis, coordinate by coordinate: z [D, N].
std::vector<float> rotated_sample(const KeyStatistics& s, const Calibration& c, const KeyBasis& basis, size_t head) {
  const auto dims = static_cast<size_t>(s.head_dim), n = static_cast<size_t>(s.sample_size);
  constexpr size_t kBlock = 256;  // keys, so that a block stays in cache
  std::vector<float> z(dims * n, 0.0f), keys(dims * kBlock);
  const float* mean = c.mean.data() + head * dims;
  for (size_t begin = 0; begin < n; begin += kBlock) {
    const size_t count = std::min(kBlock, n - begin);
    const uint16_t* from = s.sample.data() + (head * n + begin) * dims;
    for (size_t i = 0; i < count; ++i)
      for (size_t d = 0; d < dims; ++d) keys[d * kBlock + i] = f16_to_f32(from[i * dims + d]) - mean[d];
    for (size_t r = 0; r < dims; ++r) {
      float* out = z.data() + r * n + begin;
      const float* row = basis.key.data() + (head * dims + r) * dims;
      for (size_t d = 0; d < dims; ++d)
        for (size_t i = 0; i < count; ++i) out[i] += row[d] * keys[d * kBlock + i];
    }
  }
  return z;
}

// Fits one nibble after the other to points [D, N], which lie in the plan's order. Coarse nibbles stay uniform: what
// they leave over is then spread evenly, which later ones code best. It is taken away from the points.
std::vector<float> fit_nibbles(const NibblePlan& plan, std::span<const double> deviations, int rounds,
                               std::vector<float>& points) {
  const size_t n = points.size() / plan.order.size();
  std::vector<int32_t> codes(n);
  std::vector<float> all;
  for (size_t i = 0; i < plan.nibbles.size(); ++i) {
    const Nibble& nibble = plan.nibbles[i];
    const size_t width = nibble.bits.size();
    const std::span<float> mine = std::span(points).subspan(static_cast<size_t>(nibble.begin) * n, width * n);
    std::vector<float> entries = uniform_entries(plan, static_cast<int>(i), deviations);
    const CodebookPoints coded{mine, static_cast<int64_t>(n), static_cast<int>(width)};
    if (nibble.coarse) {
      nearest_entries(coded, entries, codes);
      for (size_t p = 0; p < n; ++p) mine[p] -= entries[static_cast<size_t>(codes[p])];
    } else {
      fit_codebook(coded, rounds, entries, codes);
    }
    all.insert(all.end(), entries.begin(), entries.end());
  }
  return all;
}

}  // namespace

// The distance that a key's code is chosen by, and k-means lessens, weighs each coordinate as queries do: the expected
// squared error of a score.
std::vector<HeadCodebook> fit_head_codebooks(const KeyStatistics& s, const Calibration& c, BasisKind kind, size_t head,
                                             const FitOptions& options) {
  const auto dims = static_cast<size_t>(s.head_dim), n = static_cast<size_t>(s.sample_size);
  const KeyBasis& basis = c.basis(kind);
  const auto variance = std::span(basis.variance).subspan(head * dims, dims);
  const auto weight = std::span(basis.weight).subspan(head * dims, dims);
  const float least = std::max(static_cast<float>(kLeastWeight) * *std::max_element(weight.begin(), weight.end()),
                               std::numeric_limits<float>::min());
  std::vector<float> scale(dims);  // by coordinate
  std::vector<double> importance(dims), deviations(dims);
  for (size_t d = 0; d < dims; ++d) {
    scale[d] = std::sqrt(std::max(weight[d], least));
    importance[d] = double{variance[d]} * scale[d] * scale[d];
    deviations[d] = std::sqrt(importance[d]);
  }
  const std::vector<float> z = rotated_sample(s, c, basis, head);
  std::vector<HeadCodebook> books;
  std::vector<float> points(z.size());
  for (int bits : options.codebook_bits) {
    if (bits > kMaxBits * s.head_dim) continue;
    const NibblePlan plan = plan_nibbles(allocate_bits(importance, bits));
    HeadCodebook book{.bits = bits, .order = {plan.order.begin(), plan.order.end()}};
    for (size_t i = 0; i < dims; ++i) {
      const auto from = static_cast<size_t>(plan.order[i]);
      book.scale.push_back(scale[from]);
      for (size_t p = 0; p < n; ++p) points[i * n + p] = z[from * n + p] * scale[from];
    }
    for (const Nibble& nibble : plan.nibbles) {
      book.nibbles.push_back(nibble.begin);
      book.nibbles.push_back(static_cast<int32_t>(nibble.bits.size()));
    }
    book.entries = fit_nibbles(plan, deviations, options.rounds, points);
    books.push_back(std::move(book));
  }
  return books;
}

Codebooks join_codebooks(BasisKind kind, std::span<const HeadCodebook* const> heads) {
  Codebooks all{.basis = kind, .bits = heads[0]->bits};
  size_t most = 0;
  for (const HeadCodebook* head : heads) most = std::max(most, head->entries.size());
  all.rows = static_cast<int>(most / kCodebookEntries);
  const auto append = [](auto& to, const auto& from) { to.insert(to.end(), from.begin(), from.end()); };
  for (const HeadCodebook* head : heads) {
    append(all.order, head->order);
    append(all.scale, head->scale);
    append(all.nibbles, head->nibbles);
    append(all.entries, head->entries);
    all.entries.resize(all.entries.size() + most - head->entries.size(), 0.0f);
  }
  return all;
}

}  // namespace lowkey
