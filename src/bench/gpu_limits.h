#pragma once

#include <optional>
#include <string>

#include "bench/machine_limits.h"

namespace llamlx {

/// The GPU that our own kernels run on, with nothing measured yet; nothing
/// where there is none.
std::optional<GpuLimits> this_gpu();

/// Measures how fast `bytes` of its memory are read, unless that is known.
/// Beyond what any cache holds fewer stand for all. Where there is no memory
/// left to measure with, nothing is known afterwards.
void add_bandwidth(GpuLimits& limits, double bytes);

/// Measures its matrix unit, unless known.
void add_peaks(GpuLimits& limits);

/// The most that was measured for about `bytes`, GB/s; 0: nothing.
double best_bandwidth(const GpuLimits& limits, double bytes);

/// The fastest that it may multiply activations of type `dtype`. The unit takes
/// numbers of 16 bits, of which those of float32 need three.
ComputePeak best_peak(const GpuLimits& limits, const std::string& dtype);

}  // namespace llamlx
