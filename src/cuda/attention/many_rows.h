#pragma once

#include "cuda/attention/few_rows.h"

namespace llamlx::cuda {

inline constexpr int kAttentionManyThreads = 128;

/// Attention of segments of many rows, on the matrix unit: queries as turn_rows
/// left them (turn.h), keys and values in the caches already. Weights of the
/// softmax become numbers of the cache's type; sums are float32.
///
/// Kernels  attention_many_T_dD_rR: T of f16, bf16 is the cache's type, D of
///          64, 128, 256 is attention_padded_dim(head_dim), and a block takes
///          R rows of a head: 64, or, with D of 64 and 128, also 128, which
///          read shared memory half as often and fill half as many blocks.
/// Grid     [num_heads, blocks of R rows in the longest segment, segments],
///          blocks of kAttentionManyThreads.
/// Shapes   q [H, rows, Dh]; out [rows, H Dh].
///          Dh is a multiple of 8, up to 256.
struct AttentionManyArgs {
  const SegmentView* segments;  ///< aligned to 16 bytes
  int layer;
  int num_heads;
  int num_kv_heads;
  int head_dim;
  int window;
  int rows;                ///< of all segments together
  const std::uint16_t* q;  ///< aligned to 16 bytes
  float* out;
  int num_segments;
  int row_blocks;  ///< of a block's rows in the longest segment
  /// Instead of `out`: operands of the product that follows, numbers of
  /// bfloat16 [H Dh / 64, rows, 64] in tiles (matmul/operand_order.h), H Dh
  /// being a multiple of 64. Null: none; of attention_hopper.
  std::uint16_t* operands = nullptr;
};

/// Positions that are in shared memory together.
LLAMLX_HOST_DEVICE constexpr int attention_many_tile(int padded_dim) {
  return padded_dim <= 128 ? 64 : 32;
}
/// Rows of keys and values there, in elements: padded, so that 8 rows begin in
/// different banks.
LLAMLX_HOST_DEVICE constexpr int attention_many_stride(int padded_dim) {
  return padded_dim + 8;
}
/// Bytes of dynamic shared memory of a block: two tiles of keys and values.
LLAMLX_HOST_DEVICE constexpr int attention_many_shared_bytes(int head_dim) {
  const int dim = attention_padded_dim(head_dim);
  return 2 * 2 * attention_many_tile(dim) * attention_many_stride(dim) * 2;
}

}  // namespace llamlx::cuda
