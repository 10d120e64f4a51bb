#pragma once

#include "cuda/values.h"

namespace llamlx::cuda {

inline constexpr int kOperandThreads = 256;

/// How operands lie.
enum class OperandOrder : int {
  rows,  ///< [planes, rows, stride]
  /// As warpgroups read them (warpgroup.h): [planes, stride / 64, rows, 64],
  /// where 16-byte pieces of a row change places (piece ^ row % 8).
  tiles,
  /// The same, for a left operand in registers: of each 64 columns, step s
  /// (of 16) holds those of which fragments (weight_tile.h) have that step.
  fragments
};

/// Rows of x, normed where there is a norm, as the operands of products: each
/// row scaled by a power of two to the top of the range of 16 bits, and split
/// into `planes` numbers that add up to it.
///
/// Kernels  make_operands_f16, make_operands_bf16; a block of kOperandThreads
///          for every row.
/// Shapes   x [rows, cols]; out by order, stride a multiple of 64
///          not below cols, of which the rest is zeros; scales [rows]: what
///          products are multiplied by.
struct OperandArgs {
  const float* x;
  int rows;
  int cols;
  int stride;
  const float* norm;  ///< [cols] of an rms norm, or null: none is taken
  float eps;
  int planes;
  OperandOrder order;
  std::uint16_t* out;
  float* scales;
};

}  // namespace llamlx::cuda
