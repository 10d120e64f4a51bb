#pragma once

#include "cuda/attention/few_rows.h"
#include "kernels/cuda/cuda_model.h"

namespace llamlx {

/// A pass while its kernels are put into the stream.
struct CudaPass {
  CudaModel& model;
  int rows;
  int segments;
  int longest;  // of the segments
  bool traditional;

  CudaWorkspace& space() const { return model.space; }
  bool has_few_rows() const { return longest <= cuda::kAttentionFewRows; }
};

/// Splits of each of so many segments. Of several, whose positions differ, a
/// multiprocessor has two at a time.
int attention_splits(const CudaModel& model, int segments);

/// Puts what layer `index` adds to the residual stream into the model's stream:
/// attention, with rows appended to the caches, and the MLP. Whether its input
/// is operands already; whether those of the next layer are.
bool run_layer(const CudaPass& pass, int index, bool are_operands);

}  // namespace llamlx
