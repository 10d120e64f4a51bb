#pragma once

#include "cuda/intrinsics.h"

namespace llamlx::cuda {

/// Stages of x on their way into shared memory: a block's ring, where
/// WeightStream is a warp's. By the copy engine where there is one, else by
/// copies of 16 bytes a thread.
class XStages {
 public:
  /// `ring` [stages, stage_bytes] and `barriers` [stages] are the block's; it
  /// reads `count` stages from `next` on. By all threads, as every other call;
  /// they meet before the first ask().
  __device__ XStages(unsigned char* ring, int stages, int stage_bytes,
                     [[maybe_unused]] std::uint64_t* barriers,
                     const unsigned char* next, int count)
      : ring_(ring),
        stages_(stages),
        stage_bytes_(stage_bytes),
        next_(next),
        left_(count) {
#ifdef LLAMLX_HAS_BULK_COPIES
    barriers_ = barriers;
    if (threadIdx.x == 0) {
      for (int i = 0; i < stages; ++i) make_barrier(barriers + i);
      show_barriers();
    }
#endif
  }

  /// Asks for the next, if there is one, after all threads are done with the
  /// one that lay in its place.
  __device__ void ask() {
    if (left_-- > 0) {
      auto* to = ring_ + asked_ * stage_bytes_;
#ifdef LLAMLX_HAS_BULK_COPIES
      if (threadIdx.x == 0) {
        copy_bulk(to, next_, stage_bytes_, barriers_ + asked_);
      }
#else
      for (int i = static_cast<int>(threadIdx.x) * 16; i < stage_bytes_;
           i += static_cast<int>(blockDim.x) * 16) {
        copy_async(to + i, next_ + i);
      }
#endif
    }
#ifndef LLAMLX_HAS_BULK_COPIES
    commit_copies();
#endif
    next_ += stage_bytes_;
    asked_ = asked_ + 1 == stages_ ? 0 : asked_ + 1;
  }

  /// Waits for the stage that was asked for first and has not been waited for;
  /// all threads are then done with those before it.
  __device__ const unsigned char* wait() {
#ifdef LLAMLX_HAS_BULK_COPIES
    wait_at_barrier(barriers_ + read_, parity_);
#else
    wait_for_copies<0>();
#endif
    __syncthreads();
    const auto* stage = ring_ + read_ * stage_bytes_;
    if (++read_ == stages_) {
      read_ = 0;
      parity_ ^= 1;
    }
    return stage;
  }

 private:
  unsigned char* ring_;
  int stages_;
  int stage_bytes_;
  const unsigned char* next_;
  int left_;
#ifdef LLAMLX_HAS_BULK_COPIES
  std::uint64_t* barriers_;
#endif
  int asked_ = 0;
  int read_ = 0;
  int parity_ = 0;
};

}  // namespace llamlx::cuda
