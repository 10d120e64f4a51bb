#pragma once

#include "cuda/device.h"
#include "cuda/values.h"
#include "kernels/stack.h"

namespace llamlx {

/// Bytes that a model takes of the GPU's memory at least, as far as that is
/// known before it is loaded.
struct CudaMemoryPlan {
  std::size_t weights = 0;    ///< packed
  std::size_t loading = 0;    ///< while they are packed
  std::size_t cache = 0;      ///< keys and values of the tokens expected
  std::size_t workspace = 0;  ///< of a pass of them
  long long tokens = 0;       ///< expected

  /// What is needed at a time: nothing runs while weights are packed.
  std::size_t most() const;
};

/// Example: 8B in 4 bits, 2048 tokens: 4.5 GB of weights, 268 MB of cache.
CudaMemoryPlan plan_cuda_memory(const CudaDeviceInfo& device,
                                const DecoderWeights& weights,
                                const StackParams& params,
                                cuda::NumberType compute,
                                cuda::NumberType cache);

/// Refuses a plan that does not fit what is free now. Errors: Error
/// (out_of_memory).
void check_cuda_memory(const CudaDeviceInfo& device,
                       const CudaMemoryPlan& plan);

/// Whether copies of weights, which one can do without, fit now that the
/// weights are loaded: beside what else is planned, and a tenth of the GPU's
/// memory for what is not, such as caches of more tokens than are expected.
bool has_room_for_copies(std::size_t bytes, const CudaMemoryPlan& plan);

/// Whether the head is the table of embeddings, which is then held once.
bool is_tied(const DecoderWeights& weights);

}  // namespace llamlx
