#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

#include "cuda/matmul/many_rows.h"
#include "cuda/matmul/stages.h"

namespace llamlx::cuda {

inline constexpr int kSomeRowsThreads = 256;
inline constexpr int kSomeRowsWarps = kSomeRowsThreads / 32;
inline constexpr int kSomeRowsStages = 2;  ///< chunks of the weight ahead
/// Rows of x in one launch.
inline constexpr int kSomeRowsMost = 64;

/// How many times 8 rows of x a kernel takes.
LLAMLX_HOST_DEVICE constexpr int some_rows_columns(int rows) {
  return rows <= 8 ? 1 : rows <= 16 ? 2 : rows <= 32 ? 4 : 8;
}
/// How many blocks of some_rows a multiprocessor runs, of weights of so many
/// bits a code (0: numbers). With 8 rows there is memory for four, but a warp
/// that has registers for several tiles of codes does more than they.
LLAMLX_HOST_DEVICE constexpr int some_rows_together(int columns, int bits) {
  if (columns == 1) return bits > 0 ? 2 : 3;
  return columns == 2 ? 3 : 2;
}
/// The same of some_rows_hopper and some_rows_bf16.
inline constexpr int kSomeRowsHopperTogether = 2;
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
/// Affine codes are multiplied as whole numbers with operands of 16 bits, sums
/// and scales are float32.
///
/// Kernels  some_rows_W_nN: N of 1, 2, 4, 8 is some_rows_columns(rows); W of
///          f16, bf16, and of codes as few_rows has.
///          some_rows_hopper_W_nN, of 9 rows and more on the matrix unit of
///          compute capability 9.0 alone, launched as clusters.
///          some_rows_bf16_W_nN, the same of some_rows_bf16_takes(), of x and
///          numbers that are rounded to bfloat16, which is what MLX does in
///          that type: less work for each row of x.
/// Grid     [some_rows_groups(), slices].
struct SomeRowsArgs {
  /// x: stages of 8 some_rows_columns(rows) rows, in the order of rows for
  /// some_rows, else of fragments; `scales` is not looked at;
  /// `out` may be null with swiglu, if there are next operands.
  ManyRowsArgs products;
  LateNorm norm;
  NextOperands next;
  int slice;  ///< stages of a slice; no slice is empty
  /// Of some_rows alone, as a cluster needs neither:
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

/// Columns of x that have a sum.
LLAMLX_HOST_DEVICE constexpr int some_rows_sum_group(
    const PackedLayout& layout) {
  return layout.is_affine() ? layout.group : kTileCols;
}

/// What a block reads of x at once.
LLAMLX_HOST_DEVICE constexpr OperandStage some_rows_stage(
    const PackedLayout& layout, int columns, int planes, OperandOrder order) {
  return {8 * columns, planes, some_rows_sum_group(layout), order};
}
/// The same of some_rows_bf16.
LLAMLX_HOST_DEVICE constexpr OperandStage some_rows_bf16_stage(int columns) {
  return {8 * columns, 1, 0, OperandOrder::fragments};
}
/// Whether some_rows_bf16 multiplies such weights with so many rows. (With 16
/// of an H200 it took longer than with 32, and than some_rows_hopper.)
LLAMLX_HOST_DEVICE constexpr bool some_rows_bf16_takes(
    const PackedLayout& layout, int columns) {
  return columns >= 4 && layout.type == NumberType::bf16 &&
         (layout.bits <= 6 || layout.has_floats);
}

/// Bytes of dynamic shared memory of a block that reads such stages.
LLAMLX_HOST_DEVICE constexpr int some_rows_shared_bytes(
    const PackedLayout& layout, const OperandStage& stage) {
  const int bytes = tile_bytes(layout);
  const int chunk = some_rows_chunk(bytes) * bytes;
  const int columns = stage.rows / 8;
  const int x = stage.bytes();
  const int to_align = stage.order == OperandOrder::rows ? 0 : 1024;
  return kSomeRowsWarps * kSomeRowsStages * (chunk + 8) +
         some_rows_x_stages(columns) * (x + 8) + columns * 8 * 4 + 16 +
         to_align;
}

/// How a weight is cut into slices, so that the multiprocessors are done
/// soonest, each of which runs so many blocks `together`: stages of a slice, of
/// which none is empty. What that takes, in times of a stage, is fitted to
/// whole passes of an H200 (8 rows) with one number and another of each weight;
/// weights by themselves want fewer.
constexpr int some_rows_slice(int row_blocks, int tiles, int together,
                              int multiprocessors) {
  const int groups = some_rows_groups(row_blocks);
  const int stages = operand_stages(tiles);
  const double most = together;
  int best = stages;
  double least = 0;
  for (int slice = stages; slice > 0; --slice) {
    const int slices = (stages + slice - 1) / slice;
    const double each = static_cast<double>(groups) * slices / multiprocessors;
    const double neighbours = std::clamp(each, 1.0, most) - 1;
    const double rounds = std::max(each / most, 1.0);
    const double work =
        slice * (1 + neighbours / 2) * rounds + each / 2 + (slices > 1 ? 2 : 0);
    if (slice < stages && work >= least) continue;
    best = slice;
    least = work;
  }
  return best;
}

/// The same of some_rows_hopper (16 to 64 rows): `at_once[i]` clusters of i + 1
/// slices run at a time.
constexpr int some_rows_hopper_slice(int row_blocks, int tiles,
                                     const std::array<int, 8>& at_once,
                                     int multiprocessors) {
  const int groups = some_rows_groups(row_blocks);
  const int stages = operand_stages(tiles);
  int best = stages;
  int least = 0;
  for (int most = 1; most <= static_cast<int>(at_once.size()); ++most) {
    const int slice = (stages + most - 1) / most;
    const int slices = (stages + slice - 1) / slice;
    const int clusters = at_once[static_cast<std::size_t>(slices) - 1];
    if (clusters == 0) break;
    const int rounds = (groups + clusters - 1) / clusters;
    const bool are_alone = groups * slices <= multiprocessors;
    const int work = rounds * (slice * (are_alone ? 20 : 30) + 10) + 4 * slices;
    if (most > 1 && work >= least) continue;
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
