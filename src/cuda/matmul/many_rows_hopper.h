#pragma once

#include "cuda/matmul/many_rows.h"

namespace llamlx::cuda {

/// Two warpgroups multiply, and a third brings them what they do.
inline constexpr int kHopperComputing = 256;
inline constexpr int kHopperThreads = 384;
inline constexpr int kHopperBlock = 128;  ///< rows of the weight
/// Bytes of a stage: 64 columns of a block's rows of x and, where numbers are
/// read as they are, of the weight.
LLAMLX_HOST_DEVICE constexpr int hopper_stage_bytes(int tokens, bool is_dense) {
  return (tokens + (is_dense ? kHopperBlock : 0)) * kTileCols * 2;
}
/// How many of them there are.
LLAMLX_HOST_DEVICE constexpr int hopper_stages(int tokens, bool is_dense) {
  return (192 << 10) / hopper_stage_bytes(tokens, is_dense);
}
/// Rows of x whose answers lie in shared memory together, so that they go out
/// side by side; how far from each other, in floats, of 64 rows of the weight.
inline constexpr int kHopperOutTokens = 32;
inline constexpr int kHopperOutStride = 64 + 4;
/// Bytes of answers, and of what scales them, for a warpgroup.
LLAMLX_HOST_DEVICE constexpr int hopper_answer_bytes(int tokens) {
  return (kHopperOutTokens * kHopperOutStride + tokens) * 4;
}
/// Bytes of dynamic shared memory of a block that takes so many rows of x: its
/// stages, answers, two barriers of each stage, and what aligns them.
constexpr int hopper_shared_bytes(int tokens, bool is_dense) {
  return hopper_stages(tokens, is_dense) *
             (hopper_stage_bytes(tokens, is_dense) + 16) +
         2 * hopper_answer_bytes(tokens) + 1024;
}

// As many_rows.h says, on the matrix unit of compute capability 9.0 alone: x as
// make_operands makes it in tiles, or, for codes, in fragments. Answers of
// gates can be operands of what follows, numbers of bfloat16.
//
// Kernels  many_rows_hopper_W_nN: N of 128 and 256 is how many rows of x a
//          block takes at a time; W of f16, bf16, nvfp4, mxfp8, or affineB_gG_T
//          of any kind, whose numbers are rounded to float16 on the way.
// Grid     [hopper_blocks()]

/// What there is to do, in pieces of kHopperBlock rows of the weight times so
/// many of x.
LLAMLX_HOST_DEVICE constexpr int hopper_pieces(int tokens, int rows,
                                               int row_blocks) {
  constexpr int kBlocks = kHopperBlock / kTileRows;
  return (rows + tokens - 1) / tokens * ((row_blocks + kBlocks - 1) / kBlocks);
}
/// Blocks of threads that share it out.
constexpr unsigned hopper_blocks(int tokens, int rows, int row_blocks,
                                 int multiprocessors) {
  const int pieces = hopper_pieces(tokens, rows, row_blocks);
  return static_cast<unsigned>(pieces < multiprocessors ? pieces
                                                        : multiprocessors);
}

}  // namespace llamlx::cuda
