#pragma once

#include "cuda/intrinsics.h"

namespace llamlx::cuda {

/// A number of which the compiler forgets what it follows from. So it computes
/// nothing from it before it is needed, which would take registers through all
/// of a loop, nor computes it again instead of keeping it.
__device__ inline int not_earlier(int x) {
#ifdef __CUDACC__
  asm volatile("" : "+r"(x));
#endif
  return x;
}

}  // namespace llamlx::cuda
