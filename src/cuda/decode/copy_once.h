#pragma once

#include "cuda/intrinsics.h"

namespace llamlx::cuda {

// How a warp asks for what a pass reads once: by all its lanes together, one of
// which does it. That it is one the compiler only knows where that one is
// elected; else it asks again for each lane that might differ.
//
// What is copied leaves the second cache first, so that what is read again
// stays: keys and values, norms, what blocks pass to each other.
#ifndef __CUDACC__
inline void copy_more(void* shared, const void* global, int bytes,
                      std::uint64_t* barrier) {
  if (threadIdx.x % kWarpSize != 0) return;
  copy_bulk_part(shared, global, bytes, barrier);
}
inline void copy_once(void* shared, const void* global, int bytes,
                      std::uint64_t* barrier, int all_bytes) {
  if (threadIdx.x % kWarpSize == 0) arrive_expecting(barrier, all_bytes);
  copy_more(shared, global, bytes, barrier);
}
inline void bring_bytes_near(const void*, int) {}
#elif defined(LLAMLX_HAS_BULK_COPIES)
__device__ inline std::uint64_t leave_first() {
  std::uint64_t policy;
  asm("createpolicy.fractional.L2::evict_first.b64 %0;" : "=l"(policy));
  return policy;
}
/// Begins to copy `bytes`, a multiple of 16, the first of `all_bytes` for which
/// the barrier waits.
__device__ inline void copy_once(void* shared, const void* global, int bytes,
                                 std::uint64_t* barrier, int all_bytes) {
  asm volatile(
      "{\n"
      ".reg .pred is_elected;\n"
      "elect.sync _|is_elected, 0xffffffff;\n"
      "@is_elected mbarrier.arrive.expect_tx.shared::cta.b64 _, [%3], %5;\n"
      "@is_elected cp.async.bulk.shared::cluster.global"
      ".mbarrier::complete_tx::bytes.L2::cache_hint "
      "[%0], [%1], %2, [%3], %4;\n"
      "}" ::"r"(shared_address(shared)),
      "l"(global), "r"(bytes), "r"(shared_address(barrier)), "l"(leave_first()),
      "r"(all_bytes)
      : "memory");
}
/// And more of them.
__device__ inline void copy_more(void* shared, const void* global, int bytes,
                                 std::uint64_t* barrier) {
  asm volatile(
      "{\n"
      ".reg .pred is_elected;\n"
      "elect.sync _|is_elected, 0xffffffff;\n"
      "@is_elected cp.async.bulk.shared::cluster.global"
      ".mbarrier::complete_tx::bytes.L2::cache_hint "
      "[%0], [%1], %2, [%3], %4;\n"
      "}" ::"r"(shared_address(shared)),
      "l"(global), "r"(bytes), "r"(shared_address(barrier)), "l"(leave_first())
      : "memory");
}
/// Asks for what will be copied to be brought into the second cache.
__device__ inline void bring_bytes_near(const void* global, int bytes) {
  asm volatile(
      "{\n"
      ".reg .pred is_elected;\n"
      "elect.sync _|is_elected, 0xffffffff;\n"
      "@is_elected cp.async.bulk.prefetch.L2.global [%0], %1;\n"
      "}" ::"l"(global),
      "r"(bytes)
      : "memory");
}
#endif

}  // namespace llamlx::cuda
