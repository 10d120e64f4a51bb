#include "bench/machine_limits.h"

#include <gtest/gtest.h>

namespace llamlx {
namespace {

MachineLimits example() {
  MachineLimits limits;
  limits.bandwidths = {{100'000'000, 2, Pages::small, 40, 39},
                       {100'000'000, 2, Pages::huge, 46, 45},
                       {100'000'000, 1, Pages::huge, 30, 29},
                       {900'000, 2, Pages::huge, 400, 390}};
  limits.peaks = {{Isa::avx512, "float32", 2, 500, 490},
                  {Isa::avx512_vnni, "int8", 2, 2000, 1990},
                  {Isa::avx512_bf16, "bfloat16", 2, 1100, 1090},
                  {Isa::avx512, "float32", 1, 250, 240}};
  return limits;
}

TEST(MachineLimitsTest, TakesTheBestOfThePages) {
  EXPECT_EQ(best_bandwidth(example(), 1e8, 2), 46);
  EXPECT_EQ(best_bandwidth(example(), 1.01e8, 2), 46);
  EXPECT_EQ(best_bandwidth(example(), 1e8, 1), 30);
}

TEST(MachineLimitsTest, KnowsNothingOfOtherSizesAndThreads) {
  EXPECT_EQ(best_bandwidth(example(), 2e8, 2), 0);
  EXPECT_EQ(best_bandwidth(example(), 1e8, 3), 0);
}

TEST(MachineLimitsTest, ChoosesTheUnitThatServesTheType) {
  const auto limits = example();
  EXPECT_EQ(best_peak(limits, "float32", false, 2).gflop_per_s, 500);
  EXPECT_EQ(best_peak(limits, "float32", false, 1).gflop_per_s, 250);
  EXPECT_EQ(best_peak(limits, "bfloat16", false, 2).unit,
            "avx512_bf16 bfloat16");
  EXPECT_EQ(best_peak(limits, "float32", true, 2).gflop_per_s, 1000);
  EXPECT_EQ(best_peak(limits, "bfloat16", true, 2).gflop_per_s, 1100);
}

TEST(MachineLimitsTest, MeasuresWhatItDoesNotKnowOnce) {
  auto limits = this_machine();
  add_bandwidth(limits, 1e6, 1);
  add_bandwidth(limits, 1e6, 1);
  EXPECT_EQ(limits.bandwidths.size(), 2u);  // both sizes of pages
  EXPECT_GT(best_bandwidth(limits, 1e6, 1), 0);
}

TEST(MachineLimitsTest, OneSizeStandsForAllThatFillNoCache) {
  auto limits = this_machine();
  const auto largest = usual_working_sets().back();
  limits.bandwidths = {
      {static_cast<std::size_t>(largest), 1, Pages::small, 20, 19}};
  add_bandwidth(limits, 1e13, 1);
  const auto found = limits.bandwidths.back().bytes;
  EXPECT_LE(static_cast<double>(found), 1.01 * largest);
  EXPECT_GT(best_bandwidth(limits, 2e13, 1), 0);
}

}  // namespace
}  // namespace llamlx
