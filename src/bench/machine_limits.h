#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cpu/limits/limits.h"
#include "cuda/limits/limits.h"

namespace llamlx {

/// What the GPU is, and what it was measured to do at most (gpu_limits.h).
struct GpuLimits {
  std::string name;
  int compute_capability = 0;  ///< 90 for 9.0
  int multiprocessors = 0;
  std::uint64_t memory_bytes = 0;
  std::vector<GpuReadBandwidth> bandwidths = {};
  std::vector<GpuPeak> peaks = {};
};

/// What this machine is, and what it was measured to do at most.
struct MachineLimits {
  std::string cpu;
  int cores = 1;    ///< of the machine
  int threads = 1;  ///< as many as this process may keep busy
  std::string isa;  ///< that kernels may use
  std::vector<ReadBandwidth> bandwidths = {};
  std::vector<UnitPeak> peaks = {};
  std::optional<GpuLimits> gpu = {};  ///< where it computes
};

/// The machine, with nothing measured yet.
MachineLimits this_machine();

/// Measures how fast `bytes` are read by `threads` threads, with either size of
/// pages, unless that is known. Beyond what any cache holds, and a part of the
/// memory, fewer stand for all.
void add_bandwidth(MachineLimits& limits, double bytes, int threads);

/// Measures the units that multiply with `threads` threads, unless known.
void add_peaks(MachineLimits& limits, int threads);

/// Working sets from a core's own cache to memory, for a curve.
std::span<const double> usual_working_sets();

/// The most that was measured for about `bytes` and `threads`, GB/s; 0: none.
double best_bandwidth(const MachineLimits& limits, double bytes, int threads);

/// The unit that computes a product of the model's at the highest rate.
struct ComputePeak {
  std::string unit;  ///< "avx512 float32"
  double gflop_per_s = 0;
  int parts = 1;  ///< products of the unit that one of the model's takes
};

/// The fastest that `threads` threads may multiply activations of type `dtype`
/// with weights. A unit of bfloat16 serves bfloat16 alone. Quantised weights
/// are integers, so a unit of int8 serves them, at half its rate: it takes two
/// products where an activation needs more than 8 bits.
ComputePeak best_peak(const MachineLimits& limits, const std::string& dtype,
                      bool quantized, int threads);

}  // namespace llamlx
