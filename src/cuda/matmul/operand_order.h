#pragma once

#include "cuda/values.h"

namespace llamlx::cuda {

/// How rows of x lie in memory as operands.
enum class OperandOrder : int {
  rows,  ///< a row's columns after each other
  /// As warpgroups read them (warpgroup.h): 64 columns of all rows, and then
  /// the next, where 16-byte pieces of a row change places (piece ^ row % 8).
  tiles,
  /// The same, for a left operand in registers: of each 64 columns, step s
  /// (of 16) holds those of which fragments (weight_tile.h) have that step.
  fragments
};

/// Which of the 64 numbers of a row column `col` of 64 is, in tiles and
/// fragments. Two columns that follow an even one lie together.
LLAMLX_HOST_DEVICE constexpr int place_in_row(OperandOrder order, int row,
                                              int col) {
  int at = col;
  if (order == OperandOrder::fragments) {
    // Lane t of a step has, of two runs of 32 columns, 8 t + 0 to 3, or 4 to 7.
    const int step = col / 32 * 2 + col % 8 / 4;
    const int lane = col % 32 / 8;
    at = 16 * step + 8 * (col % 4 / 2) + 2 * lane + col % 2;
  }
  return ((at / 8) ^ (row % 8)) * 8 + at % 8;
}

}  // namespace llamlx::cuda
