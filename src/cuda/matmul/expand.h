#pragma once

#include "cuda/matmul/packed_weight.h"

namespace llamlx::cuda {

inline constexpr int kExpandThreads = 256;

/// The numbers of an affine weight, rounded to float16, as a packed dense one:
/// made anew for every pass of many rows, which reads it many times.
///
/// Kernels  expand_affineB_gG_T; a warp for every tile.
struct ExpandArgs {
  const unsigned char* weight;
  long long tiles;  ///< of all blocks of rows
  unsigned char* out;
};

}  // namespace llamlx::cuda
