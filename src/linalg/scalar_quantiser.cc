#include "linalg/scalar_quantiser.h"

#include <queue>

#include "base/error.h"

namespace lowkey {
namespace {

struct Uniform {
  double step, distortion;
};

// Found by minimising the integral numerically; the test does so again.
constexpr Uniform kGaussian[kMaxBits + 1] = {
    {0, 1},
    {1.5957691284, 0.3633802276},
    {0.9956866992, 0.1188460504},
    {0.5860194491, 0.03743965939},
    {0.3352006069, 0.01154288443},
    {0.1881387888, 0.003495211362},
    {0.1040630017, 0.001040045409},
    {0.0568676670, 0.0003043327708},
    {0.0307623829, 8.768618578e-05},
};

}  // namespace

double gaussian_step(int bits) { return kGaussian[bits].step; }
double gaussian_distortion(int bits) { return kGaussian[bits].distortion; }

std::vector<int> allocate_bits(std::span<const double> variances, int total, int most) {
  LK_REQUIRE(most >= 1 && most <= kMaxBits, kInvalidArgument, "[allocate_bits] most={}, must be 1 to {}", most,
             kMaxBits);
  const auto room = static_cast<int>(variances.size()) * most;
  LK_REQUIRE(total >= 0 && total <= room, kInvalidArgument, "[allocate_bits] {} bits, must be 0 to {}", total, room);
  std::vector<int> bits(variances.size(), 0);
  struct Gain {
    double saved;
    size_t index;
    bool operator<(const Gain& other) const {
      return saved != other.saved ? saved < other.saved : index > other.index;  // ties: the first
    }
  };
  std::priority_queue<Gain> gains;
  const auto offer = [&](size_t i) {
    if (bits[i] == most) return;
    gains.push({variances[i] * (gaussian_distortion(bits[i]) - gaussian_distortion(bits[i] + 1)), i});
  };
  for (size_t i = 0; i < variances.size(); ++i) {
    LK_REQUIRE(variances[i] >= 0, kInvalidArgument, "[allocate_bits] variance {} of number {}, must be >= 0",
               variances[i], i);
    offer(i);
  }
  for (int n = 0; n < total; ++n) {
    const size_t i = gains.top().index;
    gains.pop();
    ++bits[i];
    offer(i);
  }
  return bits;
}

}  // namespace lowkey
