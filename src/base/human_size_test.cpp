#include "base/human_size.h"

#include <cstdint>
#include <limits>

#include <gtest/gtest.h>

namespace llamlx {
namespace {

TEST(HumanSizeTest, KeepsThreeDigits) {
  EXPECT_EQ(human_size(0), "0 B");
  EXPECT_EQ(human_size(999), "999 B");
  EXPECT_EQ(human_size(1000), "1.00 kB");
  EXPECT_EQ(human_size(96'300'000), "96.3 MB");
  EXPECT_EQ(human_size(270'000'000), "270 MB");
  EXPECT_EQ(human_size(1'214'000'000), "1.21 GB");
}

TEST(HumanSizeTest, RoundsIntoTheNextUnit) {
  EXPECT_EQ(human_size(999'499), "999 kB");
  EXPECT_EQ(human_size(999'500), "1.00 MB");
  EXPECT_EQ(human_size(9'996), "10.0 kB");
}

TEST(HumanSizeTest, TakesTheLargestNumber) {
  EXPECT_EQ(human_size(std::numeric_limits<std::uint64_t>::max()), "18.4 EB");
}

TEST(HumanCountTest, KeepsThreeDigits) {
  EXPECT_EQ(human_count(576), "576");
  EXPECT_EQ(human_count(134'515'008), "135 M");
  EXPECT_EQ(human_count(999'600), "1 M");
  EXPECT_EQ(human_count(1'235'814'400), "1.24 B");
}

}  // namespace
}  // namespace llamlx
