#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "cuda/nvml.h"

namespace llamlx {

/// What is going on while an activity is recorded.
enum class Phase { limits, load, prompt, generate };

/// "limits", "load", "prompt", "generate".
const char* to_string(Phase phase);

/// One curve of a record.
struct Gauge {
  enum class Unit { percent, bytes, watts };
  std::string name;
  Unit unit;
};

/// Reads something of the machine again and again.
class ActivityProbe {
 public:
  virtual ~ActivityProbe() = default;

  virtual std::vector<Gauge> gauges() const = 0;

  /// A value for each of gauges(); shares are those of the time since the call
  /// before (the first call's do not count).
  virtual std::vector<double> read() = 0;
};

/// The processor time of this process and of the whole machine, each in per
/// cent of all its processors, and the memory of this process. What the system
/// does not tell is left out.
std::unique_ptr<ActivityProbe> make_cpu_probe();

/// What gauges of a GPU are called.
inline constexpr const char* kGpuBusy = "GPU busy";
inline constexpr const char* kGpuMemory = "GPU memory";
inline constexpr const char* kGpuPower = "GPU power";

/// How busy the GPU of this process is, its memory and its power, of all
/// programs that use it. What is not told at first is left out: all of it,
/// where NVML is not there.
std::unique_ptr<ActivityProbe> make_gpu_probe();

/// The same of what `read` tells.
using GpuReader = std::function<GpuActivity()>;
std::unique_ptr<ActivityProbe> make_gpu_probe(GpuReader read);

/// What was going on, and what the gauges said.
struct Activity {
  struct Sample {
    double seconds;  ///< since the beginning
    std::vector<double> values;
  };
  struct Span {
    Phase phase;
    std::string label;
    double begin, end;  ///< seconds
  };
  std::vector<Gauge> gauges;
  std::vector<Sample> samples;
  std::vector<Span> spans;
};

/// What the GPU did during a part of a record: the means of its gauges, and the
/// most of its memory. Nothing where the record does not say.
GpuActivity gpu_during(const Activity& activity, const Activity::Span& span);

/// Reads probes from a thread of its own until stop().
/// Threads: enter() and stop() from one.
class ActivityRecorder {
 public:
  explicit ActivityRecorder(
      std::vector<std::unique_ptr<ActivityProbe>> probes,
      std::chrono::milliseconds interval = std::chrono::milliseconds(50));
  ActivityRecorder(const ActivityRecorder&) = delete;
  ActivityRecorder& operator=(const ActivityRecorder&) = delete;
  ~ActivityRecorder();

  /// A phase begins, and the one before it ends.
  void enter(Phase phase, std::string label);

  /// Ends the last phase and hands out the record.
  Activity stop();

 private:
  void sample();
  void join();
  double now() const;

  const Clock::time_point start_ = Clock::now();
  const std::chrono::milliseconds interval_;
  std::vector<std::unique_ptr<ActivityProbe>> probes_;
  Activity activity_;
  std::mutex mutex_;
  std::condition_variable stopped_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace llamlx
