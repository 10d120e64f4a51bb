#include "bench/activity.h"

#include <utility>

namespace llamlx {

const char* to_string(Phase phase) {
  switch (phase) {
    case Phase::limits:
      return "limits";
    case Phase::load:
      return "load";
    case Phase::prompt:
      return "prompt";
    case Phase::generate:
      return "generate";
  }
  return "";
}

ActivityRecorder::ActivityRecorder(
    std::vector<std::unique_ptr<ActivityProbe>> probes,
    std::chrono::milliseconds interval)
    : interval_(interval), probes_(std::move(probes)) {
  for (const auto& probe : probes_) {
    const auto gauges = probe->gauges();
    activity_.gauges.insert(activity_.gauges.end(), gauges.begin(),
                            gauges.end());
    probe->read();
  }
  thread_ = std::thread([this] {
    std::unique_lock lock(mutex_);
    while (!stopped_.wait_for(lock, interval_, [&] { return stopping_; })) {
      sample();
    }
  });
}

ActivityRecorder::~ActivityRecorder() { join(); }

void ActivityRecorder::join() {
  if (!thread_.joinable()) return;
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  stopped_.notify_one();
  thread_.join();
}

void ActivityRecorder::sample() {
  Activity::Sample sample{now(), {}};
  for (const auto& probe : probes_) {
    const auto values = probe->read();
    sample.values.insert(sample.values.end(), values.begin(), values.end());
  }
  activity_.samples.push_back(std::move(sample));
}

double ActivityRecorder::now() const { return seconds_since(start_); }

void ActivityRecorder::enter(Phase phase, std::string label) {
  // The thread writes samples alone, and this one spans.
  const double time = now();
  if (!activity_.spans.empty()) activity_.spans.back().end = time;
  activity_.spans.push_back({phase, std::move(label), time, time});
}

Activity ActivityRecorder::stop() {
  join();
  sample();
  if (!activity_.spans.empty()) activity_.spans.back().end = now();
  return std::exchange(activity_, {});
}

}  // namespace llamlx
