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

}  // namespace
}  // namespace llamlx
