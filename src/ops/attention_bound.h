// How far an attention output may lie from the exact one. An f32 kernel forms each score with an error of at most
// c_s eps scale sum|q||k|; that changes every weight by as much, relatively, in the numerator and in the sum. The
// weights' exponentials and the sums over tokens add c_v eps of sum p|v|. A kernel that rounds q, k, p and v to bf16
// first (unit eps 2^-8, halved by rounding to nearest) has the same formula with that eps for the products. So
//     |out - exact| <= eps (2 c_s scale max sum|q||k| + c_v) sum p|v|
// Beside a cache of bytes q is rounded to 2^-16 of its largest number, and p times the scales of the values to as much
// of the largest of these:
//     2^-16 (2 scale max|q| max sum|k| sum p|v| + S max(p max|v|))     more, S tokens
// A value in 4 bits is a sum of two, the least of its row and steps up from there; |v| is then the sum of both sizes.
// A wrong token, a wrong head or a lost rescaling is far outside for either eps.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "ops/attention_decode.h"
#include "ops/ref/kv_value.h"

namespace lowkey {

inline constexpr double kEpsF32 = 0x1p-24, kEpsBf16 = 0x1p-9;

// bound: out [D]; q: [D]; tokens [0, kv.length) of KV head `head`, or those listed.
inline void attention_bound(const KvPages& kv, int head, TokenList list, const float* q, float scale, double eps,
                            double* bound) {
  constexpr double kScore = 1, kValue = 4;
  const int64_t dim = kv.head_dim, count = list.ids ? list.count : kv.length;
  const auto row = [&](int64_t i) { return kv.token(head, list.ids ? list.ids[i] : i); };
  std::vector<double> score(static_cast<size_t>(count));
  const double rounding = has_scales(kv.dtype) ? 0x1p-16 : 0;
  double peak = 0, products = 0, total = 0, heaviest = 0;
  for (int64_t d = 0; d < dim; ++d) peak = std::max(peak, std::abs(double{q[d]}));
  for (int64_t i = 0; i < count; ++i) {
    double dot = 0, absolute = 0;
    for (int64_t d = 0; d < dim; ++d) {
      const double key = ref::kv_value(kv, row(i), d), product = q[d] * key;
      dot += product, absolute += std::abs(product) + rounding / eps * peak * std::abs(key);
    }
    score[static_cast<size_t>(i)] = dot * scale;
    products = std::max(products, absolute * std::abs(scale));
  }
  const double max = *std::max_element(score.begin(), score.end());
  std::fill(bound, bound + dim, 0.);
  for (int64_t i = 0; i < count; ++i) {
    const double weight = std::exp(score[static_cast<size_t>(i)] - max);
    total += weight;
    double least = 0;
    for (int64_t d = 0; kv.dtype == DType::kI8I4 && d < dim; ++d)
      least = std::min<double>(d == 0 ? HUGE_VAL : least, ref::kv_value(kv, row(i), dim + d));
    for (int64_t d = 0; d < dim; ++d) {
      const double value = std::abs(ref::kv_value(kv, row(i), dim + d) - least) + std::abs(least);
      bound[d] += weight * value, heaviest = std::max(heaviest, weight * value);
    }
  }
  const double of_weights = rounding * static_cast<double>(count) * heaviest;
  for (int64_t d = 0; d < dim; ++d) bound[d] = (bound[d] * eps * (2 * kScore * products + kValue) + of_weights) / total;
}

// The same where scores are capped: tanh changes no score by more than its error was, and errs by 2^-20 of the cap. In
// terms of the largest |v|.
inline double capped_attention_bound(double products, float cap, double eps, double largest_value) {
  return (2 * (eps * products + 0x1p-20 * cap) + 4 * eps) * largest_value;
}

}  // namespace lowkey
