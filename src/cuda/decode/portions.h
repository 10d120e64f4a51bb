#pragma once

#include "cuda/decode/decode.h"
#include "cuda/intrinsics.h"

// Which part of each product a block has, and a warp of it.
namespace llamlx::cuda {

/// Blocks of 16 rows that follow each other.
struct Portion {
  int first;
  int count;
};

/// Cuts a product among the blocks of threads. Some get one block of 16 rows
/// more than others: of the next product those do that come after them, so that
/// in the end all have read alike. `place` of a block is its number at first,
/// and then what this leaves.
__device__ inline Portion cut_portion(const ProductCut& cut, int& place) {
  const Portion portion{place * cut.each + min(place, cut.more),
                        cut.each + (place < cut.more ? 1 : 0)};
  place -= cut.more;
  if (place < 0) place += static_cast<int>(gridDim.x);
  return portion;
}

/// The tiles of a portion, row after row, cut among the warps of a block: the
/// first tile of warp `warp`, which is also the end of the one before.
__device__ inline int first_tile(int tiles, int warp) {
  return static_cast<int>(static_cast<unsigned>(tiles * warp) / kDecodeWarps);
}
/// The warp that has a tile, of as many as are divided by.
__device__ inline int warp_of_tile(const Divider& by_tiles, int tile) {
  return min(by_tiles.divide(kDecodeWarps * (tile + 1) - 1), kDecodeWarps - 1);
}

}  // namespace llamlx::cuda
