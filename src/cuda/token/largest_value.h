#pragma once

#include "cuda/intrinsics.h"
#include "cuda/token/argmax.h"

namespace llamlx::cuda {

/// Smaller than every value that is seen.
__device__ inline LargestValue no_value() { return {-HUGE_VALF, 0x7fffffff}; }

__device__ inline LargestValue seen_value(const Draw& draw, float logit,
                                          int index, int row) {
  if (!(fabsf(logit) < HUGE_VALF)) return {0, -1};
  return {value_to_compare(draw, logit, index, row), index};
}

/// The larger of two; of equals the first; of any that is not finite, that.
__device__ inline LargestValue larger(const LargestValue& a,
                                      const LargestValue& b) {
  // Without branches: warps have nothing else to do meanwhile.
  const bool is_larger =
      (a.value > b.value) | ((a.value == b.value) & (a.index < b.index));
  const bool is_first = (a.index < 0) | ((b.index >= 0) & is_larger);
  return {is_first ? a.value : b.value, is_first ? a.index : b.index};
}

/// Of all lanes of a warp, which all get it.
__device__ inline LargestValue largest_of_warp(LargestValue mine) {
  for (int step = kWarpSize / 2; step > 0; step /= 2) {
    const LargestValue other = {__shfl_xor_sync(kAllLanes, mine.value, step),
                                __shfl_xor_sync(kAllLanes, mine.index, step)};
    mine = larger(mine, other);
  }
  return mine;
}

/// Of all threads of the block, which meet by it; the first gets it. `shared`:
/// 8 bytes for every warp.
__device__ inline LargestValue largest_of_block(LargestValue mine,
                                                unsigned char* shared,
                                                int threads) {
  auto* values = reinterpret_cast<LargestValue*>(shared);
  mine = largest_of_warp(mine);
  const int thread = static_cast<int>(threadIdx.x);
  if (thread % kWarpSize == 0) values[thread / kWarpSize] = mine;
  __syncthreads();
  if (thread >= kWarpSize) return mine;
  return largest_of_warp(thread < threads / kWarpSize ? values[thread]
                                                      : no_value());
}

}  // namespace llamlx::cuda
