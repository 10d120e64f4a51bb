#pragma once

namespace llamlx::cuda {

inline constexpr int kMultiplyThreads = 256;

// Products of 16 bits by one mma instruction of a warp, and by one step of a
// warpgroup, counted as multiplications and additions.
inline constexpr int kMmaAtOnce = 16;
inline constexpr double kMmaOperations = 2.0 * 16 * 8 * 16;
inline constexpr double kWarpgroupOperations = 2.0 * 64 * 256 * 64;

/// A block's shared memory for warpgroups: 64 rows for each of two, and 256
/// that both multiply with, 64 numbers a row, from a multiple of 1024 bytes on.
inline constexpr int kWarpgroupBytes = (2 * 64 + 256) * 64 * 2;
inline constexpr unsigned kMultiplySharedBytes = kWarpgroupBytes + 1024;

/// Multiplies numbers that it has at hand, and reads no memory: how fast can
/// the matrix unit be? Sums are float32.
///
/// Kernel   multiply_mma: every warp, kMmaAtOnce instructions a step; blocks of
///          kMultiplyThreads, two on a multiprocessor.
/// Kernel   multiply_warpgroups: two warpgroups a block, one block on a
///          multiprocessor, kMultiplySharedBytes. Nothing but on compute
///          capability 9.0 (has_warpgroups()).
struct MultiplyArgs {
  int steps;
  float* sink;  ///< written only if all sums are one odd number
};

}  // namespace llamlx::cuda
