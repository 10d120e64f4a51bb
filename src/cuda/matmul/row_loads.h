#pragma once

#include "cuda/intrinsics.h"

namespace llamlx::cuda {

/// Four neighbours of a row from `col` on, a multiple of 4 as `cols` is: 0 past
/// its end.
__device__ inline Floats4 load_row(const float* row, int col, int cols) {
  if (col >= cols) return {};
  return load_fresh(reinterpret_cast<const Floats4*>(row + col));
}

/// The same of a norm's weights; where there is none, ones.
__device__ inline Floats4 load_norm(const float* norm, int col, int cols) {
  if (norm == nullptr) return {{1, 1, 1, 1}};
  if (col >= cols) return {};
  return *reinterpret_cast<const Floats4*>(norm + col);
}

/// The power of two that brings numbers up to `largest` near the top of what 16
/// bits hold, so that small ones keep their digits.
__device__ inline float range_scale(float largest) {
  const int exponent = static_cast<int>(__float_as_uint(largest) >> 23 & 0xffU);
  if (exponent == 0 || exponent == 0xff) return 1;
  const int scale = 127 + 14 - (exponent - 127);  // 14 or more
  return __uint_as_float(static_cast<unsigned>(scale > 254 ? 254 : scale)
                         << 23);
}

/// 1 / range, of what range_scale() returns, without a division. (1 over the
/// largest of them is below the smallest exponent.)
__device__ inline float inverse_range(float range) {
  const auto bits = __float_as_uint(range);
  constexpr auto kLargest = 254U << 23;
  return __uint_as_float(bits == kLargest ? 1U << 22 : kLargest - bits);
}

/// Two numbers rounded to 16 bits; leaves what the rounding took off.
template <typename Operand>
__device__ std::uint32_t split2(float& low, float& high) {
  const auto word = pack(Operand{}, low, high);
  low -= unpack(Operand{}, static_cast<std::uint16_t>(word));
  high -= unpack(Operand{}, static_cast<std::uint16_t>(word >> 16));
  return word;
}

__device__ inline float silu(float x) { return __fdividef(x, 1 + __expf(-x)); }

}  // namespace llamlx::cuda
