#include "base/spread.h"

#include <gtest/gtest.h>

namespace llamlx {
namespace {

TEST(SpreadTest, TakesTheMiddleOfAnOddNumber) {
  const auto spread = spread_of({9, 1, 4});
  EXPECT_EQ(spread.median, 4);
  EXPECT_EQ(spread.min, 1);
  EXPECT_EQ(spread.max, 9);
  EXPECT_EQ(spread.relative(), 2);
}

TEST(SpreadTest, TakesTheMeanOfTheMiddleTwo) {
  EXPECT_EQ(spread_of({8, 2, 1, 4}).median, 3);
}

TEST(SpreadTest, IsZeroOfNothing) {
  EXPECT_EQ(spread_of({}).median, 0);
  EXPECT_EQ(spread_of({}).relative(), 0);
}

}  // namespace
}  // namespace llamlx
