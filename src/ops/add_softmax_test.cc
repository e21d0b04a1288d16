#include "ops/add_softmax.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "ops/attention_cases.h"

namespace lowkey {
namespace {

TEST(AddSoftmax, IsTheReference) {
  for (Isa isa : supported_isas()) {
    limit_isa(isa);
    for (int64_t count : {1, 7, 64, 5000}) {
      const std::vector<float> scores = random_normal(count, 1, 8.f);
      std::vector<float> a = scores, b = scores, mass(static_cast<size_t>(count), 1.f), exact = mass;
      add_softmax(a.data(), count, 0.25f, mass.data());
      ref::add_softmax(b.data(), count, 0.25f, exact.data());
      double added = 0;
      for (size_t i = 0; i < mass.size(); ++i) {
        ASSERT_NEAR(mass[i], exact[i], 0x1p-23 * exact[i] + 0x1p-18 * (exact[i] - 1))
            << name(isa) << ", token " << i << " of " << count;
        added += mass[i] - 1;
      }
      EXPECT_NEAR(added, 0.25, static_cast<double>(count) * 0x1p-24 + 0x1p-20);
    }
  }
  limit_isa(detected_isa());
}

}  // namespace
}  // namespace lowkey
