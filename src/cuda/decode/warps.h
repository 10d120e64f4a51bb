#pragma once

#include "cuda/intrinsics.h"

namespace llamlx::cuda {

/// The number of this thread's warp in its block, and of its lane: from where
/// they stand in the program on (thread_now()). By all lanes of a warp
/// together, which so have the same number for all that the compiler knows: it
/// keeps what follows from it once a warp.
__device__ inline int warp_now() {
  const auto warp = static_cast<unsigned>(thread_now()) / kWarpSize;
  return static_cast<int>(__shfl_sync(kAllLanes, warp, 0));
}
__device__ inline unsigned lane_now() {
  return static_cast<unsigned>(thread_now()) % kWarpSize;
}

}  // namespace llamlx::cuda
