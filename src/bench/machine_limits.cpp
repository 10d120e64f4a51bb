#include "bench/machine_limits.h"

#include <algorithm>
#include <cmath>

#include "base/concat.h"
#include "base/cpu_count.h"
#include "base/cpu_features.h"
#include "base/system_memory.h"

namespace llamlx {
namespace {

constexpr double kMiB = 1 << 20;

/// Beyond this nothing changes any more; filling it takes long enough.
constexpr double kLargest = 1024 * kMiB;

/// The bytes that are measured in place of `bytes`. The largest is some power
/// of two below a quarter of the memory, so that it is always the same one.
std::size_t measured_bytes(double bytes) {
  double largest = kLargest;
  const auto total = static_cast<double>(system_memory().total_bytes);
  while (total > 0 && largest > total / 4) largest /= 2;
  return static_cast<std::size_t>(std::min(bytes, largest));
}

/// Whether a figure for `found` bytes speaks of `bytes`, too.
bool stands_for(std::size_t found, double bytes) {
  constexpr double kNear = 0.05;
  const auto wanted = static_cast<double>(measured_bytes(bytes));
  return std::abs(static_cast<double>(found) - wanted) <= kNear * wanted + 4096;
}

}  // namespace

MachineLimits this_machine() {
  const auto count = cpu_count();
  return {cpu_name(), count.online, count.usable,
          std::string(to_string(active_isa()))};
}

void add_bandwidth(MachineLimits& limits, double bytes, int threads) {
  if (best_bandwidth(limits, bytes, threads) > 0) return;
  const auto pool = thread_pool(threads);
  for (const auto pages : {Pages::small, Pages::huge}) {
    limits.bandwidths.push_back(
        measure_read_bandwidth(measured_bytes(bytes), *pool, pages));
  }
}

void add_peaks(MachineLimits& limits, int threads) {
  const bool known = std::ranges::any_of(
      limits.peaks, [&](const auto& peak) { return peak.threads == threads; });
  if (known) return;
  const auto peaks = measure_unit_peaks(*thread_pool(threads));
  limits.peaks.insert(limits.peaks.end(), peaks.begin(), peaks.end());
}

std::span<const double> usual_working_sets() {
  static constexpr double kSets[] = {kMiB,      4 * kMiB,   16 * kMiB,
                                     64 * kMiB, 256 * kMiB, 1024 * kMiB};
  return kSets;
}

double best_bandwidth(const MachineLimits& limits, double bytes, int threads) {
  double best = 0;
  for (const auto& found : limits.bandwidths) {
    if (found.threads == threads && stands_for(found.bytes, bytes)) {
      best = std::max(best, found.best_gb_per_s);
    }
  }
  return best;
}

ComputePeak best_peak(const MachineLimits& limits, const std::string& dtype,
                      bool quantized, int threads) {
  ComputePeak best;
  for (const auto& peak : limits.peaks) {
    const bool is_integer = peak.type == "int8";
    if (peak.threads != threads) continue;
    if (is_integer && !quantized) continue;
    if (peak.type == "bfloat16" && dtype != "bfloat16") continue;
    const int parts = is_integer ? 2 : 1;
    const double rate = peak.best_gop_per_s / parts;
    if (rate > best.gflop_per_s) {
      best = {concat(to_string(peak.isa), ' ', peak.type), rate, parts};
    }
  }
  return best;
}

}  // namespace llamlx
