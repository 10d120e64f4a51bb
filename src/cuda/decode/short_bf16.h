#pragma once

#include "cuda/matmul/packed_weight.h"

/// Weights of bfloat16 in 12.4 bits a number, without loss, for who reads each
/// of them for one row and waits for memory.
///
/// Of bfloat16's 16 bits hardly more than 12 tell something, as the numbers of
/// a tile (packed_weight.h) have nearly the same exponent. A tile's largest
/// number has one of 2^e, and each number is 2^e times a number of float16
/// whose bits 14, 2, 1 and 0 are zeros: a sign, 15 exponents, or none for
/// numbers that have lost their first bit (denormals and 0), and 7 bits.
/// Float16 is what the matrix unit multiplies, and 2^e goes to the sums: so no
/// exponent has to be computed. Numbers that are not such ones, about one of
/// 15000 where they are normally distributed, are zeros there, and are listed
/// as they are: exceptions.
///
/// A lane's 32 numbers of a tile, which are the same as in a packed one, are
/// four operands of "mma.m16n8k16" of four words each. Three words of an
/// operand lie in the tile as they are used, but for the bits that must be
/// zeros. These have the bits of the fourth: so that one mask makes each of
/// three words, and a few shifts the fourth.
///
/// First comes the first word of every operand of lane 0, of lane 1 and so on,
/// then the second ones, and the third; last a ShortHeader.

namespace llamlx::cuda {

/// What may be ones in two neighbours of float16.
inline constexpr std::uint32_t kShortBits = 0xbff8bff8U;

inline constexpr int kMostExceptions = 10;

/// What a tile's numbers are multiples of, and those that are none.
struct alignas(16) ShortHeader {
  float scale;  ///< 2^e
  int count;    ///< of exceptions
  std::uint32_t exceptions[kMostExceptions];
};

inline constexpr int kShortHeaderByte = 3 * 32 * 16;
inline constexpr int kShortTileBytes =
    kShortHeaderByte + int{sizeof(ShortHeader)};

/// The exponents of 2 that tiles may have: far more than weights have, and so
/// few that products with what x is multiples of stay in float32's range. A
/// tile of smaller numbers has the least.
inline constexpr int kLeastShortExponent = -64;
inline constexpr int kMostShortExponent = 63;

/// A number of a tile, and where it is.
struct ShortException {
  std::uint32_t word;

  LLAMLX_HOST_DEVICE constexpr ShortException(std::uint32_t its) : word(its) {}
  LLAMLX_HOST_DEVICE constexpr ShortException(int row, int col,
                                              std::uint16_t bf16)
      : word(std::uint32_t{bf16} << 16 |
             static_cast<std::uint32_t>(row * kTileCols + col)) {}

  LLAMLX_HOST_DEVICE constexpr int row() const {
    return static_cast<int>(word & 0xffffU) / kTileCols;
  }
  LLAMLX_HOST_DEVICE constexpr int col() const {
    return static_cast<int>(word & 0xffffU) % kTileCols;
  }
  /// The number as float32.
  LLAMLX_HOST_DEVICE constexpr std::uint32_t float_bits() const {
    return word & 0xffff0000U;
  }
};

/// Where numbers 2 `word`, 2 `word` + 1 of operand `s` of a lane are in a tile.
struct ShortPlace {
  int row;
  int col;  ///< of the first

  LLAMLX_HOST_DEVICE constexpr ShortPlace(int lane, int s, int word)
      : row(lane / 4 + word % 2 * 8),
        col(s / 2 * 32 + lane % 4 * 8 + s % 2 * 4 + word / 2 * 2) {}
};

/// Hides the fourth word of an operand in the others. ShortBf16Tile finds it.
LLAMLX_HOST_DEVICE constexpr void hide_fourth(std::uint32_t (&a)[4]) {
  constexpr std::uint32_t kLow = 0x00070007U;
  constexpr std::uint32_t kTop = 0x40004000U;
  const auto hidden = a[3];
  a[0] |= (hidden >> 11 & kLow) | (hidden >> 1 & kTop);
  a[1] |= (hidden >> 3 & kLow) | (hidden << 7 & kTop);
  a[2] |= (hidden >> 8 & kLow) | (hidden << 8 & kTop);
}

}  // namespace llamlx::cuda
