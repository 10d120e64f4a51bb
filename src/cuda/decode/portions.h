#pragma once

#include "cuda/decode/decode.h"

// Which part of each product a block has, and a warp of it.
namespace llamlx::cuda {

/// Blocks of 16 rows that follow each other.
struct Portion {
  int first;
  int count;
};

/// Cuts a product among so many blocks of threads. Some get one block of 16
/// rows more than others: of the next product those do that come after them, so
/// that in the end all have read alike. `place` of a block is its number at
/// first, and then what this leaves.
LLAMLX_HOST_DEVICE constexpr Portion cut_portion(const ProductCut& cut,
                                                 int blocks, int& place) {
  const bool has_more = place < cut.more;
  const Portion portion{place * cut.each + (has_more ? place : cut.more),
                        cut.each + (has_more ? 1 : 0)};
  place -= cut.more;
  if (place < 0) place += blocks;
  return portion;
}

/// The columns of a weight, cut among the warps of a block: the first tile of
/// warp `warp`, which is also the end of the one before. Of all of the block's
/// rows a warp has these, so that it needs no other part of x, and waits for no
/// other warp before it multiplies. Of many tiles it has fours, whole pieces or
/// halves of them.
LLAMLX_HOST_DEVICE constexpr int first_tile(int row_tiles, int warp) {
  const int unit = row_tiles < kDecodeWarps * kDecodeChunkTiles ? 1 : 4;
  const int units = (row_tiles + unit - 1) / unit;
  const int first = static_cast<int>(static_cast<unsigned>(units * warp) /
                                     kDecodeWarps * unit);
  return first < row_tiles ? first : row_tiles;
}

/// A warp's tiles of columns.
struct Columns {
  int first;
  int end;

  LLAMLX_HOST_DEVICE constexpr Columns(int row_tiles, int warp)
      : first(first_tile(row_tiles, warp)),
        end(first_tile(row_tiles, warp + 1)) {}
  LLAMLX_HOST_DEVICE constexpr int count() const { return end - first; }
};

/// A portion in rounds of up to kDecodeRoundBlocks blocks of rows.
struct Rounds {
  int first;
  int left;

  LLAMLX_HOST_DEVICE constexpr explicit Rounds(const Portion& portion)
      : first(portion.first), left(portion.count) {}

  LLAMLX_HOST_DEVICE constexpr Portion next() {
    const Portion round{first,
                        left < kDecodeRoundBlocks ? left : kDecodeRoundBlocks};
    first += round.count;
    left -= round.count;
    return round;
  }
};

/// Blocks of rows of which a piece of `most` tiles has `tiles` tiles each.
LLAMLX_HOST_DEVICE constexpr int rows_together(int most, int tiles) {
  if (8 * tiles <= most) return 8;
  if (4 * tiles <= most) return 4;
  return 2 * tiles <= most ? 2 : 1;
}

}  // namespace llamlx::cuda
