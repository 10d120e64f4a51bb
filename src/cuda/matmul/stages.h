#pragma once

#include "cuda/matmul/operand_order.h"
#include "cuda/matmul/packed_weight.h"

namespace llamlx::cuda {

inline constexpr int kStageThreads = 512;

/// Four tiles of columns of x as operands of products, which a block reads at
/// once. Of each row and tile the numbers are scaled by a power of two to the
/// top of the range of 16 bits, and split into `planes` that add up to them:
///
///   [planes, rows, kStride]  numbers of 16 bits; in another order than that
///                            of rows [planes, kTiles, rows, 64]
///   [groups, rows / 2, 4]    float32, of a group of columns and two rows: what
///                            their products are multiplied by, and the sums of
///                            x as its operands have it; as a lane reads them
struct OperandStage {
  static constexpr int kTiles = 4;
  static constexpr int kCols = kTiles * kTileCols;
  /// From row to row: padded, so that lanes that read 16 bytes of two rows in
  /// shared memory hit all banks.
  static constexpr int kStride = kCols + 32;

  int rows;  ///< a multiple of 8
  int planes;
  /// Columns that have a sum: 32 or 64. 0: x is rounded to numbers of 16 bits
  /// as it is, of bfloat16, and nothing else.
  int group;
  OperandOrder order;

  LLAMLX_HOST_DEVICE constexpr int facts_byte() const {
    return planes * rows * (order == OperandOrder::rows ? kStride : kCols) * 2;
  }
  /// Which of a stage's groups has a column of it. By shifts, as a division
  /// takes a kernel longer than all else that it does to write an operand.
  LLAMLX_HOST_DEVICE constexpr unsigned group_of(unsigned col) const {
    return group == 32 ? col / 32 : col / 64;
  }
  LLAMLX_HOST_DEVICE constexpr int bytes() const {
    const int groups = group == 0 ? 0 : static_cast<int>(group_of(kCols));
    const int all = facts_byte() + groups * rows * 8;
    // Warpgroups want operands to begin at multiples of 1024 bytes.
    return order == OperandOrder::rows ? all : (all + 1023) / 1024 * 1024;
  }
  /// Which of the numbers is that of a column of the stage.
  LLAMLX_HOST_DEVICE constexpr int place(int plane, int row, int col) const {
    if (order == OperandOrder::rows) {
      return (plane * rows + row) * kStride + col;
    }
    const int tile = plane * kTiles + col / kTileCols;
    return (tile * rows + row) * kTileCols +
           place_in_row(order, row, col % kTileCols);
  }
};

/// Stages that so many tiles take.
LLAMLX_HOST_DEVICE constexpr int operand_stages(int tiles) {
  return (tiles + OperandStage::kTiles - 1) / OperandStage::kTiles;
}

/// Stages in memory, one after another.
struct Stages {
  OperandStage stage;
  unsigned char* bytes;

  LLAMLX_HOST_DEVICE unsigned char* of(int col) const {
    return bytes + static_cast<unsigned long long>(static_cast<unsigned>(col) /
                                                   OperandStage::kCols) *
                       static_cast<unsigned>(stage.bytes());
  }
  LLAMLX_HOST_DEVICE std::uint16_t* number(int plane, int row, int col) const {
    return reinterpret_cast<std::uint16_t*>(of(col)) +
           stage.place(plane, row, in_stage(col));
  }
  LLAMLX_HOST_DEVICE float* scale(int row, int col) const {
    const auto group =
        static_cast<int>(stage.group_of(static_cast<unsigned>(in_stage(col))));
    const int at = (group * stage.rows + (row & ~1)) * 2 + (row & 1);
    return reinterpret_cast<float*>(of(col) + stage.facts_byte()) + at;
  }
  LLAMLX_HOST_DEVICE float* sum(int row, int col) const {
    return scale(row, col) + 2;
  }

 private:
  LLAMLX_HOST_DEVICE static int in_stage(int col) {
    return static_cast<int>(static_cast<unsigned>(col) % OperandStage::kCols);
  }
};

/// Makes stages of x. Of an rms norm it takes the weights alone: what is left
/// to do, to multiply by 1 / sqrt(squares / cols + eps), can wait until the
/// products are there.
///
/// Kernels  make_stages_f16, make_stages_bf16.
/// Grid     [out.stage.rows], blocks of kStageThreads.
/// Shapes   x [rows, cols], cols a multiple of 4; what is more than x is zeros.
struct StageArgs {
  const float* x;
  int rows;
  int cols;
  int tiles;
  const float* norm;  ///< [cols], or null: no norm is taken
  Stages out;
  float* squares;  ///< [out.stage.rows]: sums of them; null without a norm
};

}  // namespace llamlx::cuda
