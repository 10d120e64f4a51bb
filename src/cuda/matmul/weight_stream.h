#pragma once

#include "cuda/intrinsics.h"

namespace llamlx::cuda {

/// Weights on their way into shared memory: a warp's own ring of chunks, which
/// it asks for long before it reads them, and in the order in which it does.
/// By the copy engine where there is one, else by copies of 16 bytes a lane.
class WeightStream {
 public:
  /// `ring` [stages, stage_bytes] and `barriers` [stages] are the warp's;
  /// stages are 1 or 2. By all its lanes, as every other call.
  __device__ WeightStream(unsigned char* ring, int stages, int stage_bytes,
                          [[maybe_unused]] std::uint64_t* barriers, int lane)
      : ring_(ring), stages_(stages), stage_bytes_(stage_bytes), lane_(lane) {
#ifdef LLAMLX_HAS_BULK_COPIES
    barriers_ = barriers;
    if (lane == 0) {
      for (int i = 0; i < stages; ++i) make_barrier(barriers + i);
      show_barriers();
    }
    __syncwarp();
#endif
  }

  /// Asks for the next chunk, of `bytes` bytes; with none, for nothing. Called
  /// `stages` times at first, and then once for each chunk that is done with.
  __device__ void ask(const unsigned char* chunk, int bytes) {
    auto* to = ring_ + asked_ * stage_bytes_;
#ifdef LLAMLX_HAS_BULK_COPIES
    if (lane_ == 0 && bytes > 0)
      copy_bulk(to, chunk, bytes, barriers_ + asked_);
#else
    for (int i = lane_ * 16; i < bytes; i += kWarpSize * 16) {
      copy_async(to + i, chunk + i);
    }
    commit_copies();
#endif
    asked_ = asked_ + 1 == stages_ ? 0 : asked_ + 1;
  }

  /// Waits for the chunk that was asked for first and is not done with.
  __device__ const unsigned char* wait() {
#ifdef LLAMLX_HAS_BULK_COPIES
    wait_at_barrier(barriers_ + read_, parity_);
#else
    if (stages_ == 2) {
      wait_for_copies<1>();
    } else {
      wait_for_copies<0>();
    }
    __syncwarp();
#endif
    return current();
  }
  /// Where it lies.
  __device__ const unsigned char* current() const {
    return ring_ + read_ * stage_bytes_;
  }

  /// Is done with it: the next ask() may write there.
  __device__ void pass() {
    __syncwarp();
    if (++read_ < stages_) return;
    read_ = 0;
    parity_ ^= 1;
  }

 private:
  unsigned char* ring_;
  int stages_;
  int stage_bytes_;
  int lane_;
#ifdef LLAMLX_HAS_BULK_COPIES
  std::uint64_t* barriers_;
#endif
  int asked_ = 0;
  int read_ = 0;
  int parity_ = 0;
};

}  // namespace llamlx::cuda
