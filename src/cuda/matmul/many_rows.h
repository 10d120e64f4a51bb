#pragma once

#include "cuda/matmul/few_rows.h"

namespace llamlx::cuda {

/// What a block computes, and in how many stages it asks for x ahead.
inline constexpr int kManyRowsThreads = 256;
inline constexpr int kManyRowsBlock = 128;   ///< rows of the weight
inline constexpr int kManyRowsTokens = 128;  ///< rows of x
inline constexpr int kManyRowsStages = 4;
inline constexpr int kManyRowsSharedBytes =
    kManyRowsStages * kManyRowsTokens * kTileCols * 2;

/// y = x W^T + bias for many rows of x, on matrix units: W dense, x as
/// make_operands made it (operands.h).
///
/// Kernels  many_rows_f16, many_rows_bf16; grid [blocks of x's rows, blocks of
///          the weight's].
/// Shapes   as FewRowsArgs.
struct ManyRowsArgs {
  const unsigned char* weight;
  int row_blocks;
  int tiles;
  const std::uint16_t* x;  ///< [planes, rows, 64 * tiles]
  const float* scales;     ///< [rows]; by warpgroups also null: all are 1
  int rows;
  int planes;
  const float* bias;  ///< or null
  float* out;
  int out_rows;
  int out_stride;
  Output output;
  /// Instead of `out`, for gates: operands [1, out_rows / 128, rows, 64] in
  /// tiles, out_rows / 2 being a multiple of 64. Null: none; of
  /// many_rows_hopper.
  std::uint16_t* operands = nullptr;
};

}  // namespace llamlx::cuda
