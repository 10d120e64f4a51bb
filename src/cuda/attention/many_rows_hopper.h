#pragma once

#include "cuda/attention/many_rows.h"

namespace llamlx::cuda {

/// Two warpgroups look at keys and values that a third brings.
inline constexpr int kAttentionHopperThreads = 384;
inline constexpr int kAttentionHopperRows = 128;  ///< of a head, in a block
inline constexpr int kAttentionHopperTile = 128;  ///< positions at a time
inline constexpr int kAttentionHopperStages = 3;

/// Whether there is a kernel for such heads.
constexpr bool attention_hopper_takes(int head_dim) { return head_dim <= 128; }

/// Bytes of dynamic shared memory of a block: queries, tiles of keys and of
/// values, two barriers of each stage and one of queries, and what aligns them.
constexpr int attention_hopper_shared_bytes(int head_dim) {
  const int row = attention_padded_dim(head_dim) * 2;
  return (kAttentionHopperRows +
          2 * kAttentionHopperStages * kAttentionHopperTile) *
             row +
         16 * kAttentionHopperStages + 8 + 1024;
}

// As many_rows.h says, by warpgroups (matmul/warpgroup.h), on compute
// capability 9.0 alone.
//
// Kernels  attention_hopper_T_dD: T of f16, bf16, D of 64, 128.
// Grid     any; each block does its share of what is there, so that there need
//          be no more of them than multiprocessors.

}  // namespace llamlx::cuda
