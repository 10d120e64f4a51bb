#pragma once

#include <memory>
#include <span>
#include <vector>

#include "cuda/token/argmax.h"
#include "kernels/cuda/cuda_kv_cache.h"
#include "kernels/cuda/cuda_model.h"

namespace llamlx {

/// Consecutive tokens of one sequence in a pass.
struct CudaSegment {
  std::shared_ptr<CudaKVStore> store;
  int offset;  ///< position of the first
  int length;
};

/// What rows are turned by (Rope, kernels/qkv/qkv.h).
struct CudaRope {
  bool traditional;
  float scale;
  std::vector<float> periods;  ///< [segments or 1, Dh / 2]
};

// Each puts kernels into the model's stream and returns; the caller has locked
// `running`. Errors: Error of the GPU.

/// Which hidden states come to the machine: of all rows, or of each segment's
/// last.
enum class CudaWanted { all, last };

/// Steps 1 to 5 for tokens [N] of `segments`, which may be many, in as many
/// passes as they take; `x` [N or segments, D] gets the hidden states, on the
/// machine.
void run_layers(CudaModel& model, std::span<const CudaSegment> segments,
                const CudaRope& rope, const std::int32_t* ids,
                CudaWanted wanted, float* x);

/// Step 6 for rows of x [rows, D] on the GPU: to the workspace's logits.
void run_logits(CudaModel& model, const float* x, int rows);

/// All steps for one token of each sequence, and the choice of the next ones
/// as `draw` says: to the workspace's tokens and to `host_tokens`, in the place
/// of this pass (passes % kTokenSlots). `ids` [N]: the tokens, on the machine;
/// null: those that the pass before chose, where they lie. The second such pass
/// of as many sequences is captured as a graph, which it and later ones launch.
void run_and_choose(CudaModel& model, std::span<const CudaSegment> segments,
                    const CudaRope& rope, const std::int32_t* ids,
                    const cuda::Draw& draw);

/// Step 6 for rows of x [rows, D] on the GPU, and the choice of tokens as
/// above.
void choose_after(CudaModel& model, const float* x, int rows,
                  const cuda::Draw& draw);

/// Rows of a prompt that go through together: with fewer, products of narrow
/// weights leave multiprocessors without work.
inline constexpr int kCudaPrefillRows = 2048;

/// Sequences in one such pass at most.
inline constexpr int kMostChoices = cuda::kTokenSlotRows;

}  // namespace llamlx
