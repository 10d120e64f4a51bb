#pragma once

#include <cmath>

#include "cuda/attention/turned_head.h"
#include "cuda/cached_rows.h"

namespace llamlx::cuda {

/// How a head of one row becomes numbers of 8 bits (cached_rows.h), for the
/// warp that holds the head. A group in which there is NaN or infinity has a
/// scale of NaN.
template <int kDim>
class RoundedHead {
 public:
  __device__ explicit RoundedHead(const TurnedHead<kDim>& head) {
    head.store([&](int at, float x, float y) {
      const float both = max_or_nan(fabsf(x), fabsf(y));
#pragma unroll
      for (int i = 0; i < kGroups; ++i) {
        const bool is_its = at / kCacheGroup == i;
        largest_[i] = max_or_nan(largest_[i], is_its ? both : 0);
      }
    });
#pragma unroll
    for (auto& largest : largest_) largest = warp_max_or_nan(largest);
  }

  /// Calls store(group, scale): those past the head have 0.
  template <typename Store>
  __device__ void store_scales(const Store& store) const {
#pragma unroll
    for (int i = 0; i < kGroups; ++i) {
      store(i, largest_[i] < INFINITY ? largest_[i] / kMost : NAN);
    }
  }
  /// Elements at and, in the high byte, at + 1.
  __device__ std::uint16_t codes(int at, float x, float y) const {
    float largest = largest_[0];
#pragma unroll
    for (int i = 1; i < kGroups; ++i) {
      largest = at >= i * kCacheGroup ? largest_[i] : largest;
    }
    const float by = largest > 0 ? kMost / largest : 0;
    return static_cast<std::uint16_t>(code(x * by) | code(y * by) << 8);
  }

 private:
  static constexpr int kGroups = kDim / kCacheGroup;
  static constexpr float kMost = 127;

  float largest_[kGroups] = {};

  __device__ static unsigned code(float x) {
    // What is not finite becomes any whole number.
    const float bounded = fminf(fmaxf(x, -kMost), kMost);
    return static_cast<unsigned>(__float2int_rn(bounded)) & 0xffU;
  }
};

/// To a cache.
template <int kDim>
__device__ void store_rounded(const TurnedHead<kDim>& head,
                              const RoundedHead<kDim>& rounded,
                              unsigned char* codes, float* scales,
                              int row_scales, int lane) {
  head.store([&](int at, float x, float y) {
    *reinterpret_cast<std::uint16_t*>(codes + at) = rounded.codes(at, x, y);
  });
  rounded.store_scales([&](int group, float scale) {
    if (lane == group && group < row_scales) scales[group] = scale;
  });
}

}  // namespace llamlx::cuda
