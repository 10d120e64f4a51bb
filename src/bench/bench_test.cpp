#include "bench/bench.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing.h"
#include "cuda/device.h"
#include "cuda/modules.h"

namespace llamlx {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> names_of(const BenchOptions& options) {
  std::vector<std::string> names;
  for (const auto& test : tests_of(options)) names.push_back(name_of(test));
  return names;
}

TEST(BenchTestsTest, AreAllCombinations) {
  EXPECT_THAT(names_of({.prompts = {16, 512},
                        .generates = {8},
                        .depths = {0, 64},
                        .batches = {1, 4}}),
              ElementsAre("pp16", "pp512", "tg8", "tg8@b4", "pp16@d64",
                          "pp512@d64", "tg8@d64", "tg8@d64@b4"));
}

TEST(BenchTestsTest, LeaveSizesOfZeroOut) {
  EXPECT_THAT(names_of({.prompts = {0}, .generates = {0, 3}}),
              ElementsAre("tg3"));
}

TEST(BenchTestsTest, TakeAllProcessorsForZeroThreads) {
  for (const auto& test : tests_of({.threads = {0, 3}})) {
    EXPECT_GE(test.threads, 1);
  }
  EXPECT_EQ(tests_of({.threads = {0, 3}}).back().threads, 3);
}

TEST(BenchTestsTest, RefuseWhatCannotBeMeasured) {
  const auto refused = [](const BenchOptions& options) {
    EXPECT_THROW(tests_of(options), std::invalid_argument);
  };
  refused({.prompts = {0}, .generates = {0}});
  refused({.prompts = {-1}});
  refused({.generates = {1 << 30}});
  refused({.depths = {-1}});
  refused({.threads = {1 << 20}});
  refused({.batches = {0}});
  refused({.repetitions = 0});
  refused({.temperature = -1});
}

BenchResult easy_result() {
  BenchResult result;
  result.test = {.generate = 8};
  result.tokens_per_second = {100, 90, 105};
  result.per_token = {2e8, 4e8};
  result.bandwidth_gb_per_s = 40;
  result.peak = {"avx512 float32", 500};
  return result;
}

TEST(BenchResultTest, IsComparedWithTheNearestLimit) {
  auto result = easy_result();
  EXPECT_DOUBLE_EQ(result.gb_per_s(), 20);
  EXPECT_DOUBLE_EQ(result.gflop_per_s(), 40);
  EXPECT_DOUBLE_EQ(result.fraction_of_bandwidth(), 0.5);
  EXPECT_DOUBLE_EQ(result.fraction_of_peak(), 0.08);
  // 200 MB at 40 GB/s are 5 ms; 0.4 GFLOP at 500 are less.
  EXPECT_TRUE(result.is_memory_bound());
  EXPECT_DOUBLE_EQ(result.limit_tokens_per_second(), 200);
  result.peak.gflop_per_s = 60;
  EXPECT_FALSE(result.is_memory_bound());
  EXPECT_DOUBLE_EQ(result.limit_tokens_per_second(), 150);
}

TEST(BenchResultTest, HasNoFractionsWhereNothingWasMeasured) {
  auto result = easy_result();
  result.bandwidth_gb_per_s = result.peak.gflop_per_s = 0;
  EXPECT_EQ(result.fraction_of_bandwidth(), 0);
  EXPECT_EQ(result.fraction_of_peak(), 0);
}

BenchOptions quick_options() {
  return {.prompts = {5},
          .generates = {3},
          .depths = {0, 7},
          .threads = {1},
          .batches = {1, 2},
          .repetitions = 3};
}

TEST(RunBenchTest, MeasuresEveryTest) {
  auto options = quick_options();
  options.record_activity = true;
  std::vector<double> shares;
  const auto report =
      run_bench(LLAMLX_TEST_DATA "/tiny/gqa_4_2", {.device = Device::cpu},
                options, [&](const BenchProgress& progress) {
                  if (progress.phase == Phase::generate) {
                    shares.push_back(progress.share);
                  }
                });
  const auto expected = tests_of(options);
  ASSERT_EQ(report.results.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const auto& result = report.results[i];
    EXPECT_EQ(name_of(result.test), name_of(expected[i]));
    EXPECT_EQ(result.repetitions, 3);
    const auto& [median, min, max] = result.tokens_per_second;
    EXPECT_GT(min, 0);
    EXPECT_LE(min, median);
    EXPECT_LE(median, max);
    EXPECT_GT(result.per_token.bytes, 0);
    EXPECT_GT(result.fraction_of_bandwidth(), 0);
    EXPECT_GT(result.fraction_of_peak(), 0);
    EXPECT_GT(result.peak_memory_bytes, 1u << 20);
  }
  // A deeper answer moves and computes more; a batch shares the weights.
  const auto& answer = report.results[1].per_token;
  const auto& batch = report.results[2].per_token;
  const auto& deep = report.results[4].per_token;
  EXPECT_GT(deep.bytes, answer.bytes);
  EXPECT_GT(deep.flops, answer.flops);
  EXPECT_LT(batch.bytes, answer.bytes);
  EXPECT_DOUBLE_EQ(batch.flops, answer.flops);
  EXPECT_TRUE(std::ranges::is_sorted(shares));
  EXPECT_NEAR(shares.back(), 1, 1e-6);
  EXPECT_EQ(report.activity.spans.front().phase, Phase::load);
  EXPECT_EQ(report.activity.spans.back().label, "tg3@d7@b2");
}

TEST(RunBenchTest, MeasuresTheGpuBesideItsOwnLimits) {
  if (!cuda_device_info()) GTEST_SKIP() << cuda_absence();
  auto options = quick_options();
  options.record_activity = true;
  const auto report = run_bench(LLAMLX_TEST_DATA "/tiny/gqa_4_2",
                                {.device = Device::gpu}, options);
  ASSERT_TRUE(report.machine.gpu);
  EXPECT_FALSE(report.machine.gpu->bandwidths.empty());
  EXPECT_TRUE(report.machine.bandwidths.empty());
  for (const auto& result : report.results) {
    EXPECT_GT(result.fraction_of_bandwidth(), 0);
    EXPECT_GT(result.fraction_of_peak(), 0);
  }
  const auto tells = GpuMonitor().read();
  EXPECT_EQ(report.activity.gauges.size(),
            make_cpu_probe()->gauges().size() + (tells.busy_percent ? 1 : 0) +
                (tells.memory_used_bytes ? 1 : 0) + (tells.watts ? 1 : 0));
}

TEST(RunBenchTest, MeasuresTheLimitsOfTheGpuWithoutAModel) {
  if (!cuda_device_info()) GTEST_SKIP() << cuda_absence();
  if (cuda_modules().empty()) GTEST_SKIP() << "minutes, where it is emulated";
  const auto gpu = run_limits({1}, Device::gpu).machine.gpu;
  ASSERT_TRUE(gpu);
  EXPECT_EQ(gpu->bandwidths.size(), usual_working_sets().size());
  EXPECT_FALSE(gpu->peaks.empty());
}

TEST(RunBenchTest, MeasuresPartsOfASequenceBeyondTheContext) {
  const auto report = run_bench(
      LLAMLX_TEST_DATA "/tiny/short_context", {.device = Device::cpu},
      {.prompts = {0}, .generates = {2}, .depths = {600}, .repetitions = 1});
  EXPECT_THAT(report.notices.front(), HasSubstr("context"));
}

void expect_caches_refused(Device device) {
  const auto message = llamlx::testing::error_of(ErrorCode::out_of_memory, [&] {
    run_bench(LLAMLX_TEST_DATA "/tiny/gqa_4_2", {.device = device},
              {.prompts = {0}, .depths = {1 << 23}, .batches = {4096}});
  });
  EXPECT_THAT(message, HasSubstr("keys and values"));
}

TEST(RunBenchTest, RefusesCachesLargerThanTheMachine) {
  expect_caches_refused(Device::cpu);
}

TEST(RunBenchTest, RefusesCachesLargerThanTheGpu) {
  if (!cuda_device_info()) GTEST_SKIP() << cuda_absence();
  expect_caches_refused(Device::gpu);
}

}  // namespace
}  // namespace llamlx
