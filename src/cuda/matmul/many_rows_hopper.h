#pragma once

#include "cuda/matmul/many_rows.h"

namespace llamlx::cuda {

inline constexpr int kHopperThreads = 256;  ///< two warpgroups
inline constexpr int kHopperBlock = 128;    ///< rows of the weight
inline constexpr int kHopperStages = 4;

/// Bytes of dynamic shared memory of a block that takes so many rows of x: its
/// stages, two of the weight, and what aligns them.
constexpr int hopper_shared_bytes(int tokens) {
  return (kHopperStages * tokens + 2 * kHopperBlock) * kTileCols * 2 + 1024;
}

// As many_rows.h says, on the matrix unit of compute capability 9.0 alone: x as
// make_operands makes it for warpgroups.
//
// Kernels  many_rows_hopper_W_nN: N of 128 and 256 is how many rows of x a
// block
//          takes; W of f16, bf16, or affineB_gG_T with B of 4 and 8, G of 32
//          and 64 and T of f16 and bf16, whose numbers are rounded to float16
//          when they are multiplied.

/// Whether there is a kernel for weights of this kind as they are.
constexpr bool hopper_reads(const PackedLayout& layout) {
  if (layout.type == NumberType::f32) return false;
  return layout.bits == 0 || layout.bits == 4 || layout.bits == 8;
}

}  // namespace llamlx::cuda
