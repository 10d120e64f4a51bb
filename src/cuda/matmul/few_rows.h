#pragma once

#include "cuda/matmul/packed_weight.h"

namespace llamlx::cuda {

/// What becomes of the products.
enum class Output : int {
  store,
  add,     ///< to what is there: a residual stream
  swiglu,  ///< silu(gate) * up, of an interleaved weight's pairs of rows
};

/// Threads of a block.
inline constexpr int kFewRowsThreads = 512;
/// Rows of x in one launch.
inline constexpr int kFewRowsMost = 8;

/// y = norm(x) W^T + bias for up to 8 rows of x: each byte of W is read once.
/// Blocks take blocks of 16 rows of W in turn; any number of blocks does. Rows
/// of x become `planes` numbers of 16 bits whose sum they are; products and
/// sums are float32.
///
/// Of float32 weights, x stays float32 and `planes` is 1.
///
/// Kernels  few_rows_f32, _f16, _bf16, _nvfp4, _mxfp8 and few_rows_affineB_gG_T
///          with B of 2, 3, 4, 5, 6, 8, G of 32, 64 and T of f32, f16, bf16.
/// Shapes   cols is a multiple of 4; x [rows, cols]; y [rows, out_stride], of
///          which it writes `out_rows` (with swiglu, half as many) from `out`
///          on; bias [out_rows].
struct FewRowsArgs {
  const unsigned char* weight;
  int row_blocks;
  int tiles;  ///< of 64 columns
  int cols;
  const float* x;
  int rows;
  const float* norm;   ///< [cols] of an rms norm, or null: none is taken
  float largest_norm;  ///< not below any of its magnitudes; 1 without a norm
  float eps;
  int planes;
  int share;          ///< few_rows_share(), or another: 16, 8, 4
  int chunk;          ///< tiles that are asked for at once: few_rows_chunk()
                      ///< or fewer
  int stages;         ///< chunks asked for ahead: 2, or 1
  const float* bias;  ///< or null
  float* out;
  int out_rows;
  int out_stride;
  Output output;
};

inline constexpr int kFewRowsWarps = kFewRowsThreads / 32;
/// What a warp has of a block of 16 rows and 8 rows of x, in floats: padded, so
/// that the same of all warps lie in different banks.
inline constexpr int kFewRowsPartial = kTileRows * 8 + 1;

/// How many warps share a block of 16 rows of W, each some of its columns; the
/// others of a block of threads have other rows. Fewer warps have less to add
/// up among them, more leave no multiprocessor without work: the share with
/// which the busiest multiprocessor has least to do, in instructions of a warp.
/// Numbers as they are take few instructions, and are read fastest in the
/// longest runs.
constexpr int few_rows_share(const PackedLayout& layout, int row_blocks,
                             int tiles, int multiprocessors) {
  constexpr int kTile = 64;
  constexpr int kBlock = 300;
  if (layout.bits == 0) return kFewRowsWarps;
  int best = kFewRowsWarps;
  int least = 0;
  for (int share = kFewRowsWarps; share >= 4; share /= 2) {
    const int together = multiprocessors * (kFewRowsWarps / share);
    const int rounds = (row_blocks + together - 1) / together;
    const int work = rounds * ((tiles + share - 1) / share * kTile + kBlock);
    if (share < kFewRowsWarps && work >= least) continue;
    best = share;
    least = work;
  }
  return best;
}

/// Tiles of a chunk, at most: no more than each warp has of a row, and so many
/// that a ring is of about the same size whatever the format. Fewer do as well.
constexpr int few_rows_chunk(int tile_bytes, int tiles, int share) {
  constexpr int kBytes = 2304;
  const int most = tile_bytes < kBytes ? kBytes / tile_bytes : 1;
  const int each = (tiles + share - 1) / share;
  return each < most ? each : most;
}

/// Of x a row takes so many elements in shared memory: padded, so that lanes
/// that read 16 bytes of two rows hit all banks.
LLAMLX_HOST_DEVICE constexpr int few_rows_stride(int tiles) {
  return tiles * kTileCols + 32;
}

/// Bytes of dynamic shared memory that a launch takes.
LLAMLX_HOST_DEVICE constexpr int few_rows_shared_bytes(
    const PackedLayout& layout, int tiles, int rows, int planes, int chunk,
    int stages) {
  const bool is_f32 = layout.bits == 0 && layout.type == NumberType::f32;
  const int x = planes * rows * few_rows_stride(tiles) * (is_f32 ? 4 : 2);
  const int groups = layout.is_affine() ? kTileCols / layout.group : 0;
  const int sums = tiles * groups * 8 * 4;
  const int bytes = tile_bytes(layout);
  const int ring = kFewRowsWarps * stages * (chunk * bytes + 8);
  constexpr int kPartials = 2 * kFewRowsWarps * kFewRowsPartial * 4;
  constexpr int kStatistics = (2 * kFewRowsWarps + 8) * 4;
  return ring + x + sums + kPartials + kStatistics;
}

}  // namespace llamlx::cuda
