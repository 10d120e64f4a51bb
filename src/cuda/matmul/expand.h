#pragma once

#include "cuda/matmul/packed_weight.h"

namespace llamlx::cuda {

inline constexpr int kExpandThreads = 256;

/// The numbers of a weight of codes as a packed dense one: of an affine one
/// rounded to float16, of nvfp4 and mxfp8 in bfloat16. Made anew for every pass
/// of many rows, which reads it many times.
///
/// Kernels  expand_affineB_gG_T, expand_nvfp4, expand_mxfp8; a warp for every
///          tile.
struct ExpandArgs {
  const unsigned char* weight;
  long long tiles;  ///< of all blocks of rows
  unsigned char* out;
};

}  // namespace llamlx::cuda
