#pragma once

#include <cstddef>

#include "cuda/matmul/many_rows.h"
#include "cuda/matmul/stages.h"

namespace llamlx::cuda {

inline constexpr int kSomeRowsThreads = 256;
inline constexpr int kSomeRowsWarps = kSomeRowsThreads / 32;
inline constexpr int kSomeRowsStages = 2;  ///< chunks of the weight ahead
/// Rows of x in one launch.
inline constexpr int kSomeRowsMost = 64;

/// How many times 8 rows of x a kernel takes, and how many blocks of it a
/// multiprocessor runs.
LLAMLX_HOST_DEVICE constexpr int some_rows_columns(int rows) {
  return rows <= 8 ? 1 : rows <= 16 ? 2 : rows <= 32 ? 4 : 8;
}
LLAMLX_HOST_DEVICE constexpr int some_rows_together(int columns,
                                                    OperandOrder order) {
  const int most = order == OperandOrder::rows ? 4 : 3;
  return columns == 1 ? most : columns == 2 ? most - 1 : 2;
}
/// Stages of x.
LLAMLX_HOST_DEVICE constexpr int some_rows_x_stages(int columns) {
  return columns == 8 ? 2 : 3;
}

/// What is left to do of an rms norm after the products.
struct LateNorm {
  const float* squares;  ///< [parts, rows of a stage]; null: there is no norm
  int parts;
  int cols;
  float eps;
};

/// Where products are read next, as operands of others: the stages they become,
/// and the norm that is taken of them.
struct NextOperands {
  Stages stages;      ///< of as many rows and planes; bytes: null, for nobody
  const float* norm;  ///< [out columns, a multiple of 4]; null: none is taken
  float* squares;     ///< [some_rows_groups(), rows of a stage], with a norm
};

/// y = x W^T + bias for up to 64 rows of x, each byte of W read once. Small
/// weights are cut into slices of columns, so that all multiprocessors have
/// work; the block that comes last adds up what the slices have, in their
/// order. It also makes operands of what it writes, for the product that reads
/// it, so that no kernel has to in between.
///
/// Codes are multiplied as whole numbers with operands of 16 bits, sums and
/// scales are float32.
///
/// Kernels  some_rows_W_nN: N of 1, 2, 4, 8 is some_rows_columns(rows); W of
///          f16, bf16, and affineB_gG_T as few_rows has.
///          some_rows_hopper_W_nN, on the matrix unit of compute capability 9.0
///          alone.
/// Grid     [some_rows_groups(), slices].
struct SomeRowsArgs {
  /// x: stages of 8 some_rows_columns(rows) rows, in the order of fragments for
  /// some_rows_hopper, else of rows; `scales` is not looked at;
  /// `out` may be null with swiglu, if there are next operands.
  ManyRowsArgs products;
  LateNorm norm;
  NextOperands next;
  int slice;           ///< stages of a slice; no slice is empty
  float* parts;        ///< some_rows_parts_bytes(), aligned to 16
  unsigned* counters;  ///< [some_rows_groups()], 0 before and after
};

/// Blocks of threads that the rows of a weight take.
LLAMLX_HOST_DEVICE constexpr int some_rows_groups(int row_blocks) {
  return (row_blocks + kSomeRowsWarps - 1) / kSomeRowsWarps;
}

/// Tiles of a weight that a warp asks for at once: a part of a stage.
LLAMLX_HOST_DEVICE constexpr int some_rows_chunk(int tile_bytes) {
  const int most = 2304 / tile_bytes;
  return most >= 4 ? 4 : most >= 2 ? 2 : 1;
}

/// What a block reads of x at once.
LLAMLX_HOST_DEVICE constexpr OperandStage some_rows_stage(
    const PackedLayout& layout, int columns, int planes, OperandOrder order) {
  return {8 * columns, planes, layout.bits == 0 ? kTileCols : layout.group,
          order};
}

/// Bytes of dynamic shared memory of a block.
LLAMLX_HOST_DEVICE constexpr int some_rows_shared_bytes(
    const PackedLayout& layout, int columns, int planes, OperandOrder order) {
  const int bytes = tile_bytes(layout);
  const int chunk = some_rows_chunk(bytes) * bytes;
  const int x = some_rows_stage(layout, columns, planes, order).bytes();
  const int to_align = order == OperandOrder::rows ? 0 : 1024;
  return kSomeRowsWarps * kSomeRowsStages * (chunk + 8) +
         some_rows_x_stages(columns) * (x + 8) + columns * 8 * 4 + 16 +
         to_align;
}

/// Stages of a slice with which the busiest multiprocessor has least to do, in
/// instructions of a warp. (Whole passes of an H200 were 2 to 10% slower by the
/// times that products take alone, which want fewer slices.)
constexpr int some_rows_slice(int row_blocks, int tiles, int columns,
                              OperandOrder order, int multiprocessors) {
  const int stage = OperandStage::kTiles * (48 + 15 * columns);
  constexpr int kBlock = 500;
  constexpr int kJoin = 500;
  const int groups = some_rows_groups(row_blocks);
  const int stages = operand_stages(tiles);
  const int together = some_rows_together(columns, order) * multiprocessors;
  int best = stages;
  int least = 0;
  for (int slice = stages; slice > 0; --slice) {
    const int slices = (stages + slice - 1) / slice;
    const int rounds = (groups * slices + together - 1) / together;
    const int work =
        rounds * (slice * stage + kBlock) + (slices > 1 ? kJoin : 0);
    if (slice < stages && work >= least) continue;
    best = slice;
    least = work;
  }
  return best;
}

/// Bytes of `parts` for so many slices.
constexpr std::size_t some_rows_parts_bytes(int row_blocks, int columns,
                                            int slices) {
  const auto blocks = static_cast<std::size_t>(slices) *
                      some_rows_groups(row_blocks) * kSomeRowsWarps;
  return slices == 1 ? 0 : blocks * columns * kTileRows * 8 * sizeof(float);
}

}  // namespace llamlx::cuda
