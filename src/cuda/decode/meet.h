#pragma once

#include "cuda/decode/decode.h"
#include "cuda/intrinsics.h"

namespace llamlx::cuda {

/// A barrier of the threads of a block that compute.
__device__ inline void meet_computing() { meet_group(1, kDecodeComputing); }

}  // namespace llamlx::cuda
