#include "generate/sampler.h"

#include <cmath>
#include <limits>
#include <set>
#include <vector>

#include <gtest/gtest.h>
#include <mlx/ops.h>

namespace llamlx {
namespace {

std::int32_t draw(Sampler& sample, const mx::array& logits) {
  return sample(logits).item<std::int32_t>();
}

TEST(SamplerTest, TemperatureZeroTakesTheFirstOfTheLikeliest) {
  Sampler sample({.temperature = 0, .seed = 1});
  EXPECT_EQ(draw(sample, mx::array({1.f, 4.f, 4.f, 2.f}, {1, 4})), 1);
}

TEST(SamplerTest, DrawsFromTheSoftmaxOfScaledLogits) {
  Sampler sample({.temperature = 2, .seed = 7});
  const auto logits = mx::array({0.f, 2.f, -30.f, 4.f}, {1, 4});
  constexpr int kDraws = 4000;
  std::vector<int> counts(4);
  for (int i = 0; i < kDraws; ++i) ++counts[draw(sample, logits)];
  const double total = 1 + std::exp(1) + std::exp(2);
  const double expected[] = {1 / total, std::exp(1) / total, 0,
                             std::exp(2) / total};
  for (int id = 0; id < 4; ++id) {
    // Five standard deviations of a binomial count.
    const double p = expected[id];
    EXPECT_NEAR(counts[id], kDraws * p, 5 * std::sqrt(kDraws * p * (1 - p)));
  }
}

TEST(SamplerTest, RowsAreDrawnEachByItself) {
  Sampler sample({.temperature = 1, .seed = 5});
  auto ids = sample(mx::zeros({64, 1000}));
  ids.eval();
  const auto* first = ids.data<std::int32_t>();
  EXPECT_GT(std::set(first, first + 64).size(), 32);
}

TEST(SamplerTest, EqualSeedsGiveEqualDraws) {
  const auto logits = mx::zeros({1, 1000});
  const auto draws = [&](std::uint64_t seed) {
    Sampler sample({.temperature = 1, .seed = seed});
    std::vector<std::int32_t> ids;
    for (int i = 0; i < 8; ++i) ids.push_back(draw(sample, logits));
    return ids;
  };
  EXPECT_EQ(draws(3), draws(3));
  EXPECT_NE(draws(3), draws(4));
}

TEST(SamplerTest, RefusesTemperaturesThatMakeNoSense) {
  for (const float temperature : {-1.f, std::numeric_limits<float>::infinity(),
                                  std::numeric_limits<float>::quiet_NaN()}) {
    EXPECT_THROW(Sampler({.temperature = temperature}), std::invalid_argument);
  }
}

}  // namespace
}  // namespace llamlx
