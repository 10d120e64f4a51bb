#include "cuda/limits/limits.h"

#include <gmock/gmock.h>

#include "cuda/emulator/emulator.h"
#include "cuda/limits/multiply.h"
#include "cuda/limits/read.h"
#include "cuda/modules.h"
#include "cuda/testing.h"

namespace llamlx {
namespace {

TEST(GpuLimitKernels, WriteNothing) {
  const std::vector<cuda::Words4> words(1000, cuda::Words4{{1, 2, 4, 8}});
  std::uint32_t sink = 7;
  cuda::emulate("read_memory", {.grid_x = 2, .block = cuda::kReadThreads},
                cuda::ReadArgs{words.data(), 1000, &sink});
  EXPECT_EQ(sink, 7U);
  float sum = 7;
  for (const auto* name : {"multiply_mma", "multiply_warpgroups"}) {
    cuda::emulate(name,
                  {.block = cuda::kMultiplyThreads,
                   .shared_bytes = cuda::kMultiplySharedBytes},
                  cuda::MultiplyArgs{2, &sum});
    EXPECT_EQ(sum, 7) << name;
  }
}

using GpuLimitsTest = testing::GpuTest;

TEST_F(GpuLimitsTest, ReadsAsManyBytesAsItIsTold) {
  const auto found = measure_gpu_read_bandwidth(100'001, 0.01);
  EXPECT_EQ(found.bytes, 100'016U);
  EXPECT_GT(found.median_gb_per_s, 0);
  EXPECT_GE(found.best_gb_per_s, found.median_gb_per_s);
}

TEST_F(GpuLimitsTest, MeasuresTheUnitsThatThereAre) {
  const auto peaks = measure_gpu_peaks(0.01);
  ASSERT_EQ(peaks.size(), has_warpgroups(*cuda_device_info()) ? 2U : 1U);
  EXPECT_EQ(peaks.back().unit, "mma");
  for (const auto& peak : peaks) {
    EXPECT_GT(peak.median_gop_per_s, 0);
    EXPECT_GE(peak.best_gop_per_s, peak.median_gop_per_s);
  }
  // What the matrix unit is for.
  if (peaks.size() == 2) {
    EXPECT_GT(peaks[0].best_gop_per_s, peaks[1].best_gop_per_s);
  }
}

}  // namespace
}  // namespace llamlx
