#include "kernels/cuda/cuda_expert_plan.h"

#include <gtest/gtest.h>

#include "kernels/cuda/cuda_pass.h"

namespace llamlx {
namespace {

using cuda::NumberType;

constexpr ExpertSizes kMixtral{.experts = 8,
                               .used = 2,
                               .hidden = 4096,
                               .inner = 14336,
                               .has_wide = false,
                               .has_halves = false,
                               .bits = 4,
                               .is_apart = false};
constexpr ExpertSizes kQwen{.experts = 128,
                            .used = 8,
                            .hidden = 2048,
                            .inner = 768,
                            .has_wide = false,
                            .has_halves = false,
                            .bits = 4,
                            .is_apart = false};

TEST(ExpertPlanTest, AFewRowsAreInAllGroups) {
  for (const int rows : {1, 2, 8}) {
    for (const auto& sizes : {kMixtral, kQwen}) {
      const auto plan = plan_experts(sizes, rows, NumberType::bf16);
      EXPECT_EQ(plan.group_rows, 0);
      EXPECT_GE(plan.rows, rows);
      EXPECT_FALSE(plan.is_many);
    }
  }
}

TEST(ExpertPlanTest, GroupsAreAsLargeAsExpertsWillMostlyHaveRows) {
  const auto group_rows = [](const ExpertSizes& sizes, int rows) {
    const auto plan = plan_experts(sizes, rows, NumberType::bf16);
    EXPECT_FALSE(plan.is_many);
    EXPECT_GE(plan.rows, rows);
    return plan.group_rows;
  };
  EXPECT_EQ(group_rows(kMixtral, 16), 8);
  EXPECT_EQ(group_rows(kMixtral, 40), 16);
  EXPECT_EQ(group_rows(kMixtral, 64), 32);
  EXPECT_EQ(group_rows(kQwen, 64), 8);
  EXPECT_EQ(group_rows(kQwen, 256), 32);
}

TEST(ExpertPlanTest, PromptsOfFewExpertsGoByManyRows) {
  EXPECT_FALSE(plan_experts(kMixtral, 512, NumberType::f16).is_many);
  const auto plan = plan_experts(kMixtral, 513, NumberType::f16);
  EXPECT_TRUE(plan.is_many);
  EXPECT_EQ(plan.rows, kCudaPrefillRows);
  EXPECT_FALSE(plan_experts(kQwen, kCudaPrefillRows, NumberType::f16).is_many);
}

/// Numbers that codes become have fewer digits.
TEST(ExpertPlanTest, Float32GoesInPieces) {
  const auto plan = plan_experts(kMixtral, 2000, NumberType::f32);
  EXPECT_FALSE(plan.is_many);
  EXPECT_EQ(plan.rows, 512);
  EXPECT_EQ(plan.group_rows, 32);
  auto wide = kQwen;
  wide.has_wide = true;
  EXPECT_EQ(plan_experts(wide, 2000, NumberType::f32).rows, kRowsOfAllGroups);
}

TEST(ExpertPlanTest, ExpectsAsManyGroupsAsRowsReachExperts) {
  EXPECT_EQ(expected_groups({1, 128, 8, 0}), 8);
  EXPECT_EQ(expected_groups({2, 128, 8, 0}), 16);
  EXPECT_EQ(expected_groups({64, 128, 8, 8}), 126);
  EXPECT_EQ(expected_groups({64, 8, 2, 8}), 16);
  EXPECT_EQ(expected_groups({3, 4, 4, 0}), 4);
}

/// 2048 rows of 2 experts each: what gates and down answer, and their operands.
TEST(ExpertPlanTest, CountsWhatRowsHaveBetweenKernels) {
  const auto bytes = expert_bytes(kMixtral, 2048, NumberType::bf16, 132);
  constexpr std::size_t kPlaces = 2048 * 2;
  EXPECT_EQ(bytes.own, 4 * (kPlaces * (14336 + 4096) + 2 * 2048 * 8));
  EXPECT_EQ(bytes.operands, 2 * kPlaces * 14336);
  EXPECT_EQ(bytes.parts, 0U);
  EXPECT_LT(expert_bytes(kQwen, 1, NumberType::bf16, 132).own, 1U << 20);
}

}  // namespace
}  // namespace llamlx
