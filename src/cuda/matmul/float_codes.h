#pragma once

#include "cuda/intrinsics.h"

/// The numbers of nvfp4 and mxfp8: codes of 4 bits (e2m1) and 8 (e4m3), times a
/// scale, in bfloat16, which has room for all but the smallest of mxfp8: these
/// are rounded.
///
/// A code whose bits are put where bfloat16 has its sign, exponent and digits
/// is a number there that is too small by 2^126 (e2m1) or 2^120 (e4m3), and a
/// subnormal one where the code is. The scale makes up for that, so that one
/// multiplication does. So it has to be so small that bfloat16 still holds it:
/// below 4 of nvfp4, up to 2^7 of mxfp8. No scale is negative, and nothing NaN.

namespace llamlx::cuda {

/// Two numbers times two others, each rounded once.
__device__ inline std::uint32_t multiply2(Bf16, std::uint32_t a,
                                          std::uint32_t b) {
  constexpr std::uint32_t kMinusZero = 0x80008000U;
  return fma2(Bf16{}, a, b, kMinusZero);
}

/// The codes of `bits` bits from bit `at` on of both halves of a word, where
/// bfloat16 has such numbers.
__device__ inline std::uint32_t float_codes(std::uint32_t word, int at,
                                            int bits) {
  const auto moved_to = [&](int to) {
    return to < at ? word >> (at - to) : word << (to - at);
  };
  constexpr std::uint32_t kSigns = 0x80008000U;
  const int digits = bits == 4 ? 1 : 3;
  const int first = 7 - digits;  // of bfloat16's 7
  const std::uint32_t sizes =
      0x00010001U * (((1U << (bits - 1)) - 1U) << first);
  return and_or(moved_to(16 - bits), kSigns, moved_to(first) & sizes);
}

/// The scales of such codes, a byte in each half of a word, in bfloat16: as
/// much too large as the codes are too small.
__device__ inline std::uint32_t float_scales(std::uint32_t word, int bits) {
  // 2^(scale - 127) times 2^120: exponents, to which as much is added.
  if (bits == 8) return (word << 7) + (120U << 7) * 0x00010001U;
  // A code of e4m3 that is itself too small by 2^120, and shall be too large by
  // 2^126. There is no such factor, but there are 2^127 and 2^119.
  constexpr std::uint32_t kMost = 0x7f007f00U;
  constexpr std::uint32_t kRest = 0x7b007b00U;
  return multiply2(Bf16{}, multiply2(Bf16{}, word << 4, kMost), kRest);
}

}  // namespace llamlx::cuda
