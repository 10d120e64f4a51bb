#pragma once

#include <optional>
#include <string>

#include "bench/bench.h"

namespace llamlx {

/// Tells where a benchmark is, and keeps the record of it.
class Watch {
 public:
  /// What is recorded.
  enum class Record { nothing, machine, machine_and_gpu };

  Watch(const BenchProgressFn& on_progress, Record record);

  void enter(Phase phase, const std::string& label);

  /// The seconds that all there is to do is expected to take.
  void expect(double seconds) { expected_ = seconds; }
  void finish(double seconds);

  Activity stop() { return recorder_ ? recorder_->stop() : Activity(); }

 private:
  void tell() const;

  const BenchProgressFn& on_progress_;
  std::optional<ActivityRecorder> recorder_;
  Phase phase_ = Phase::load;
  std::string label_;
  double expected_ = 0, done_ = 0;
};

}  // namespace llamlx
