#pragma once

#include <cstddef>

#include "cuda/cached_rows.h"
#include "cuda/matmul/stages.h"
#include "cuda/segment.h"

namespace llamlx::cuda {

/// Threads of a block, and rows of a segment at most.
inline constexpr int kAttentionFewThreads = 256;
inline constexpr int kAttentionFewRows = 8;
/// Tiles of positions that a warp has asked for before it looks at the first.
inline constexpr int kAttentionFewAhead = 1;
/// Up to so many old positions are not split: joining costs more.
inline constexpr int kMostUnsplit = 256;
/// A split has about so many old positions or more, unless there is only one.
inline constexpr int kLeastSplit = 128;

/// Attention of segments of up to 8 rows, with all that comes before it: norms
/// and turns queries and keys (qkv.h), and appends keys and values. Each byte
/// of the cache is read once for 8 queries of a key/value head together.
/// Queries and weights of the softmax meet 16-bit caches as two 16-bit numbers
/// whose sum they are, and those of 8 bits as two of bfloat16. The new rows are
/// seen as the cache holds them.
///
/// The positions that a segment sees are split among the blocks of gridDim.y;
/// how, follows from the segment alone. The block that comes last joins what
/// the splits have, in their order. A segment of length 0 is left alone.
///
/// Segments, cos_sin and old positions were written two kernels or more before
/// this one: it asks for them before it waits for the last.
///
/// Kernels  attention_few_T_dD: T of f32, f16, bf16, q8 is the cache's type, D
///          of 64, 128, 256 is attention_padded_dim(head_dim).
/// Grid     [num_kv_heads, splits, segments], blocks of kAttentionFewThreads.
/// Shapes   qkv [rows, (H + 2 Hkv) Dh]: heads of queries, of keys, of values;
///          cos_sin [rows, 2, Dh / 2]; out [rows, H Dh].
///          Dh is a multiple of 8, up to 256.
struct AttentionFewArgs {
  const SegmentView* segments;  ///< aligned to 16 bytes
  int layer;
  int num_heads;
  int num_kv_heads;
  int head_dim;
  int window;
  const float* qkv;
  const float* q_norm;  ///< [Dh], or null
  const float* k_norm;  ///< [Dh], or null
  float eps;
  const float* cos_sin;
  bool traditional;
  float* out;
  /// Where the answers go instead, as operands of products: if there are bytes,
  /// of heads that are whole tiles.
  Stages next;
  NumberType next_type;  ///< of its numbers
  float* parts;          ///< attention_few_parts_bytes(), aligned to 16
  unsigned* counters;    ///< [segments, Hkv], 0 before and after
};

/// How long heads are to the kernels: the rest is zeros.
LLAMLX_HOST_DEVICE constexpr int attention_padded_dim(int head_dim) {
  return head_dim <= 64 ? 64 : head_dim <= 128 ? 128 : 256;
}

/// Rows of queries in shared memory, in words of 4 bytes, one for each element:
/// padded, so that lanes that read 16 bytes of two rows hit all banks.
LLAMLX_HOST_DEVICE constexpr int attention_few_stride(int padded_dim) {
  return padded_dim + 4;
}

/// Bytes of a tile's keys and values, which a warp looks at together, at most,
/// and positions of it: of 8 bits as many as there are lanes.
LLAMLX_HOST_DEVICE constexpr int attention_few_tile_bytes(int padded_dim) {
  return padded_dim <= 128 ? 8 << 10 : 16 << 10;
}
LLAMLX_HOST_DEVICE constexpr int attention_few_positions(NumberType type,
                                                         int padded_dim) {
  return type == NumberType::q8 ? 32
                                : attention_few_tile_bytes(padded_dim) /
                                      (2 * padded_dim * number_bytes(type));
}

/// Bytes of the scales of a tile's keys, or values, and of these with them.
LLAMLX_HOST_DEVICE constexpr int attention_few_scale_bytes(NumberType type,
                                                           int padded_dim) {
  return attention_few_positions(type, padded_dim) *
         cached_row_scales(type, padded_dim) * 4;
}
LLAMLX_HOST_DEVICE constexpr int attention_few_half_bytes(NumberType type,
                                                          int padded_dim) {
  return attention_few_positions(type, padded_dim) *
             cached_row_bytes(type, padded_dim) +
         attention_few_scale_bytes(type, padded_dim);
}

/// Warps of a block that look at positions: all, if memory suffices.
LLAMLX_HOST_DEVICE constexpr int attention_few_lookers(int padded_dim) {
  return (64 << 10) / attention_few_tile_bytes(padded_dim);
}

/// Queries that a block looks for at once: they are taken 8 by 8.
LLAMLX_HOST_DEVICE constexpr int attention_few_queries(int padded_dim) {
  return padded_dim <= 128 ? 32 : 8;
}

/// Bytes of dynamic shared memory of a block.
LLAMLX_HOST_DEVICE constexpr int attention_few_shared_bytes(NumberType type,
                                                            int head_dim) {
  const int dim = attention_padded_dim(head_dim);
  const int lookers = attention_few_lookers(dim);
  const int tiles =
      kAttentionFewAhead * lookers * 2 * attention_few_half_bytes(type, dim);
  const int new_rows = 2 * (kAttentionFewRows * cached_row_bytes(type, dim) +
                            attention_few_scale_bytes(type, dim));
  const int queries =
      attention_few_queries(dim) * attention_few_stride(dim) * 4;
  const int statistics = lookers * 8 * 2 * 4 + 16;
  const int scores = type == NumberType::f32 ? lookers * (8 * 20 + 8) * 4 : 0;
  return tiles + new_rows + queries + statistics + scores;
}

/// Splits that give each of so many multiprocessors a block.
LLAMLX_HOST_DEVICE constexpr int attention_few_splits(int num_kv_heads,
                                                      int multiprocessors) {
  const int splits = multiprocessors / num_kv_heads;
  return splits < 1 ? 1 : splits > 64 ? 64 : splits;
}

/// A split's part of one row and head: its sums [Dh], their largest score, the
/// sum of their weights, and room to stay aligned.
LLAMLX_HOST_DEVICE constexpr int attention_part_floats(int head_dim) {
  return head_dim + 4;
}

/// Bytes of `parts` for so many rows of all segments together.
constexpr std::size_t attention_few_parts_bytes(int rows, int num_heads,
                                                int splits, int head_dim) {
  return static_cast<std::size_t>(rows) * num_heads * splits *
         attention_part_floats(head_dim) * sizeof(float);
}

}  // namespace llamlx::cuda
