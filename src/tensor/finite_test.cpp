#include "tensor/finite.h"

#include <limits>

#include <gtest/gtest.h>
#include <mlx/ops.h>

namespace llamlx {
namespace {

TEST(AllFiniteTest, FindsTheOneValueThatIsNot) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  for (const auto& dtype : {mx::float16, mx::bfloat16, mx::float32}) {
    const auto usual = mx::astype(mx::arange(1000.0f), dtype);
    EXPECT_TRUE(all_finite(usual));
    for (const float value : {kInfinity, -kInfinity, kNan}) {
      for (const int at : {0, 517, 999}) {
        const auto spoilt =
            mx::slice_update(usual, mx::astype(mx::array({value}), dtype),
                             mx::Shape{at}, mx::Shape{at + 1});
        EXPECT_FALSE(all_finite(spoilt)) << dtype << value << at;
      }
    }
  }
}

TEST(AllFiniteTest, TheLargestValuesAreFinite) {
  EXPECT_TRUE(all_finite(mx::array({65504.0f}, mx::float16)));
  EXPECT_TRUE(all_finite(mx::array({-3.38e38f}, mx::bfloat16)));
  EXPECT_TRUE(all_finite(mx::array({std::numeric_limits<float>::max()})));
  EXPECT_TRUE(all_finite(mx::array({0xffffffffU, 0x7f800000U})));
}

TEST(AllFiniteTest, ReadsViewsAsTheyAre) {
  const auto column = mx::slice(
      mx::array({1.0f, 1.0f / 0.0f, 2.0f, 3.0f}, {2, 2}), {0, 0}, {2, 1});
  EXPECT_TRUE(all_finite(column));
  EXPECT_TRUE(all_finite(mx::zeros({0, 3})));
}

}  // namespace
}  // namespace llamlx
