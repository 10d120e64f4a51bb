#pragma once

#include <memory>
#include <vector>

#include "cuda/decode/decode.h"
#include "cuda/kernel.h"
#include "kernels/cuda/cuda_matrix.h"
#include "kernels/cuda/cuda_short_weights.h"

namespace llamlx {

struct CudaMemoryPlan;
struct CudaModel;
struct CudaRope;

/// GPUs from this compute capability on have what that kernel needs.
inline constexpr int kDecodeCapability = 90;

/// How a model's tokens are decoded one by one by a single kernel
/// (cuda/decode/decode.h). One pass at a time.
class CudaDecode {
 public:
  /// Null where that kernel does not take the model: it takes weights that all
  /// have one format, of f16 or bf16 as what is computed in and cached, heads
  /// of up to 128 numbers, and GPUs of compute capability 9.0 and later with
  /// memory enough; of nvfp4 and mxfp8 not the table of embeddings alone. Of
  /// weights of bfloat16 it has shorter copies, if they fit beside what is
  /// planned.
  static std::unique_ptr<CudaDecode> make(CudaModel& model,
                                          const CudaMemoryPlan& plan);

  /// One pass for the token at `id`, on the GPU, which is at `position` of its
  /// text. With a choice, the next goes
  /// to the workspace's tokens and to its place of `host_tokens`; with none,
  /// the hidden state stays in residual(), but for the lowest bits of its
  /// numbers. The workspace has room for a row.
  void run(CudaModel& model, const cuda::SegmentView& segment, int position,
           const CudaRope& rope, const int* id, const cuda::Choice* choice);

  const float* residual() const { return args_.exchange.residual; }

  /// Bytes that a pass reads less than the weights have.
  std::size_t spared_bytes() const {
    return short_weights_ ? short_weights_->spared_bytes() : 0;
  }

 private:
  CudaDecode(const Kernel& kernel, unsigned blocks)
      : kernel_(kernel), blocks_(blocks) {}

  void make_exchange(CudaModel& model);
  void set_turns(const CudaRope& rope, int position);

  const Kernel& kernel_;
  unsigned blocks_;
  cuda::DecodeArgs args_{};
  std::unique_ptr<const CudaShortWeights> short_weights_;  // or null
  DeviceBuffer pieces_;
  DeviceBuffer lists_;
  DeviceBuffer layers_;
  DeviceBuffer exchange_;
};

}  // namespace llamlx
