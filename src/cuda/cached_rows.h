#pragma once

#include "cuda/values.h"

/// How a head's keys, or its values, lie in a cache: rows of numbers, of all
/// positions that there is room for, and behind them the scales of those of 8
/// bits, [capacity][groups] of float32. Such are whole, from -127 to 127; each
/// 64 of a row, or what is left of it, are a group, whose largest number is 127
/// times its scale.
namespace llamlx::cuda {

inline constexpr int kCacheGroup = 64;

LLAMLX_HOST_DEVICE constexpr int cached_number_bytes(NumberType type) {
  return type == NumberType::q8 ? 1 : number_bytes(type);
}

/// Of the numbers of a position: a multiple of 16, as heads are of 8 numbers.
LLAMLX_HOST_DEVICE constexpr int cached_row_bytes(NumberType type,
                                                  int head_dim) {
  return (head_dim * cached_number_bytes(type) + 15) / 16 * 16;
}

/// Scales of a position.
LLAMLX_HOST_DEVICE constexpr int cached_row_scales(NumberType type,
                                                   int head_dim) {
  return type == NumberType::q8 ? (head_dim + kCacheGroup - 1) / kCacheGroup
                                : 0;
}

/// A multiple of 16.
LLAMLX_HOST_DEVICE constexpr long long cached_head_bytes(NumberType type,
                                                         int head_dim,
                                                         long long capacity) {
  const int scales = 4 * cached_row_scales(type, head_dim);
  return capacity * cached_row_bytes(type, head_dim) +
         (capacity * scales + 15) / 16 * 16;
}

}  // namespace llamlx::cuda
