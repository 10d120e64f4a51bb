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

/// The columns of a weight, cut among the warps of a block: the first tile of
/// warp `warp`, which is also the end of the one before. Of all of the block's
/// rows a warp has these, so that it needs no other part of x, and waits for no
/// other warp before it multiplies.
__device__ inline int first_tile(int row_tiles, int warp) {
  return static_cast<int>(static_cast<unsigned>(row_tiles * warp) /
                          kDecodeWarps);
}

/// A warp's tiles of columns.
struct Columns {
  int first;
  int end;

  __device__ Columns(int row_tiles, int warp)
      : first(first_tile(row_tiles, warp)),
        end(first_tile(row_tiles, warp + 1)) {}
  __device__ int count() const { return end - first; }
};

/// A portion in rounds of up to kDecodeRoundBlocks blocks of rows.
struct Rounds {
  int first = 0;
  int left = 0;

  __device__ Rounds() {}
  __device__ explicit Rounds(const Portion& portion)
      : first(portion.first), left(portion.count) {}

  __device__ Portion next() {
    const Portion round{first, min(left, kDecodeRoundBlocks)};
    first += round.count;
    left -= round.count;
    return round;
  }
};

/// Blocks of rows whose `tiles` tiles lie in a piece of kMost together.
template <int kMost>
__device__ constexpr int rows_together(int tiles) {
  static_assert(kMost <= 8);
  if (8 * tiles <= kMost) return 8;
  if (4 * tiles <= kMost) return 4;
  return 2 * tiles <= kMost ? 2 : 1;
}

/// How a warp goes through its part of a round: some columns with all blocks of
/// rows, then the next ones. Of a block of rows that is a segment of up to
/// kMost tiles; several lie in a piece if they are small.
template <int kMost>
class PortionWalk {
 public:
  __device__ PortionWalk() {}
  /// Of a weight that has `row_tiles` tiles of columns, each of so many bytes.
  __device__ PortionWalk(const unsigned char* weight, int tile_bytes,
                         const Portion& round, int row_tiles,
                         const Columns& columns)
      : from_(weight +
              static_cast<long long>(round.first * row_tiles + columns.first) *
                  tile_bytes),
        rows_(round.count),
        row_bytes_(row_tiles * tile_bytes),
        tile_bytes_(tile_bytes),
        tiles_(columns.count()) {
    begin_columns();
  }

  __device__ bool is_over() const { return left_ == 0; }
  /// The segments of the next piece, each row_bytes() after the one before, and
  /// those after them that have the same columns.
  __device__ const unsigned char* from() const { return from_; }
  __device__ int row_bytes() const { return row_bytes_; }
  __device__ int segment_bytes() const { return segment_bytes_; }
  /// How many are in the piece, and in all.
  __device__ int together() const { return min(left_, together_); }
  __device__ int left() const { return left_; }
  /// To the next piece.
  __device__ void pass() {
    const int count = together();
    from_ += static_cast<long long>(count) * row_bytes_;
    left_ -= count;
    if (left_ > 0) return;
    from_ += segment_bytes_ - static_cast<long long>(rows_) * row_bytes_;
    tiles_ -= kMost;
    if (tiles_ > 0) begin_columns();
  }

 private:
  const unsigned char* from_ = nullptr;
  int rows_ = 0;
  int row_bytes_ = 0;
  int tile_bytes_ = 0;
  int tiles_ = 0;  // of columns, from these on
  int left_ = 0;   // blocks of rows
  int together_ = 1;
  int segment_bytes_ = 0;

  __device__ void begin_columns() {
    const int tiles = min(tiles_, kMost);
    left_ = rows_;
    together_ = rows_together<kMost>(tiles);
    segment_bytes_ = tiles * tile_bytes_;
  }
};

}  // namespace llamlx::cuda
