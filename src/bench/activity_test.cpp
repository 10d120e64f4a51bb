#include "bench/activity.h"

#include <atomic>

#include <gtest/gtest.h>

namespace llamlx {
namespace {

/// Counts how often it is read.
class CountingProbe final : public ActivityProbe {
 public:
  explicit CountingProbe(std::atomic<int>& reads) : reads_(reads) {}
  std::vector<Gauge> gauges() const override {
    return {{"reads", Gauge::Unit::bytes}};
  }
  std::vector<double> read() override { return {double(reads_++)}; }

 private:
  std::atomic<int>& reads_;
};

TEST(ActivityRecorderTest, SamplesUntilItIsStopped) {
  std::atomic<int> reads = 0;
  std::vector<std::unique_ptr<ActivityProbe>> probes;
  probes.push_back(std::make_unique<CountingProbe>(reads));
  ActivityRecorder recorder(std::move(probes), std::chrono::milliseconds(1));
  recorder.enter(Phase::load, "a");
  while (reads < 5) std::this_thread::yield();
  recorder.enter(Phase::prompt, "b");
  const auto activity = recorder.stop();
  const int total = reads;
  ASSERT_GE(activity.samples.size(), 4u);
  // The first read begins the time of the second, and is no sample.
  EXPECT_EQ(activity.samples.size(), static_cast<std::size_t>(total - 1));
  EXPECT_EQ(activity.samples.front().values.front(), 1);
  ASSERT_EQ(activity.spans.size(), 2u);
  EXPECT_EQ(activity.spans[0].end, activity.spans[1].begin);
  EXPECT_LE(activity.spans[1].begin, activity.spans[1].end);
  EXPECT_EQ(reads, total);
}

TEST(ActivityRecorderTest, EndsWithoutBeingAsked) {
  std::vector<std::unique_ptr<ActivityProbe>> probes;
  probes.push_back(make_cpu_probe());
  const ActivityRecorder recorder(std::move(probes));
}

TEST(CpuProbeTest, SeesThisProcessAtWork) {
  const auto probe = make_cpu_probe();
  probe->read();
  const auto start = std::chrono::steady_clock::now();
  while (std::chrono::steady_clock::now() - start <
         std::chrono::milliseconds(30)) {
  }
  const auto gauges = probe->gauges();
  const auto values = probe->read();
  ASSERT_EQ(values.size(), gauges.size());
  for (std::size_t i = 0; i < gauges.size(); ++i) {
    if (gauges[i].unit == Gauge::Unit::bytes) {
      EXPECT_GT(values[i], 1e6);
    } else if (gauges[i].name == "CPU of llamlx") {
      EXPECT_GT(values[i], 0);
    }
  }
}

TEST(GpuProbeTest, ShowsWhatIsToldAndRemembersWhatFailsForOnce) {
  GpuActivity told{.busy_percent = 50,
                   .memory_used_bytes = 2'000'000'000,
                   .memory_total_bytes = 8'000'000'000,
                   .watts = std::nullopt,
                   .sm_clock_mhz = 1980};
  const auto probe = make_gpu_probe([&] { return told; });
  const auto gauges = probe->gauges();
  ASSERT_EQ(gauges.size(), 2U);
  EXPECT_EQ(gauges[0].name, kGpuBusy);
  EXPECT_EQ(gauges[1].name, kGpuMemory);
  EXPECT_EQ(probe->read(), (std::vector<double>{50, 2e9}));
  told.busy_percent = std::nullopt;
  told.memory_used_bytes = 3'000'000'000;
  told.watts = 300;
  EXPECT_EQ(probe->read(), (std::vector<double>{50, 3e9}));
}

TEST(GpuProbeTest, ShowsNothingWhereNothingIsTold) {
  const auto probe = make_gpu_probe([] { return GpuActivity(); });
  EXPECT_TRUE(probe->gauges().empty());
  EXPECT_TRUE(probe->read().empty());
  EXPECT_EQ(make_gpu_probe()->read().size(), make_gpu_probe()->gauges().size());
}

TEST(GpuDuringTest, IsTheMeanOfASpanAndTheMostOfMemory) {
  Activity activity;
  activity.gauges = {{"CPU of llamlx", Gauge::Unit::percent},
                     {kGpuMemory, Gauge::Unit::bytes},
                     {kGpuPower, Gauge::Unit::watts}};
  activity.samples = {{0.5, {9, 1e9, 100}},
                      {1.5, {9, 4e9, 300}},
                      {2.0, {9, 3e9, 400}},
                      {3.5, {9, 9e9, 999}}};
  activity.spans = {{Phase::load, "load", 0, 1},
                    {Phase::prompt, "pp5", 1, 3},
                    {Phase::generate, "tg3", 3, 3.1}};
  const auto during = gpu_during(activity, activity.spans[1]);
  EXPECT_FALSE(during.busy_percent);
  EXPECT_EQ(during.memory_used_bytes, 4'000'000'000);
  EXPECT_EQ(during.watts, 350);
  EXPECT_FALSE(gpu_during(activity, activity.spans[2]).watts);
}

}  // namespace
}  // namespace llamlx
