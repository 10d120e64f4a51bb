#pragma once

#include <span>

#include "cuda/segment.h"
#include "kernels/cuda/cuda_model.h"

namespace llamlx {

/// The attention of many rows reads numbers of 16 bits: of caches of 8 bits a
/// layer's are expanded in the workspace (cuda/attention/expand_cache.h).

/// Bytes of the workspace for a pass of so many rows, at most, of one sequence
/// of `tokens`.
std::size_t expanded_bytes(const StackParams& params, int rows,
                           long long tokens);

/// Makes room for what a pass of these segments sees.
void reserve_expanded(CudaModel& model,
                      std::span<const cuda::SegmentView> segments);

/// Expands a layer's, those of the pass's own rows too, for the workspace's
/// `expanded_segments`, of which that is layer 0.
void expand_cache(CudaModel& model, int layer, int segments);

}  // namespace llamlx
