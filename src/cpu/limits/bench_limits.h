#pragma once

#include <algorithm>
#include <map>
#include <string_view>
#include <vector>

#include "cpu/limits/limits.h"

namespace llamlx {

/// For benchmarks: GOP/s of the fastest unit up to `last` that multiplies
/// numbers of `type`, by the threads of `pool`; 0 when there is none. Measured
/// once for each number of threads. Threads: one at a time.
inline double unit_peak(std::string_view type, Isa last, ThreadPool& pool) {
  static std::map<int, std::vector<UnitPeak>> peaks;
  auto& measured = peaks[pool.size()];
  if (measured.empty()) measured = measure_unit_peaks(pool);
  double most = 0;
  for (const auto& peak : measured) {
    if (peak.type != type || peak.isa > last) continue;
    most = std::max(most, peak.best_gop_per_s);
  }
  return most;
}

}  // namespace llamlx
