#pragma once

#include "cuda/matmul/operand_order.h"

namespace llamlx::cuda {

inline constexpr int kOperandThreads = 256;

/// Rows of x, normed where there is a norm, as the operands of products: each
/// row scaled by a power of two to the top of the range of 16 bits, and split
/// into `planes` numbers that add up to it.
///
/// Kernels  make_operands_f16, make_operands_bf16; a block of kOperandThreads
///          for every row.
/// Shapes   x [rows, cols]; out [planes, rows, stride], or else
///          [planes, stride / 64, rows, 64], stride a multiple of 64 not below
///          cols, of which the rest is zeros; scales [rows]: what products are
///          multiplied by.
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
