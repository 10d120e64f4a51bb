#include "plot/axis.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace llamlx {
namespace {

using ::testing::ElementsAre;
using ::testing::Pointwise;

MATCHER(Near, "") {
  const auto& [got, wanted] = arg;
  return std::abs(got - wanted) <= 1e-9 * std::abs(wanted);
}

void expect_ticks(const std::vector<double>& got,
                  const std::vector<double>& wanted) {
  EXPECT_THAT(got, Pointwise(Near(), wanted));
}

TEST(AxisTest, PlacesValuesBetweenItsEnds) {
  const Axis axis{.low = 10, .high = 20, .from = 100, .to = 300};
  EXPECT_DOUBLE_EQ(axis.place(10), 100);
  EXPECT_DOUBLE_EQ(axis.place(15), 200);
  EXPECT_DOUBLE_EQ(axis.place(99), 300);
}

TEST(AxisTest, GoesUpWherePixelsGoDown) {
  const Axis axis{.low = 0, .high = 4, .from = 50, .to = 10};
  EXPECT_DOUBLE_EQ(axis.place(1), 40);
}

TEST(AxisTest, PlacesPowersAtEqualDistances) {
  const Axis axis{
      .low = 0.1, .high = 100, .from = 0, .to = 30, .logarithmic = true};
  EXPECT_NEAR(axis.place(1), 10, 1e-9);
  EXPECT_NEAR(axis.place(10), 20, 1e-9);
  EXPECT_NEAR(axis.place(1e-9), 0, 1e-9);
}

TEST(TicksTest, AreRound) {
  expect_ticks(linear_ticks(0, 100, 5), {0, 20, 40, 60, 80, 100});
  expect_ticks(linear_ticks(0, 7, 4), {0, 2, 4, 6});
  expect_ticks(linear_ticks(0.13, 0.41, 4), {0.2, 0.3, 0.4});
  expect_ticks(linear_ticks(-3, 3, 3), {-2, 0, 2});
}

TEST(TicksTest, KnowNoNegativeZero) {
  EXPECT_FALSE(std::signbit(linear_ticks(0, 1, 2).front()));
}

TEST(TicksTest, OfNothingAreOne) { expect_ticks(linear_ticks(3, 3, 5), {3}); }

TEST(TicksTest, ArePowersOfTen) {
  expect_ticks(log_ticks(0.5, 2000, 8), {1, 10, 100, 1000});
  expect_ticks(log_ticks(3, 60, 8), {5, 10, 20, 50});
}

TEST(TicksTest, AreNeverTooMany) {
  const auto ticks = log_ticks(1e-9, 1e12, 6);
  EXPECT_LE(ticks.size(), 6u);
  EXPECT_GE(ticks.size(), 4u);
}

TEST(TicksTest, HaveShortLabels) {
  EXPECT_EQ(tick_label(0), "0");
  EXPECT_EQ(tick_label(0.001), "0.001");
  EXPECT_EQ(tick_label(2500), "2500");
  EXPECT_EQ(tick_label(1e4), "10 k");
  EXPECT_EQ(tick_label(3e6), "3000 k");
  EXPECT_EQ(tick_label(2e7), "20 M");
}

TEST(LabelsTest, AreMovedApart) {
  EXPECT_THAT(spread_labels({10, 12, 50}, 10, 0, 100), ElementsAre(10, 20, 50));
  EXPECT_THAT(spread_labels({95, 99}, 10, 0, 100), ElementsAre(90, 100));
  EXPECT_THAT(spread_labels({-5, 3}, 10, 0, 100), ElementsAre(0, 10));
}

}  // namespace
}  // namespace llamlx
