#pragma once

#include "cuda/segment.h"
#include "cuda/values.h"

namespace llamlx::cuda {

inline constexpr int kTurnThreads = 256;

/// What comes before the attention of many rows (many_rows.h): norms and turns
/// queries and keys (qkv.h), appends keys and values to the caches, and leaves
/// queries as numbers of 16 bits, times log2(e) / sqrt(Dh).
///
/// Kernels  turn_rows_T: T of f16, bf16 is the type of queries and caches; and
///          turn_rows_q8_T, where caches have 8 bits.
/// Grid     [rows of the longest segment, segments], blocks of kTurnThreads.
/// Shapes   qkv [rows, (H + 2 Hkv) Dh]: heads of queries, of keys, of values;
///          cos_sin [rows, 2, Dh / 2]; q [H, rows, Dh].
///          Dh is a multiple of 8, up to 256.
struct TurnArgs {
  const SegmentView* segments;  ///< aligned to 16 bytes
  int layer;
  int num_heads;
  int num_kv_heads;
  int head_dim;
  int rows;  ///< of all segments together
  const float* qkv;
  const float* q_norm;  ///< [Dh], or null
  const float* k_norm;  ///< [Dh], or null
  float eps;
  const float* cos_sin;
  bool traditional;
  std::uint16_t* q;  ///< aligned to 16 bytes
};

}  // namespace llamlx::cuda
