#include "bench/watch.h"

#include <algorithm>

namespace llamlx {

Watch::Watch(const BenchProgressFn& on_progress, Record record)
    : on_progress_(on_progress) {
  if (record == Record::nothing) return;
  std::vector<std::unique_ptr<ActivityProbe>> probes;
  probes.push_back(make_cpu_probe());
  if (record == Record::machine_and_gpu) probes.push_back(make_gpu_probe());
  recorder_.emplace(std::move(probes));
}

void Watch::enter(Phase phase, const std::string& label) {
  phase_ = phase;
  label_ = label;
  if (recorder_) recorder_->enter(phase, label);
  tell();
}

void Watch::finish(double seconds) {
  done_ += seconds;
  tell();
}

void Watch::tell() const {
  if (!on_progress_) return;
  const double share = expected_ > 0 ? done_ / expected_ : 0;
  on_progress_({phase_, label_, std::min(share, 1.0)});
}

}  // namespace llamlx
