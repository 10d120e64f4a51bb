#pragma once

// What kernels share that multiply few rows in integers: x as two planes of
// signed bytes,
//     x = scale (256 high + low), high and low in [-128, 127],
// with a scale for each group of the weight, so an x is off by no more than
// 1/65278 of the largest of its group.

#include <cstdint>
#include <cstring>

#include "cpu/matmul/qmv_parts.inl.h"

namespace llamlx {
namespace {

inline constexpr int kLargest = 32639;  // 127 * 256 + 127

/// What an x is rounded by: to x * per_unit units of `scale`.
struct Rounding {
  float scale;
  float per_unit;
};

// Of a group whose largest magnitude has the bits `largest_bits`: bits of
// floats are in the order of their magnitudes, infinity and NaN last.
inline Rounding rounding_of(std::uint32_t largest_bits) {
  constexpr std::uint32_t kInfinity = 0x7f800000;
  constexpr float kAlmostNothing = 0x1p-100f;  // has no reciprocal to rely on
  float largest;
  std::memcpy(&largest, &largest_bits, sizeof(largest));
  if (largest_bits >= kInfinity) return {__builtin_nanf(""), 0};
  if (largest < kAlmostNothing) return {0, 0};
  return {largest / kLargest, kLargest / largest};
}

inline bool supports(const WeightFormat& format, int /*cols*/,
                     ValueType compute) {
  const int bits = format.bits;
  const int group = format.group_size;
  return compute != ValueType::f32 && bits >= 2 && bits <= 8 && bits != 7 &&
         (group == 32 || group == 64 || group == 128);
}

inline std::size_t scratch_bytes(const WeightFormat& /*format*/, int /*rows*/,
                                 int /*cols*/) {
  return 0;
}

}  // namespace
}  // namespace llamlx
