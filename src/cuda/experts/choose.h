#pragma once

#include "cuda/experts/route.h"
#include "cuda/token/largest_value.h"

namespace llamlx::cuda {

/// Chooses a row's experts of their logits, as RouteArgs says; by a warp, of
/// which lane l has experts l, l + 32, ...
class ExpertChoice {
 public:
  /// `values` [experts], shared: the row's logits, which become the shares of
  /// those that are chosen, and -1.
  __device__ ExpertChoice(const RouteArgs& args, int row, float* values)
      : args_(args),
        row_(row),
        lane_(static_cast<int>(threadIdx.x) % kWarpSize),
        values_(values) {}

  __device__ void run() {
    bool is_finite = true;
    float largest = -HUGE_VALF;
    for_mine([&](int, float logit) {
      is_finite = is_finite && fabsf(logit) < HUGE_VALF;
      largest = fmaxf(largest, logit);
    });
    largest_ = warp_max(largest);
    if (any_lane(!is_finite)) {
      take_first();
      divide_by_ = __uint_as_float(0x7fc00000U);
    } else {
      float sum = 0;
      for_mine([&](int, float logit) { sum += expf(logit - largest_); });
      divide_by_ = warp_sum(sum);
      const float chosen = take_largest();
      if (args_.sums_to_one != 0) divide_by_ = chosen;
    }
    write();
  }

 private:
  template <typename Use>
  __device__ void for_mine(const Use& use) const {
    for (int expert = lane_; expert < args_.experts; expert += kWarpSize) {
      use(expert, values_[expert]);
    }
  }
  __device__ bool is_taken(int expert) const {
    return (taken_ >> (expert / kWarpSize) & 1U) != 0;
  }
  __device__ void take(int expert) {
    if (expert % kWarpSize == lane_) taken_ |= 1U << (expert / kWarpSize);
  }

  __device__ void take_first() {
    for (int expert = 0; expert < args_.used; ++expert) take(expert);
  }

  /// Returns the sum of their parts of the softmax, but for what all are
  /// divided by.
  __device__ float take_largest() {
    float sum = 0;
    for (int i = 0; i < args_.used; ++i) {
      auto best = no_value();
      for_mine([&](int expert, float logit) {
        if (!is_taken(expert)) best = larger(best, {logit, expert});
      });
      best = largest_of_warp(best);
      take(best.index);
      sum += expf(best.value - largest_);
    }
    return sum;
  }

  /// Rising experts, each after as many as are chosen before it.
  __device__ void write() {
    const auto first = static_cast<long long>(row_) * args_.used;
    int before = 0;
    for (int base = 0; base < args_.experts; base += kWarpSize) {
      const int expert = base + lane_;
      const bool is_there = expert < args_.experts;
      const bool is_chosen = is_there && is_taken(expert);
      int mine = 0;  // chosen by lanes before this
      int all = is_chosen ? 1 : 0;
#pragma unroll
      for (int step = 1; step < kWarpSize; step *= 2) {
        const int others = __shfl_xor_sync(kAllLanes, all, step);
        if ((lane_ & step) != 0) mine += others;
        all += others;
      }
      const float share =
          is_chosen ? expf(values_[expert] - largest_) / divide_by_ : -1;
      if (is_there) values_[expert] = share;
      if (is_chosen) {
        args_.chosen[first + before + mine] = expert;
        args_.shares[first + before + mine] = share;
      }
      before += all;
    }
  }

  const RouteArgs& args_;
  int row_;
  int lane_;
  float* values_;
  float largest_ = 0;    // logit
  float divide_by_ = 1;  // what gives shares
  unsigned taken_ = 0;   // bit i: expert lane + 32 i
};

}  // namespace llamlx::cuda
