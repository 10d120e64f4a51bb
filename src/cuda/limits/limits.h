#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

namespace llamlx {

/// How fast the GPU reads its memory.
struct GpuReadBandwidth {
  std::size_t bytes = 0;  ///< read again and again
  double best_gb_per_s = 0;
  double median_gb_per_s = 0;
};

/// How fast the GPU's matrix unit multiplies and adds, without any memory.
struct GpuPeak {
  std::string_view unit;  ///< the instructions: "wgmma", "mma"
  std::string_view type;  ///< of the factors: "float16"; bfloat16 is as fast
  double best_gop_per_s = 0;  ///< a multiplication and an addition are two
  double median_gop_per_s = 0;
};

/// How long one figure may take; at least three passes are made.
inline constexpr double kGpuLimitSeconds = 0.2;

/// Reads `bytes` of the GPU's memory over and over: what no kernel that reads
/// as much can exceed. Fewer than its cache holds are read from there.
/// Errors: Error (out_of_memory), (no_device).
GpuReadBandwidth measure_gpu_read_bandwidth(std::size_t bytes,
                                            double seconds = kGpuLimitSeconds);

/// The matrix unit by each kind of instructions that this GPU and this build
/// have. Errors: Error (no_device).
std::vector<GpuPeak> measure_gpu_peaks(double seconds = kGpuLimitSeconds);

}  // namespace llamlx
