#pragma once

#include "cuda/intrinsics.h"

namespace llamlx::cuda {

/// The number of this thread's warp in its block, and of its lane: from where
/// they stand in the program on (thread_now()).
__device__ inline int warp_now() {
  return static_cast<int>(static_cast<unsigned>(thread_now()) / kWarpSize);
}
__device__ inline unsigned lane_now() {
  return static_cast<unsigned>(thread_now()) % kWarpSize;
}

}  // namespace llamlx::cuda
