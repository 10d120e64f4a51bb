#include "kernels/draw/draw.h"

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>
#include <mlx/ops.h>
#include <mlx/random.h>

#include "kernels/argmax/argmax.h"

namespace llamlx {
namespace {

constexpr int kVocabulary = 50, kRows = 20000;

/// By our kernel (true) or by MLX's ops.
class DrawTest : public ::testing::TestWithParam<bool> {
 protected:
  static mx::array draw(const mx::array& x, float temperature) {
    if (!GetParam()) return draw_mlx(x, temperature, mx::random::key(3));
    std::mt19937_64 random(3);
    std::uniform_real_distribution<double> number(0, 1);
    std::vector<double> uniform(static_cast<std::size_t>(x.shape(0)));
    for (auto& each : uniform) each = number(random);
    return draw_cpu(x, temperature, std::move(uniform));
  }
};

TEST_P(DrawTest, DrawsAsOftenAsTheSoftmaxSays) {
  // Probabilities from 1 / 130 to 1 / 25.
  std::vector<float> logits;
  for (int i = 0; i < kVocabulary; ++i) {
    logits.push_back(0.03f * static_cast<float>(i * 7 % kVocabulary));
  }
  const mx::array one(logits.begin(), {1, kVocabulary});
  for (const float temperature : {0.7f, 1.f, 3.f}) {
    auto ids = draw(mx::broadcast_to(one, {kRows, kVocabulary}), temperature);
    ids.eval();
    std::vector<int> counts(kVocabulary);
    for (int i = 0; i < kRows; ++i) {
      ++counts.at(static_cast<std::size_t>(ids.data<std::int32_t>()[i]));
    }
    double total = 0;
    for (const float logit : logits) total += std::exp(logit / temperature);
    double chi_square = 0;
    for (int i = 0; i < kVocabulary; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const double expected =
          kRows * std::exp(logits[at] / temperature) / total;
      chi_square += std::pow(counts[at] - expected, 2) / expected;
    }
    // Exceeded once in a million times (Laurent and Massart: d + 2 sqrt(d t) +
    // 2 t but for a probability of e^-t).
    const double d = kVocabulary - 1, t = std::log(1e6);
    EXPECT_LT(chi_square, d + 2 * std::sqrt(d * t) + 2 * t);
    // Nor do counts fit too well to be random (d - 2 sqrt(d t)).
    EXPECT_GT(chi_square, d - 2 * std::sqrt(d * t));
  }
}

TEST_P(DrawTest, RowsThatAreNotFiniteGiveNothing) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const mx::array x({0.f, 0.f, 0.f, nan, 0.f, 0.f}, {3, 2});
  auto ids = draw(x, 1);
  ids.eval();
  const auto* first = ids.data<std::int32_t>();
  EXPECT_GE(first[0], 0);
  EXPECT_EQ(first[1], kNotFinite);
  EXPECT_GE(first[2], 0);
}

TEST_P(DrawTest, AnySmallTemperatureTakesTheLikeliest) {
  const auto x = mx::array({0.f, 2.f, 1.f}, {1, 3});
  EXPECT_EQ(draw(x, 1e-4f).item<std::int32_t>(), 1);
}

TEST(CpuDrawTest, TheSmallestTemperatureTakesTheLikeliest) {
  const auto x = mx::array({0.f, 2.f, 1.f}, {1, 3});
  const float smallest = std::numeric_limits<float>::denorm_min();
  EXPECT_EQ(draw_cpu(x, smallest, {0.9}).item<std::int32_t>(), 1);
}

TEST(CpuDrawTest, ReadsRowsThatDoNotLieInOrder) {
  const auto x = mx::array({0.f, 90.f, 90.f, 0.f, 0.f, 0.f}, {3, 2});
  auto ids = draw_cpu(mx::transpose(x), 1, {0.5, 0.5});
  ids.eval();
  EXPECT_EQ(ids.data<std::int32_t>()[0], 1);
  EXPECT_EQ(ids.data<std::int32_t>()[1], 0);
}

INSTANTIATE_TEST_SUITE_P(Backends, DrawTest, ::testing::Bool(),
                         [](const auto& test) {
                           return test.param ? "Kernels" : "Ops";
                         });

}  // namespace
}  // namespace llamlx
