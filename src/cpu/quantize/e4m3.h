#pragma once

#include <bit>
#include <cstdint>
#include <limits>

namespace llamlx {

inline constexpr float kLargestE2m1 = 6;
inline constexpr float kLargestE4m3 = 448;

/// A number of 8 bits: a sign, 4 bits of exponent, 3 of digits. Put where
/// float32 has its own, these are a number that is too small by 2^120.
inline float from_e4m3(std::uint8_t code) {
  const unsigned size = code & 0x7fU;
  const unsigned sign = (code & 0x80U) << 24;
  const float small = std::bit_cast<float>(sign | size << 20);
  return size == 0x7f ? std::numeric_limits<float>::quiet_NaN()
                      : small * 0x1p120F;
}

/// The nearest number of 8 bits, of two the even one; the largest for what is
/// larger, and for NaN.
inline std::uint8_t to_e4m3(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = bits >> 24 & 0x80U;
  const float size = std::bit_cast<float>(bits & ~0U >> 1);
  if (!(size < kLargestE4m3)) return static_cast<std::uint8_t>(sign | 0x7e);
  // Below 2^-6 steps are 2^-9: those of float32 from 2^14 on.
  constexpr float kSmallest = 0x1p-6F, kSteps = 0x1p14F;
  if (size < kSmallest) {
    const auto steps = std::bit_cast<std::uint32_t>(size + kSteps) -
                       std::bit_cast<std::uint32_t>(kSteps);
    return static_cast<std::uint8_t>(sign | steps);
  }
  const auto digits = std::bit_cast<std::uint32_t>(size);
  const auto nearest = digits + 0x7ffff + (digits >> 20 & 1);
  return static_cast<std::uint8_t>(sign | (nearest - (120U << 23)) >> 20);
}

}  // namespace llamlx
