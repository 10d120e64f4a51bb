#pragma once

#include "cuda/attention/few_rows.h"
#include "cuda/attention/segment_access.h"
#include "cuda/not_earlier.h"

namespace llamlx::cuda {

/// Keys or values of consecutive positions in shared memory, rows of kRowBytes.
/// Pieces of 16 bytes of a row change places, so that the same piece of eight
/// rows, or four neighbours of two, hit all banks.
template <int kRowBytes>
struct SharedTile {
  unsigned char* rows;
  int count;  ///< positions that are there, 1 or more

  /// What the number of a row's piece is changed by.
  __device__ static constexpr int turn(int row) {
    return (row & 1) << 2 | (row & 2) | (row >> 2 & 1);
  }
  __device__ unsigned char* piece(int row, int index) const {
    return rows + row * kRowBytes + (index ^ turn(row)) * 16;
  }
  /// The row, or the last one instead of those that are not there.
  __device__ int there(int row) const { return smaller(row, count - 1); }
  /// A piece of row 8 n + g, g < 8, there or not.
  __device__ Words4 read(int n, int g, int index) const {
    return *reinterpret_cast<const Words4*>(piece(g, index) +
                                            8 * n * kRowBytes);
  }
};

/// Begins to copy up to kCount rows of `row_bytes` to a tile, as one of a
/// warp's lanes; the rest of each is zeros.
template <int kCount, int kRowBytes>
__device__ void ask_tile(const SharedTile<kRowBytes>& tile,
                         const unsigned char* from, int row_bytes, int lane) {
  constexpr int kPieces = kRowBytes / 16;
  lane = not_earlier(lane);
  // Steps change the bits of row and piece that lanes have in common.
  const int low_row = lane / kPieces;
  const int low_piece = lane % kPieces;
  const int low = low_row * kRowBytes + (low_piece ^ tile.turn(low_row)) * 16;
  const int left = tile.count - low_row;
  from += low_row * row_bytes + low_piece * 16;
#pragma unroll
  for (int i = 0; i < kCount * kPieces / kWarpSize; ++i) {
    const int row = i * kWarpSize / kPieces;
    const int piece = i * kWarpSize % kPieces;
    if (row >= left) continue;
    auto* to = tile.rows + (low ^ (tile.turn(row) * 16)) + row * kRowBytes;
    copy_async(to + piece * 16, from + row * row_bytes + piece * 16,
               16 * (piece + low_piece) < row_bytes);
  }
}

}  // namespace llamlx::cuda
