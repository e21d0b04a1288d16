#include "attention/content_covariance.h"

#include <cmath>
#include <complex>

#include "base/error.h"

namespace lowkey {
namespace {

using Complex = std::complex<double>;

// The mean of exp(i angle p) over p in [first, end).
Complex mean_turn(double angle, int64_t first, int64_t end) {
  const auto count = static_cast<double>(end - first);
  const double half = std::sin(angle / 2);
  const double size = std::abs(half) < 1e-12 ? 1 : std::sin(count * angle / 2) / (count * half);
  return std::polar(1.0, angle * (static_cast<double>(first) + (count - 1) / 2)) * size;
}

}  // namespace

// With the pair (x_a, y_a) as the complex number z_a, RoPE multiplies it by exp(i f_a p): E z_a conj(z_b) turns with
// the difference of two frequencies, E z_a z_b with their sum, and these two are four real covariances.
std::vector<double> content_covariance(std::span<const double> pre, std::span<const float> inverse_frequency,
                                       int64_t first, int64_t end) {
  const size_t half = inverse_frequency.size();
  const auto dims = static_cast<size_t>(std::lround(std::sqrt(static_cast<double>(pre.size()))));
  LK_REQUIRE(half >= 1 && 2 * half <= dims && pre.size() == dims * dims && first < end, kInvalidArgument,
             "[content_covariance] {} numbers for {} frequencies, positions {} to {}, must be at least {} and some",
             pre.size(), half, first, end, 4 * half * half);
  std::vector<double> content(pre.begin(), pre.end());
  for (size_t a = 0; a < half; ++a) {  // with the coordinates that do not turn
    const Complex turn = mean_turn(inverse_frequency[a], first, end);
    for (size_t i = 2 * half; i < dims; ++i) {
      const Complex z = Complex(pre[a * dims + i], pre[(a + half) * dims + i]) * turn;
      content[a * dims + i] = content[i * dims + a] = z.real();
      content[(a + half) * dims + i] = content[i * dims + a + half] = z.imag();
    }
  }
  for (size_t a = 0; a < half; ++a)
    for (size_t b = 0; b < half; ++b) {
      const size_t xx = a * dims + b, xy = xx + half, yx = xx + half * dims, yy = yx + half;
      const double fa = inverse_frequency[a], fb = inverse_frequency[b];
      const Complex difference = Complex(pre[xx] + pre[yy], pre[yx] - pre[xy]) * mean_turn(fa - fb, first, end);
      const Complex sum = Complex(pre[xx] - pre[yy], pre[yx] + pre[xy]) * mean_turn(fa + fb, first, end);
      content[xx] = (difference + sum).real() / 2;
      content[yy] = (difference - sum).real() / 2;
      content[yx] = (difference + sum).imag() / 2;
      content[xy] = (sum - difference).imag() / 2;
    }
  return content;
}

}  // namespace lowkey
