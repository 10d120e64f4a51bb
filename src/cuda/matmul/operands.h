#pragma once

#include "cuda/matmul/packed_weight.h"

namespace llamlx::cuda {

inline constexpr int kOperandThreads = 512;

/// In which order operands lie.
enum class OperandOrder : int {
  rows,        ///< [planes, rows, stride]
  warpgroups,  ///< the same, columns as warpgroups multiply them (warpgroup.h)
  stages,      ///< OperandStage after OperandStage: what a block reads at once
};

/// Four tiles of columns of all planes and rows, and the sums of each group of
/// columns: [planes, rows, kStride] numbers, then [groups, rows] float32.
struct OperandStage {
  static constexpr int kTiles = 4;
  static constexpr int kCols = kTiles * kTileCols;
  /// From row to row: padded, so that lanes that read 16 bytes of two rows in
  /// shared memory hit all banks.
  static constexpr int kStride = kCols + 32;

  int rows;
  int planes;
  int group;  ///< columns of a sum, 32 or 64; 0: there are none

  LLAMLX_HOST_DEVICE constexpr int sums_byte() const {
    return planes * rows * kStride * 2;
  }
  LLAMLX_HOST_DEVICE constexpr int bytes() const {
    return sums_byte() + (group == 0 ? 0 : kCols / group * rows * 4);
  }
};

/// Stages that so many tiles take.
LLAMLX_HOST_DEVICE constexpr int operand_stages(int tiles) {
  return (tiles + OperandStage::kTiles - 1) / OperandStage::kTiles;
}

/// Rows of x, normed where there is a norm, as the operands of products: each
/// row scaled by a power of two to the top of the range of 16 bits, and split
/// into `planes` numbers that add up to it.
///
/// Kernels  make_operands_f16, make_operands_bf16.
/// Grid     [out_rows], blocks of kOperandThreads.
/// Shapes   x [rows, cols]; out as `order` says, of out_rows rows and stride
///          columns, stride a multiple of 64 not below cols: what is more than
///          x is zeros; scales [out_rows]: what products are multiplied by.
struct OperandArgs {
  const float* x;
  int rows;
  int cols;
  int stride;
  const float* norm;  ///< [cols] of an rms norm, or null: none is taken
  float eps;
  int planes;
  OperandOrder order;
  int group;  ///< of the stages' sums
  std::uint16_t* out;
  float* scales;
};

}  // namespace llamlx::cuda
