#include "bench/gpu_limits.h"

#include <algorithm>
#include <cmath>

#include "base/concat.h"
#include "base/error.h"
#include "cuda/device.h"

namespace llamlx {
namespace {

/// Beyond this nothing changes any more.
constexpr double kLargest = double{1 << 30};

/// The bytes that are measured in place of `bytes`: of a GPU with little memory
/// no more than a model leaves, and always as many.
double measured_bytes(const GpuLimits& limits, double bytes) {
  double largest = kLargest;
  const auto total = static_cast<double>(limits.memory_bytes);
  while (largest > total / 16) largest /= 2;
  return std::min(bytes, largest);
}

}  // namespace

std::optional<GpuLimits> this_gpu() {
  const auto info = cuda_device_info();
  if (!info) return std::nullopt;
  return GpuLimits{info->name, info->compute_capability, info->multiprocessors,
                   info->memory_bytes};
}

void add_bandwidth(GpuLimits& limits, double bytes) {
  if (best_bandwidth(limits, bytes) > 0) return;
  try {
    limits.bandwidths.push_back(measure_gpu_read_bandwidth(
        static_cast<std::size_t>(measured_bytes(limits, bytes))));
  } catch (const Error& error) {
    if (error.code() != ErrorCode::out_of_memory) throw;
  }
}

void add_peaks(GpuLimits& limits) {
  if (limits.peaks.empty()) limits.peaks = measure_gpu_peaks();
}

double best_bandwidth(const GpuLimits& limits, double bytes) {
  constexpr double kNear = 0.05;
  const double wanted = measured_bytes(limits, bytes);
  double best = 0;
  for (const auto& found : limits.bandwidths) {
    const double away = std::abs(static_cast<double>(found.bytes) - wanted);
    if (away <= kNear * wanted + 16) best = std::max(best, found.best_gb_per_s);
  }
  return best;
}

ComputePeak best_peak(const GpuLimits& limits, const std::string& dtype) {
  const int parts = dtype == "float32" ? 3 : 1;
  ComputePeak best;
  for (const auto& peak : limits.peaks) {
    const double rate = peak.best_gop_per_s / parts;
    if (rate > best.gflop_per_s) {
      best = {concat(peak.unit, ' ', peak.type), rate, parts};
    }
  }
  return best;
}

}  // namespace llamlx
