#pragma once

#include "cuda/attention/few_rows.h"
#include "cuda/attention/segment_access.h"
#include "cuda/not_earlier.h"

namespace llamlx::cuda {

/// Keys or values of consecutive positions in shared memory, rows of kRowBytes.
/// Pieces of 16 bytes of a row change places, so that the same piece of eight
/// rows, or four neighbours of two, hit all banks: of which two rows of 64
/// bytes fill all.
template <int kRowBytes>
struct SharedTile {
  unsigned char* rows;
  int count;  ///< positions that are there, 1 or more

  /// What the number of a row's piece is changed by.
  __device__ static constexpr int turn(int row) {
    if constexpr (kRowBytes == 64) return row >> 1 & 3;
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

/// Of numbers of 8 bits; before its rows are their scales, as many as of a tile
/// that is full, and 0 of positions that are not there.
template <int kDim>
struct CodeTile : SharedTile<kDim> {
  static constexpr int kPositions =
      attention_few_positions(NumberType::q8, kDim);

  /// Of a group of numbers of a position: those of positions follow each other.
  __device__ float* scale(int group, int position) const {
    return reinterpret_cast<float*>(
               this->rows - attention_few_scale_bytes(NumberType::q8, kDim)) +
           group * kPositions + position;
  }
};

/// The scales of a tile's rows on their way, a row's in each of a warp's lanes:
/// in registers, as copies of 4 bytes go through the first cache, which may
/// hold what was there before the last rows were appended.
template <typename Tile>
class AskedScales {};
template <int kDim>
class AskedScales<CodeTile<kDim>> {
 public:
  /// `groups` of each row from `from` on; the rest is 0.
  __device__ void ask(const CodeTile<kDim>& tile, const float* from, int groups,
                      int lane) {
    static_assert(CodeTile<kDim>::kPositions == kWarpSize);
#pragma unroll
    for (int i = 0; i < kGroups; ++i) {
      const bool is_there = lane < tile.count && i < groups;
      scales_[i] = is_there ? load_fresh(from + lane * groups + i) : 0;
    }
  }
  __device__ void put(const CodeTile<kDim>& tile, int lane) const {
#pragma unroll
    for (int i = 0; i < kGroups; ++i) *tile.scale(i, lane) = scales_[i];
  }

 private:
  static constexpr int kGroups = kDim / kCacheGroup;

  float scales_[kGroups];
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
