#include "attention/fit_codebooks.h"

#include <algorithm>
#include <numeric>

#include "base/half.h"
#include "linalg/codebook.h"
#include "linalg/groups.h"
#include "linalg/nibbles.h"
#include "linalg/scalar_quantiser.h"

namespace lowkey {
namespace {

constexpr int kNibbleBits = 4;

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

// Which coordinates share a nibble. Below 3/4 of a bit a coordinate: whole bits where they lessen the error most, four
// to a nibble. From there on: neighbours in order of variance, whatever number of them serves best.
struct Groups {
  std::vector<int> order;  // [D] coordinates, group after group, then those left out
  std::vector<int> widths;
};

Groups group(std::span<const double> variances, int bits) {
  const int dims = static_cast<int>(variances.size());
  Groups groups;
  if (4 * bits < 3 * dims) {
    const NibblePlan plan = plan_nibbles(allocate_bits(variances, bits, kNibbleBits));
    for (const Nibble& nibble : plan.nibbles) groups.widths.push_back(static_cast<int>(nibble.bits.size()));
    groups.order = plan.order;
    return groups;
  }
  groups.order.resize(variances.size());
  std::iota(groups.order.begin(), groups.order.end(), 0);
  std::stable_sort(groups.order.begin(), groups.order.end(),
                   [&](int i, int j) { return variances[static_cast<size_t>(i)] > variances[static_cast<size_t>(j)]; });
  std::vector<double> sorted;
  for (int i : groups.order) sorted.push_back(variances[static_cast<size_t>(i)]);
  groups.widths = group_coordinates(sorted, bits / kNibbleBits);
  return groups;
}

// z: [D, N]. Fits the entries of one group of coordinates.
std::vector<float> fit_group(std::span<const float> z, std::span<const int> coordinates, int64_t n, int rounds) {
  std::vector<float> points;
  for (int c : coordinates) {
    const auto row = z.subspan(static_cast<size_t>(c) * static_cast<size_t>(n), static_cast<size_t>(n));
    points.insert(points.end(), row.begin(), row.end());
  }
  const CodebookPoints coded{points, n, static_cast<int>(coordinates.size())};
  std::vector<float> entries(coordinates.size() * kCodebookEntries);
  std::vector<int32_t> codes(static_cast<size_t>(n));
  seed_codebook(coded, static_cast<uint64_t>(coordinates[0]), entries);
  fit_codebook(coded, rounds, entries, codes);
  return entries;
}

}  // namespace

std::vector<HeadCodebook> fit_head_codebooks(const KeyStatistics& s, const Calibration& c, BasisKind kind, size_t head,
                                             const FitOptions& options) {
  const KeyBasis& basis = c.basis(kind);
  const auto first = basis.variance.begin() + static_cast<std::ptrdiff_t>(head * static_cast<size_t>(s.head_dim));
  const std::vector<double> variances(first, first + s.head_dim);
  const std::vector<float> z = rotated_sample(s, c, basis, head);
  std::vector<HeadCodebook> books;
  for (int bits : options.codebook_bits) {
    if (bits % kNibbleBits != 0 || bits > kNibbleBits * s.head_dim) continue;
    const Groups groups = group(variances, bits);
    HeadCodebook book{.bits = bits, .order = {groups.order.begin(), groups.order.end()}};
    int begin = 0;
    for (int width : groups.widths) {
      const auto coordinates = std::span(groups.order).subspan(static_cast<size_t>(begin), static_cast<size_t>(width));
      const auto entries = fit_group(z, coordinates, s.sample_size, options.rounds);
      book.entries.insert(book.entries.end(), entries.begin(), entries.end());
      book.nibbles.insert(book.nibbles.end(), {begin, width});
      begin += width;
    }
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
    append(all.nibbles, head->nibbles);
    append(all.entries, head->entries);
    all.entries.resize(all.entries.size() + most - head->entries.size(), 0.0f);
  }
  return all;
}

}  // namespace lowkey
