#pragma once

#include "cuda/intrinsics.h"

namespace llamlx::cuda {

/// Scores are logarithms to the base 2: natural ones times this.
inline constexpr float kLog2E = 1.44269504F;

/// Below every score, and finite, so that differences are numbers.
inline constexpr float kNoScore = -1e30F;

/// Powers of two by which weights of a softmax grow before they become 16-bit
/// numbers: float16 holds the small ones of them with more digits then.
__device__ constexpr int lift(F16) { return 14; }
__device__ constexpr int lift(Bf16) { return 0; }

/// Two numbers less what they were rounded to in `rounded`, as 16-bit numbers.
template <typename T>
__device__ std::uint32_t pack_rest(T, float x, float y, std::uint32_t rounded) {
  return pack(T{}, x - unpack(T{}, static_cast<std::uint16_t>(rounded)),
              y - unpack(T{}, static_cast<std::uint16_t>(rounded >> 16)));
}

/// The largest, or the sum, of what the four lanes 4 g + t have.
__device__ inline float quad_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, 1));
  return fmaxf(x, __shfl_xor_sync(kAllLanes, x, 2));
}
__device__ inline float quad_sum(float x) {
  x += __shfl_xor_sync(kAllLanes, x, 1);
  return x + __shfl_xor_sync(kAllLanes, x, 2);
}

/// Running softmax of one query, whose scores the four lanes 4 g + t share:
/// scores are logarithms to the base 2.
struct RunningSoftmax {
  float largest = kNoScore;
  float sum = 0;  ///< of this lane's weights

  /// Turns scores into weights, 2^lift times too large; returns what was summed
  /// up before must be multiplied by.
  template <int kCount>
  __device__ float weigh(float (&s)[kCount], float lift) {
    float most = largest;
#pragma unroll
    for (int i = 0; i < kCount; ++i) most = fmaxf(most, s[i]);
    most = quad_max(most);
    const float correction = power_of_2(largest - most);
    const float base = most - lift;
    largest = most;
    sum *= correction;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      s[i] = power_of_2(s[i] - base);
      sum += s[i];
    }
    return correction;
  }
};

}  // namespace llamlx::cuda
