#include "bench/gpu_limits.h"

#include <gtest/gtest.h>

#include "cuda/device.h"

namespace llamlx {
namespace {

GpuLimits example() {
  GpuLimits limits{"a GPU", 90, 132, std::uint64_t{80} << 30};
  limits.bandwidths = {{1 << 30, 3000, 2900}, {20'000'000, 7000, 6900}};
  limits.peaks = {{"wgmma", "float16", 900'000, 890'000},
                  {"mma", "float16", 600'000, 590'000}};
  return limits;
}

TEST(GpuLimitsTest, KnowsHowFastAsManyBytesAreRead) {
  EXPECT_EQ(best_bandwidth(example(), 2e7), 7000);
  EXPECT_EQ(best_bandwidth(example(), 2.02e7), 7000);
  EXPECT_EQ(best_bandwidth(example(), 4e7), 0);
}

TEST(GpuLimitsTest, OneSizeStandsForAllThatFillNoCache) {
  EXPECT_EQ(best_bandwidth(example(), 5e9), 3000);
  EXPECT_EQ(best_bandwidth(example(), 5e10), 3000);
}

TEST(GpuLimitsTest, TakesLessOfAGpuWithLittleMemory) {
  auto limits = example();
  limits.memory_bytes = std::uint64_t{8} << 30;
  EXPECT_EQ(best_bandwidth(limits, 5e9), 0);
  limits.bandwidths.push_back({1 << 29, 500, 490});
  EXPECT_EQ(best_bandwidth(limits, 5e9), 500);
}

TEST(GpuLimitsTest, CountsThreeProductsForOneOfFloat32) {
  const auto half = best_peak(example(), "bfloat16");
  EXPECT_EQ(half.unit, "wgmma float16");
  EXPECT_EQ(half.gflop_per_s, 900'000);
  EXPECT_EQ(half.parts, 1);
  const auto whole = best_peak(example(), "float32");
  EXPECT_EQ(whole.gflop_per_s, 300'000);
  EXPECT_EQ(whole.parts, 3);
}

TEST(GpuLimitsTest, AreThoseOfTheGpuThatThereIs) {
  auto limits = this_gpu();
  const auto info = cuda_device_info();
  ASSERT_EQ(limits.has_value(), info.has_value());
  if (!limits) GTEST_SKIP() << cuda_absence();
  EXPECT_EQ(limits->name, info->name);
  EXPECT_EQ(best_bandwidth(*limits, 1e5), 0);
  EXPECT_EQ(best_peak(*limits, "float16").gflop_per_s, 0);
  for (int i = 0; i < 2; ++i) {
    add_bandwidth(*limits, 1e5);
    add_peaks(*limits);
  }
  EXPECT_EQ(limits->bandwidths.size(), 1U);
  EXPECT_GT(best_bandwidth(*limits, 1e5), 0);
  EXPECT_GT(best_peak(*limits, "float16").gflop_per_s, 0);
}

}  // namespace
}  // namespace llamlx
