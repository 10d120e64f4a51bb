#pragma once

#include "cuda/intrinsics.h"

namespace llamlx::cuda {

// copy_bulk_part() of what a pass reads once. It leaves the second cache first,
// so that what is read again stays: keys and values, norms, what blocks pass to
// each other.
#ifndef __CUDACC__
inline void copy_once(void* shared, const void* global, int bytes,
                      std::uint64_t* barrier) {
  copy_bulk_part(shared, global, bytes, barrier);
}
inline void bring_bytes_near(const void*, int) {}
#elif defined(LLAMLX_HAS_BULK_COPIES)
__device__ inline void copy_once(void* shared, const void* global, int bytes,
                                 std::uint64_t* barrier) {
  std::uint64_t policy;
  asm("createpolicy.fractional.L2::evict_first.b64 %0;" : "=l"(policy));
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes"
      ".L2::cache_hint [%0], [%1], %2, [%3], %4;" ::"r"(shared_address(shared)),
      "l"(global), "r"(bytes), "r"(shared_address(barrier)), "l"(policy)
      : "memory");
}
/// Asks for what will be copied to be brought into the second cache.
__device__ inline void bring_bytes_near(const void* global, int bytes) {
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(global),
               "r"(bytes)
               : "memory");
}
#endif

}  // namespace llamlx::cuda
