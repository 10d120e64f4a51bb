#pragma once

#include "cuda/segment.h"
#include "cuda/values.h"

namespace llamlx::cuda {

inline constexpr int kExpandCacheThreads = 256;
inline constexpr int kExpandCachePositions = 64;  ///< of a block

/// Makes numbers of 16 bits of a layer's cached numbers of 8, of all positions
/// that a pass's rows see, themselves among them: for the attention of many
/// rows (many_rows.h), to which they are layer 0.
///
/// Kernels  expand_cache_f16, expand_cache_bf16.
/// Grid     [blocks of positions that any segment sees, 2 Hkv, segments],
///          blocks of kExpandCacheThreads.
struct ExpandCacheArgs {
  const SegmentView* segments;  ///< aligned to 16 bytes
  /// The same of caches of such numbers, which may hold later positions first.
  const SegmentView* expanded;
  int layer;
  int num_kv_heads;
  int head_dim;
  int window;
};

}  // namespace llamlx::cuda
