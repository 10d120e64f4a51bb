#include "kernels/mlp/choose_experts.h"

#include <cmath>
#include <limits>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace llamlx {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatNear;

struct Chosen {
  std::vector<std::int32_t> experts;
  std::vector<float> shares;
};

Chosen choose(std::vector<float> logits, int used, bool normalised) {
  const auto count = static_cast<std::size_t>(used);
  Chosen result{std::vector<std::int32_t>(count), std::vector<float>(count)};
  choose_experts(logits, {used, normalised}, result.experts.data(),
                 result.shares.data());
  return result;
}

TEST(ChooseExpertsTest, SharesAreThoseAmongAllExperts) {
  // Softmaxed: 1, 2, 4 and 1 of 8.
  const float two = std::log(2.0f);
  const auto [experts, shares] = choose({0, two, 2 * two, 0}, 2, false);
  EXPECT_THAT(experts, ElementsAre(2, 1));
  EXPECT_THAT(shares,
              ElementsAre(FloatNear(0.5f, 1e-6f), FloatNear(0.25f, 1e-6f)));
}

TEST(ChooseExpertsTest, SharesAddUpToOneWhereTheyShould) {
  const float two = std::log(2.0f);
  const auto shares = choose({0, two, 2 * two, 0}, 2, true).shares;
  EXPECT_THAT(shares, ElementsAre(FloatNear(2 / 3.0f, 1e-6f),
                                  FloatNear(1 / 3.0f, 1e-6f)));
}

TEST(ChooseExpertsTest, OfEqualOnesTheFirstIsTaken) {
  EXPECT_THAT(choose({1, 3, 2, 3, 2, 2}, 4, true).experts,
              ElementsAre(1, 3, 2, 4));
  EXPECT_THAT(choose({0, 0, 0}, 3, true).experts, ElementsAre(0, 1, 2));
}

TEST(ChooseExpertsTest, FarLogitsDoNotOverflow) {
  const auto [experts, shares] = choose({-3e38f, 2e4f, -2e4f}, 3, true);
  EXPECT_THAT(experts, ElementsAre(1, 2, 0));
  EXPECT_THAT(shares, ElementsAre(1, 0, 0));
}

TEST(ChooseExpertsTest, WhatIsNotFiniteGivesNoShares) {
  const float infinite = std::numeric_limits<float>::infinity();
  for (const float bad : {std::nanf(""), infinite, -infinite}) {
    const auto [experts, shares] = choose({bad, 1, bad}, 2, true);
    EXPECT_THAT(experts, ElementsAre(0, 1));
    EXPECT_TRUE(std::isnan(shares[0]) && std::isnan(shares[1]));
  }
}

}  // namespace
}  // namespace llamlx
