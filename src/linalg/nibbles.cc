#include "linalg/nibbles.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "base/error.h"
#include "linalg/scalar_quantiser.h"

namespace lowkey {
namespace {

constexpr int kNibbleBits = 4;
constexpr int kEntries = 16;

// Coordinates that wait for a nibble, by how many bits of one they need.
class Waiting {
 public:
  void add(int coordinate, int bits) {
    if (bits > 0) by_bits_[static_cast<size_t>(bits)].push_back(coordinate);
  }
  size_t count(int bits) const { return by_bits_[static_cast<size_t>(bits)].size(); }
  int take(int bits) {
    auto& queue = by_bits_[static_cast<size_t>(bits)];
    const int coordinate = queue.front();
    queue.erase(queue.begin());
    return coordinate;
  }

 private:
  std::array<std::vector<int>, kNibbleBits + 1> by_bits_;  // each in the order they came
};

struct Group {
  std::vector<int> coordinates, bits;
};

Group take_group(Waiting& waiting, std::initializer_list<int> bits) {
  Group group;
  for (int b : bits) {
    group.coordinates.push_back(waiting.take(b));
    group.bits.push_back(b);
  }
  return group;
}

std::vector<Group> groups_of(Waiting waiting) {
  std::vector<Group> groups;
  const auto take = [&](std::initializer_list<int> bits) { groups.push_back(take_group(waiting, bits)); };
  while (waiting.count(4) > 0) take({4});
  while (waiting.count(3) > 0 && waiting.count(1) > 0) take({3, 1});
  while (waiting.count(3) > 1) {  // with no 1s left and a sum of whole nibbles, the 3s are even in number
    groups.push_back({{waiting.take(3)}, {4}});
    waiting.add(waiting.take(3), 2);
  }
  while (waiting.count(2) > 1) take({2, 2});
  if (waiting.count(2) > 0) take({2, 1, 1});
  while (waiting.count(1) > 0) take({1, 1, 1, 1});
  return groups;
}

}  // namespace

NibblePlan plan_nibbles(std::span<const int> bits) {
  const int total = std::accumulate(bits.begin(), bits.end(), 0);
  LK_REQUIRE(total > 0 && total % kNibbleBits == 0, kInvalidArgument, "[plan_nibbles] {} bits, must be whole nibbles",
             total);
  Waiting waiting;
  NibblePlan plan{.bits = std::vector<int>(bits.size(), 0)};
  std::vector<int> wide;  // coordinates of more than 4 bits
  for (size_t i = 0; i < bits.size(); ++i) {
    LK_REQUIRE(bits[i] >= 0 && bits[i] <= kMaxBits, kInvalidArgument, "[plan_nibbles] {} bits, must be 0 to {}",
               bits[i], kMaxBits);
    const int coordinate = static_cast<int>(i);
    if (bits[i] > kNibbleBits) wide.push_back(coordinate);
    waiting.add(coordinate, bits[i] > kNibbleBits ? bits[i] - kNibbleBits : bits[i]);
  }
  std::vector<int> place(bits.size(), -1);
  std::vector<Nibble> shared;
  for (const Group& group : groups_of(std::move(waiting))) {
    shared.push_back({static_cast<int>(plan.order.size()), group.bits});
    for (size_t i = 0; i < group.coordinates.size(); ++i) {
      const auto coordinate = static_cast<size_t>(group.coordinates[i]);
      place[coordinate] = static_cast<int>(plan.order.size());
      plan.order.push_back(group.coordinates[i]);
      plan.bits[coordinate] = group.bits[i];
    }
  }
  for (int coordinate : wide) {
    plan.nibbles.push_back({place[static_cast<size_t>(coordinate)], {kNibbleBits}, true});
    plan.bits[static_cast<size_t>(coordinate)] += kNibbleBits;
  }
  plan.nibbles.insert(plan.nibbles.end(), shared.begin(), shared.end());
  for (size_t i = 0; i < bits.size(); ++i)
    if (place[i] < 0) plan.order.push_back(static_cast<int>(i));
  return plan;
}

std::vector<float> uniform_entries(const NibblePlan& plan, int index, std::span<const double> deviations) {
  const Nibble& nibble = plan.nibbles[static_cast<size_t>(index)];
  const size_t width = nibble.bits.size();
  std::vector<float> entries(width * kEntries);
  int shift = 0;
  for (size_t i = 0; i < width; ++i) {
    const auto coordinate = static_cast<size_t>(plan.order[static_cast<size_t>(nibble.begin) + i]);
    const int whole = plan.bits[coordinate], here = nibble.bits[i];
    // Coarse steps are as large as the range of the bits to come.
    const double step =
        gaussian_step(whole) * (nibble.coarse ? 1 << (whole - kNibbleBits) : 1) * deviations[coordinate];
    for (int code = 0; code < kEntries; ++code) {
      const int level = code >> shift & ((1 << here) - 1);
      entries[i * kEntries + static_cast<size_t>(code)] = static_cast<float>((level - ((1 << here) - 1) / 2.0) * step);
    }
    shift += here;
  }
  return entries;
}

}  // namespace lowkey
