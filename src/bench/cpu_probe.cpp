#include <fstream>
#include <string>

#include <sys/resource.h>

#include "base/clock.h"
#include "base/cpu_count.h"
#include "base/system_memory.h"
#include "bench/activity.h"

namespace llamlx {
namespace {

double seconds_of(const timeval& time) {
  return static_cast<double>(time.tv_sec) + 1e-6 * double(time.tv_usec);
}

/// Processor seconds of all threads of this process.
double process_seconds() {
  struct rusage usage {};
  ::getrusage(RUSAGE_SELF, &usage);
  return seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime);
}

/// Ticks of all processors since the machine started.
struct MachineTicks {
  double all = 0;
  double idle = 0;
};

/// The first line of /proc/stat: user, nice, system, idle, iowait, irq,
/// softirq, steal. Source: Linux, Documentation/filesystems/proc.rst.
MachineTicks machine_ticks() {
  constexpr int kFields = 8, kIdle = 3, kWaiting = 4;
  std::ifstream file("/proc/stat");
  std::string name;
  file >> name;
  MachineTicks ticks;
  for (int field = 0; field < kFields; ++field) {
    double count = 0;
    if (!(file >> count)) return {};
    ticks.all += count;
    if (field == kIdle || field == kWaiting) ticks.idle += count;
  }
  return ticks;
}

class CpuProbe final : public ActivityProbe {
 public:
  std::vector<Gauge> gauges() const override {
    std::vector<Gauge> gauges = {
        {"CPU of llamlx", Gauge::Unit::percent},
        {"memory of llamlx", Gauge::Unit::bytes},
    };
    if (has_machine_) gauges.push_back({"CPU of all", Gauge::Unit::percent});
    return gauges;
  }

  std::vector<double> read() override {
    const auto time = Clock::now();
    const double process = process_seconds();
    const double wall = std::chrono::duration<double>(time - time_).count();
    if (wall > 0) process_ = 100 * (process - used_) / wall / processors_;
    time_ = time;
    used_ = process;
    std::vector<double> values = {process_,
                                  static_cast<double>(resident_memory_bytes())};
    if (has_machine_) values.push_back(machine_percent());
    return values;
  }

 private:
  double machine_percent() {
    const auto ticks = machine_ticks();
    const double all = ticks.all - ticks_.all;
    // The machine counts in ticks of 10 ms: several samples share one.
    if (all < kFewestTicks * processors_) return machine_;
    machine_ = 100 * (1 - (ticks.idle - ticks_.idle) / all);
    ticks_ = ticks;
    return machine_;
  }

  static constexpr double kFewestTicks = 10;

  const double processors_ = cpu_count().online;
  const bool has_machine_ = machine_ticks().all > 0;
  Clock::time_point time_ = Clock::now();
  double used_ = process_seconds();
  double process_ = 0;
  MachineTicks ticks_ = machine_ticks();
  double machine_ = 0;
};

}  // namespace

std::unique_ptr<ActivityProbe> make_cpu_probe() {
  return std::make_unique<CpuProbe>();
}

}  // namespace llamlx
