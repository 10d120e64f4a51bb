#pragma once

#include "cuda/values.h"

/// How weights lie in a GPU's memory: in the order in which lanes of a warp
/// want them, so that a tile is one run of bytes, read 16 at a time, and
/// already the left operand of "mma.m16n8k16".
///
/// A weight [N, K] is cut into tiles of 16 rows and 64 columns, tile after tile
/// along a block of 16 rows, block after block; what is missing at its edges is
/// zero. Within a tile lane 4 g + t (g < 8, t < 4) has, of row g and of row
/// g + 8, columns 8 t ... 8 t + 7 and 32 + 8 t ... 32 + 8 t + 7.
///
/// Dense numbers follow each other. Of affine codes a lane's lie in 32-bit
/// words so that one mask gives four columns that follow each other as bytes,
/// 0, 2, 1 and 3 of them, and another two neighbours as the low bits of two
/// 16-bit numbers; codes of 3, 5 and 6 bits are split into planes of 2 or 4 low
/// bits and 1 or 2 high ones. Then come the scales and biases of the tile's
/// rows.
///
/// Codes of 4 and 8 bits can also be numbers themselves: of nvfp4 (e2m1) and
/// mxfp8 (e4m3). Scales are bytes then, as they are stored (e4m3; a power of
/// two), four of a lane in a word; there are no biases (float_codes.h).

namespace llamlx::cuda {

inline constexpr int kTileRows = 16;
inline constexpr int kTileCols = 64;

/// What a packed weight holds. `type` is of its numbers, or of its scales and
/// biases when `bits` is not 0. `group`: 32 or 64 columns share a scale; groups
/// of 128 are held as two of 64. Codes that are numbers themselves, of which
/// there are two kinds, become numbers of `type`.
struct PackedLayout {
  NumberType type;
  int bits;
  int group;
  bool has_floats = false;

  LLAMLX_HOST_DEVICE constexpr bool is_affine() const {
    return bits != 0 && !has_floats;
  }
  bool operator==(const PackedLayout&) const = default;
};
inline constexpr PackedLayout kNvfp4Layout{NumberType::bf16, 4, 16, true};
inline constexpr PackedLayout kMxfp8Layout{NumberType::bf16, 8, 32, true};
/// Their scales, as bytes, are below these: 4, and 2^8.
inline constexpr unsigned char kNvfp4ScalesEnd = 0x48;
inline constexpr unsigned char kMxfp8ScalesEnd = 127 + 8;

/// Bits of a code in its low plane, and in its high one.
LLAMLX_HOST_DEVICE constexpr int low_bits(int bits) {
  return bits == 8 ? 8 : bits >= 4 ? 4 : 2;
}
LLAMLX_HOST_DEVICE constexpr int high_bits(int bits) {
  return bits - low_bits(bits);
}
/// Bytes of a plane of so many bits a code, in a tile.
LLAMLX_HOST_DEVICE constexpr int plane_bytes(int bits) {
  return kTileRows * kTileCols * bits / 8;
}
LLAMLX_HOST_DEVICE constexpr int codes_bytes(int bits) {
  return plane_bytes(bits);
}
/// Bytes of a tile that has no floats: it is not asked for them, as kernels
/// that have none are tuned to the instruction.
LLAMLX_HOST_DEVICE constexpr int plain_tile_bytes(const PackedLayout& layout) {
  const int size = number_bytes(layout.type);
  if (layout.bits == 0) return kTileRows * kTileCols * size;
  return codes_bytes(layout.bits) +
         kTileRows * (kTileCols / layout.group) * 2 * size;
}
LLAMLX_HOST_DEVICE constexpr int tile_bytes(const PackedLayout& layout) {
  if (!layout.has_floats) return plain_tile_bytes(layout);
  return codes_bytes(layout.bits) + kTileRows * (kTileCols / layout.group);
}

/// Which of 32 pieces of 16 bytes, 8 rows of 64, is a lane's, where numbers
/// have 16 bits: so placed they are the left operand of warpgroups
/// (warpgroup.h).
LLAMLX_HOST_DEVICE constexpr int dense_piece(int lane) {
  return lane ^ lane / 8 % 4;
}

/// Where a number of a tile lies.
struct PlaceInTile {
  int lane;     ///< whose it is
  int half;     ///< 0: row g, 1: row g + 8
  int run;      ///< 0: of columns 0 to 31, 1: of 32 to 63
  int element;  ///< of the 8 of that run

  LLAMLX_HOST_DEVICE constexpr PlaceInTile(int row, int col)
      : lane(row % 8 * 4 + col % 32 / 8),
        half(row / 8),
        run(col / 32),
        element(col % 8) {}

  /// Byte of a dense number.
  LLAMLX_HOST_DEVICE constexpr int dense_byte(int size) const {
    const int per_load = 16 / size;
    const int piece = size == 2 ? dense_piece(lane) : lane;
    return ((half * 2 + run) * (8 / per_load) + element / per_load) * 512 +
           piece * 16 + element % per_load * size;
  }
  /// Of the four that the lane's row has in such words: of four codes, one in
  /// each byte, of which two neighbours are two bytes apart.
  LLAMLX_HOST_DEVICE constexpr int quad() const {
    return 2 * run + element / 4;
  }
  LLAMLX_HOST_DEVICE constexpr int byte_of_quad() const {
    return element / 2 % 2 + 2 * (element % 2);
  }
  /// Byte of the 32-bit word that holds the low plane's part of a code.
  LLAMLX_HOST_DEVICE constexpr int low_word_byte(int low) const {
    if (low == 2) return lane * 8 + half * 4;
    if (low == 4) return lane * 16 + (run * 2 + half) * 4;
    return half * 512 + lane * 16 + quad() * 4;
  }
  /// Its lowest bit there.
  LLAMLX_HOST_DEVICE constexpr int low_bit(int low) const {
    const int quads = 8 / low;  // in a word
    return 8 * byte_of_quad() + quad() % quads * low;
  }
  /// The same in the high plane, which begins after the low one.
  LLAMLX_HOST_DEVICE constexpr int high_word_byte(int high) const {
    return high == 1 ? lane * 4 : lane * 8 + half * 4;
  }
  LLAMLX_HOST_DEVICE constexpr int high_bit(int high) const {
    return 8 * byte_of_quad() + (high == 1 ? quad() + 4 * half : 2 * quad());
  }
};

/// Byte of the scale of a row (0 to 15) and group of a tile; its bias follows.
LLAMLX_HOST_DEVICE constexpr int scale_byte(const PackedLayout& layout, int row,
                                            int group) {
  const int groups = kTileCols / layout.group;
  return codes_bytes(layout.bits) + ((row % 8 * groups + group) * 2 + row / 8) *
                                        2 * number_bytes(layout.type);
}
/// The same where there are floats: what a lane has of its other run follows,
/// and then of its other row.
LLAMLX_HOST_DEVICE constexpr int float_scale_byte(const PackedLayout& layout,
                                                  int row, int group) {
  const int of_run = kTileCols / layout.group / 2;
  return codes_bytes(layout.bits) + (row % 8 * of_run + group % of_run) * 4 +
         row / 8 * 2 + group / of_run;
}

}  // namespace llamlx::cuda
