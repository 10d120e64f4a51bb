#include <algorithm>
#include <numeric>
#include <utility>

#include "bench/activity.h"

namespace llamlx {
namespace {

/// One of the numbers of GpuActivity as a gauge.
struct GpuGauge {
  Gauge gauge;
  std::optional<double> (*value)(const GpuActivity& activity);
};

const GpuGauge kGauges[] = {
    {{kGpuBusy, Gauge::Unit::percent},
     [](const GpuActivity& activity) { return activity.busy_percent; }},
    {{kGpuMemory, Gauge::Unit::bytes},
     [](const GpuActivity& activity) -> std::optional<double> {
       if (!activity.memory_used_bytes) return std::nullopt;
       return static_cast<double>(*activity.memory_used_bytes);
     }},
    {{kGpuPower, Gauge::Unit::watts},
     [](const GpuActivity& activity) { return activity.watts; }},
};

class GpuProbe final : public ActivityProbe {
 public:
  explicit GpuProbe(GpuReader read) : read_(std::move(read)) {
    const auto activity = read_();
    for (const auto& gauge : kGauges) {
      if (const auto value = gauge.value(activity)) {
        told_.push_back(&gauge);
        last_.push_back(*value);
      }
    }
  }

  std::vector<Gauge> gauges() const override {
    std::vector<Gauge> gauges;
    for (const auto* told : told_) gauges.push_back(told->gauge);
    return gauges;
  }

  /// A number that fails for once is the one before.
  std::vector<double> read() override {
    const auto activity = read_();
    for (std::size_t i = 0; i < told_.size(); ++i) {
      last_[i] = told_[i]->value(activity).value_or(last_[i]);
    }
    return last_;
  }

 private:
  GpuReader read_;
  std::vector<const GpuGauge*> told_;
  std::vector<double> last_;
};

/// What the gauge said during `span`.
std::vector<double> values_during(const Activity& activity,
                                  const Activity::Span& span,
                                  std::string_view name) {
  std::vector<double> values;
  const auto gauge = std::ranges::find(activity.gauges, name, &Gauge::name);
  if (gauge == activity.gauges.end()) return values;
  const auto index = static_cast<std::size_t>(gauge - activity.gauges.begin());
  for (const auto& sample : activity.samples) {
    if (sample.seconds < span.begin || sample.seconds > span.end) continue;
    values.push_back(sample.values.at(index));
  }
  return values;
}

std::optional<double> mean_of(const std::vector<double>& values) {
  if (values.empty()) return std::nullopt;
  return std::accumulate(values.begin(), values.end(), 0.0) /
         static_cast<double>(values.size());
}

}  // namespace

GpuActivity gpu_during(const Activity& activity, const Activity::Span& span) {
  GpuActivity during;
  during.busy_percent = mean_of(values_during(activity, span, kGpuBusy));
  during.watts = mean_of(values_during(activity, span, kGpuPower));
  const auto memory = values_during(activity, span, kGpuMemory);
  if (!memory.empty()) {
    during.memory_used_bytes =
        static_cast<std::uint64_t>(std::ranges::max(memory));
  }
  return during;
}

std::unique_ptr<ActivityProbe> make_gpu_probe(GpuReader read) {
  return std::make_unique<GpuProbe>(std::move(read));
}

std::unique_ptr<ActivityProbe> make_gpu_probe() {
  return make_gpu_probe([monitor = GpuMonitor()] { return monitor.read(); });
}

}  // namespace llamlx
